"""The console in front of a scenario of the drill: a task, hints, and a debrief."""
