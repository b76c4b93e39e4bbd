"""The command line: the console's headless twin on the same core.

It imports neither textual nor the console, so that it starts fast and runs anywhere.
"""
