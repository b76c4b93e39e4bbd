"""The dialogs, which ask before something is done to the VMs of a key press."""
