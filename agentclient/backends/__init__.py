"""Where VMs come from, and how each is reached."""
