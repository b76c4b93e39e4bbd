"""Settings: what can be set, where it was set, and what follows for each VM."""
