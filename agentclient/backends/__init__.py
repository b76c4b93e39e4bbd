"""The backends: where VMs come from, and how each VM is reached."""
