"""Any command of the operator's, run while VMs are frozen."""
