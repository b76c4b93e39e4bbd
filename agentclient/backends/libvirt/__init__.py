"""The backend ``libvirt``: the domains of libvirt's daemons, reached by calls alone."""
