"""Reaching one guest: streams, exchanges, the agent's session, the monitor, locks, peers."""
