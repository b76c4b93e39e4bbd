"""The QEMU processes of this host, Proxmox's among them."""
