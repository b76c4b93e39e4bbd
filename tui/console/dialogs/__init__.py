"""What asks before something is done to a guest: bound to the VMs of the key press."""
