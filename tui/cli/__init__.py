"""The command line: what the console does, without a screen.

It imports neither textual nor the console, so that it starts fast and runs anywhere.
"""
