"""What is known about all VMs now: the store, logs, polling, recovery, doctor."""
