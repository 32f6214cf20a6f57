"""One run in several processes: the same weights in each, and those of one process that reads whole batches."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

import mmkd.processes
from lab.one_of_several import trained
from mmkd.errors import MmkdError
from mmkd.processes import share_of
from mmkd.record import RunRecord, read_record
from mmkd.train import Trained
from tiny_project import make_project, plain_experiment, same_weights

ROWS = 19
"""Batches of 6, and one row left over, which every process reads."""

HERE = Path(__file__).parent


class Place:
    """Stands in for an accelerator where only the process's place is asked for."""

    def __init__(self, process_index: int, num_processes: int) -> None:
        self.process_index, self.num_processes = process_index, num_processes


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes trained."""
    folder = tmp_path_factory.mktemp("together")
    in_two_processes("lab.one_of_several", str(folder), str(ROWS))
    return folder


def in_two_processes(*module: str, cwd: Path = HERE, code: int = 0) -> list[str]:
    """Run a module as a launcher does; what each process printed. code: with which both must end."""
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=cwd,
            env={**shared, "RANK": rank, "LOCAL_RANK": rank, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    printed = []
    for each in running:
        out, text = each.communicate(timeout=300)
        assert each.returncode == code, text
        printed.append(out)
    return printed


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(tmp_path_factory.mktemp("alone"), ROWS, Accelerator(cpu=True))


def of_process(folder: Path, number: int) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    own = folder / f"process{number}"
    return load_file(own / "weights.safetensors"), json.loads((own / "history.json").read_text("utf-8"))


def test_the_processes_hold_the_same_weights_bit_by_bit(together: Path):
    (one, history), (other, told) = of_process(together, 0), of_process(together, 1)
    assert same_weights(one, other)
    assert history == told


def test_they_are_the_weights_of_one_process_that_reads_whole_batches(together: Path, alone: Trained):
    weights, history = of_process(together, 0)
    for name, value in alone.weights.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-5)
    for entry, expected in zip(history, alone.history, strict=True):
        assert entry["rows"] == expected["rows"] == {"listed": ROWS}
        assert entry["labelled"] == expected["labelled"]
        assert entry["terms"] == pytest.approx(expected["terms"], rel=1e-3)
        assert entry["weights"] == pytest.approx(expected["weights"], rel=1e-3)


def test_where_one_is_asked_to_stop_all_save_and_go_on_bit_by_bit(tmp_path: Path, together: Path):
    in_two_processes("lab.one_of_several", str(tmp_path), str(ROWS), "3", code=75)
    (saved,) = (tmp_path / "checkpoints").iterdir()
    assert sorted(path.name for path in saved.glob("own-*")) == ["own-0.safetensors", "own-1.safetensors"]
    said, _ = in_two_processes("lab.one_of_several", str(tmp_path), str(ROWS))
    assert "goes on after step 3" in said
    for number in (0, 1):
        (weights, history), (expected, as_before) = of_process(tmp_path, number), of_process(together, number)
        assert same_weights(weights, expected) and history == as_before


def test_one_process_writes_the_log(together: Path):
    assert len(list((together / "logs").glob("events.*"))) == 1


@pytest.mark.parametrize(("rows", "shares"), [(5, [[0, 2, 4], [1, 3]]), (2, [[0], [1]]), (1, [[0], [0]])])
def test_shares_are_disjoint_and_none_is_empty(rows: int, shares: list[list[int]]):
    assert [share_of(np.arange(rows), Place(n, 2)).tolist() for n in (0, 1)] == shares  # type: ignore[arg-type]


def written(project: Path, *overrides: str) -> tuple[RunRecord, list[str]]:
    """The record of the student after a run in two processes, and what each printed."""
    # JSON is YAML, and knows no aliases.
    (project / "tiny.yaml").write_text(json.dumps(plain_experiment() | {"seeds": [0]}), "utf-8")
    shown = in_two_processes("mmkd", "run", "tiny.yaml", *overrides, cwd=project)
    (path,) = project.glob("results/runs/*/seed0/record.json")
    return read_record(path), shown


def test_a_whole_run_is_written_by_one_of_its_processes(tmp_path: Path):
    near = make_project(tmp_path / "project")
    record, (one, other) = written(near.parent)
    assert (record.machine.processes, set(record.scores["test"])) == (2, {"sentiment", "ner", "risk"})
    assert record.history[0]["rows"] == {"market_notes": 24}  # of both processes
    assert "seed 0" in one and other == ""
    (logs,) = near.parent.glob("results/runs/*/seed0/logs")
    assert len(list(logs.glob("events.*"))) == 1
    assert len(list(near.parent.glob("results/teachers/*/*.json"))) == 2


@pytest.mark.slow
def test_views_that_each_epoch_has_anew_are_encoded_by_one_of_the_processes(tmp_path: Path):
    near = make_project(tmp_path / "project")
    record, _ = written(near.parent, "train.cache=false", "augment={views: null, text: {drop: 0.1}}")
    assert record.history[1]["rows"] == {"market_notes": 24}


def test_a_process_that_accelerate_takes_for_the_only_one_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # and no rank: half of what a launcher sets
    monkeypatch.setattr(mmkd.processes, "Accelerator", lambda **stated: Place(0, 1))
    with pytest.raises(MmkdError, match="WORLD_SIZE says 2 processes, accelerate found 1"):
        mmkd.processes.new_accelerator("fp32")
