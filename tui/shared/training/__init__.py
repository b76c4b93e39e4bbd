"""Scenarios of the drill: a task, what is done about it, and a judgement on that. No Textual."""
