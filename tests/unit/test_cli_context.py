"""What every command takes from the system before it begins."""

from __future__ import annotations

import subprocess
import sys

_COUNT = """
import resource
from tui.cli.session import engine_for
from tui.cli.options import Options
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
with engine_for(Options(named_only=True, specs=("name=a,agent=/nonexistent",))):
    print(resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard), hard > 64)
"""


def test_as_many_files_may_be_open_as_the_system_allows() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _COUNT], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.split() == ["True", "True"]
