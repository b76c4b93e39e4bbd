"""What the program ``frostwatch`` runs: it imports `tui.main`, and runs that."""

from __future__ import annotations

import gc

from agentclient.late import load


def main() -> None:
    """Run the command line and exit."""
    gc.disable()  # nothing of what is imported is garbage, and it takes time to look for it
    try:
        run = load("tui.main", "main")
    finally:
        gc.enable()
    run()


if __name__ == "__main__":
    main()
