"""What every word of the screen means: how it is known, what follows, and what to do. Pure."""
