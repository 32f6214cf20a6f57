"""Real runs that are killed at random moments; `kills.py` does it as often as one likes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 3


@pytest.mark.slow
def test_runs_that_are_killed_end_as_if_they_had_not_been(tmp_path: Path) -> None:
    script = Path(__file__).with_name("kills.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path), str(KILLS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert len(found) == 6
    for name, text in found.items():
        told = json.loads(text)
        assert (told["kills"], told["different"]) == (KILLS, []), name
