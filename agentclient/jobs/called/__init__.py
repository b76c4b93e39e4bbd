"""Copies of VMs whose manager makes them: it is told what to copy, and the freeze is ours."""
