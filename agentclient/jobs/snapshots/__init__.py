"""Snapshots of a VM's disks: taken under a freeze, listed, deleted."""
