"""120 files made of the real experiments by a seeded fuzzer: each is refused with its line, or means what it meant.

All are loaded by one process without torch, each within 2 s of its work.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from mutations import HARMLESS, SPOILED, Mutation

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "experiments"
BASES = ("base", "finance", "linear_student", "many_losses", "medical", "quickstart", "quickstart_alone", "social")
CASES = 120
SECONDS = 2

LOADER = """
import json, signal, sys, traceback
from mmkd.config.load import load
from mmkd.config.problems import ConfigError

class TooLong(BaseException):
    pass

def stop(*_):
    raise TooLong

signal.signal(signal.SIGPROF, stop)
load(sys.argv[2])  # imports what loading needs
for path in json.load(sys.stdin):
    found = {"dump": None, "problems": [], "broke": None}
    signal.setitimer(signal.ITIMER_PROF, float(sys.argv[1]))
    try:
        found["dump"] = load(path).dump()
    except ConfigError as error:
        found["problems"] = [[problem.file, problem.line or 0, str(problem)] for problem in error.problems]
    except BaseException:
        found["broke"] = traceback.format_exc()
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps(found))
print(json.dumps("torch" in sys.modules))
"""


def made() -> dict[str, tuple[str, Mutation]]:
    """Case -> the experiment that it is made of, and what was made of it."""
    kinds = [(name, make) for kind in (SPOILED, HARMLESS) for name, make in kind.items()]
    rng, found = random.Random(6), dict[str, tuple[str, Mutation]]()
    while len(found) < CASES:
        name, make = kinds[len(found) % len(kinds)]
        base = rng.choice(BASES)
        text = (EXPERIMENTS / f"{base}.yaml").read_text("utf-8")
        found[f"{len(found):03d} {name} in {base}"] = base, make(text, rng)
    return found


MADE = made()


def loaded(folder: Path, paths: list[Path]) -> tuple[list[dict[str, Any]], bool]:
    """What the loader says of each file, and whether torch was imported."""
    command = [sys.executable, "-c", LOADER, str(SECONDS), str(folder / "quickstart.yaml")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    asked = json.dumps([str(path) for path in paths])
    done = subprocess.run(command, input=asked, env=environment, capture_output=True, text=True, check=True)
    *found, torch = map(json.loads, done.stdout.splitlines())
    return found, torch


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Case -> path, what was found, and what was found of the text that it must be equal to."""
    folder = tmp_path_factory.mktemp("fuzz") / "experiments"
    shutil.copytree(EXPERIMENTS, folder, ignore=shutil.ignore_patterns("*.json", "*.md"))
    paths: list[Path] = []
    for case, (_, mutation) in MADE.items():
        path, original = folder / f"case{case[:3]}.yaml", folder / f"original{case[:3]}.yaml"
        if mutation.content is None:
            path.mkdir()
        else:
            path.write_bytes(mutation.content)
        original.write_text(mutation.means, "utf-8")
        paths += [path, original]
    found, torch = loaded(folder, paths)
    pairs = zip(paths[::2], found[::2], found[1::2], strict=True)
    return {"torch": torch, **dict(zip(MADE, pairs, strict=True))}


def test_there_are_as_many_as_promised_and_all_sorts_are_among_them() -> None:
    assert len(MADE) == CASES
    assert {case[4:].rpartition(" in ")[0] for case in MADE} == {*SPOILED, *HARMLESS}
    contents = {zlib.crc32(mutation.content or b"") for _, mutation in MADE.values()}
    assert len(contents) > 0.9 * CASES


def test_no_file_needs_torch(verdicts: dict[str, Any]) -> None:
    assert verdicts["torch"] is False


@pytest.mark.parametrize("case", MADE)
def test_each_file_has_its_verdict(verdicts: dict[str, Any], case: str) -> None:
    path, found, original = verdicts[case]
    expected = MADE[case][1].refused_at
    assert found["broke"] is None
    if expected is None:
        assert found["problems"] == []
        assert original["dump"] is not None
        assert found["dump"] == original["dump"]
    else:
        assert found["dump"] is None
        here = [(line, text) for file, line, text in found["problems"] if file == str(path)]
        assert {line for line, _ in here} & set(expected), found["problems"][:5]
        assert all(text.startswith(f"{path}:") for _, text in here)


@pytest.mark.parametrize("name", ["wrong type", "alias bomb", "not UTF-8", "a folder", "10 MB"])
def test_the_command_line_says_the_same_without_a_traceback(tmp_path: Path, name: str) -> None:
    shutil.copy(EXPERIMENTS / "base.yaml", tmp_path)
    text = (EXPERIMENTS / "quickstart.yaml").read_text("utf-8")
    mutation = SPOILED[name](text, random.Random(0))
    path = tmp_path / "spoiled.yaml"
    if mutation.content is None:
        path.mkdir()
    else:
        path.write_bytes(mutation.content)
    command = [sys.executable, "-m", "mmkd", "check", "spoiled.yaml"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    line = mutation.refused_at.start if mutation.refused_at else 0
    assert f"spoiled.yaml:{line or ''}" in done.stderr
