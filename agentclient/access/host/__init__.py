"""What the kernel of this host tells: processes, who listens on a socket, who is connected."""
