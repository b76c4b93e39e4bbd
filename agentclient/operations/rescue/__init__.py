"""The rescue ladder, rung by rung."""
