"""For all tests: no network, one thread, and a folder in which a project lies."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # a test with more threads leaves the core to the others while it waits

import pytest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The experiment file's place in a project of its own; the file itself is not there."""
    from tiny_project import make_project

    return make_project(tmp_path / "project")
