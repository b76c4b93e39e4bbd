"""The commands that open a console of their own, or tell in plain lines what it would show."""
