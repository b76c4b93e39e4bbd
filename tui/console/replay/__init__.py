"""The console in front of an incident of the journal, in the place of this machine's VMs."""
