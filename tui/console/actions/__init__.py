"""The actions behind the keys: capture the VMs of a key press, ask, check them again, act."""
