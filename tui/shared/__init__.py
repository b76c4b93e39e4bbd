"""What the console and the command line have in common; nothing of Textual's."""
