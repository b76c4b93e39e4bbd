"""What acts for the operator: captures the VMs of a key press, asks, checks again, does it."""
