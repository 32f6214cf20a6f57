"""Small synthetic run records, and folders of them, for the tests of the report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmkd.evaluate import write_predictions
from mmkd.record import Code, Direction, Machine, RunRecord, Score, Selection, read_record, write_record

MakeRecord = Callable[..., RunRecord]
WriteRecords = Callable[..., Path]

SCORES = {"sentiment": {"macro_f1": 0.7}, "ner": {"entity_f1": 0.6}}


def _make_record(
    name: str = "quickstart",
    seed: int = 0,
    teacher: str | None = None,
    test: dict[str, dict[str, float]] = SCORES,
    directions: dict[str, Direction] | None = None,
    **changes: Any,
) -> RunRecord:
    """A record with the given test scores; `changes` are fields of the record."""
    directions = directions or {}
    scores = {
        task: {m: Score(value=v, n=100, direction=directions.get(m, "maximize")) for m, v in metrics.items()}
        for task, metrics in test.items()
    }
    fields: dict[str, Any] = {
        "name": name,
        "role": "student" if teacher is None else "teacher",
        "teacher": teacher,
        "seed": seed,
        "experiment": {"name": name},
        "experiment_hash": hashlib.sha256(name.encode()).hexdigest(),
        "command": f"mmkd run experiments/{name}.yaml",
        "code": Code(version="0.1.0", commit="c0ffee" * 6 + "c0ff", diff=None),
        "data": {"market_notes": "da7a" * 16},
        "teachers": {},
        "packages": {"mmkd": "0.1.0", "torch": "2.15.0", "transformers": "5.23.0", "numpy": "2.4.0"},
        "machine": Machine(
            device="cpu", cpu="Example CPU", cpu_features="AVX2", threads=1, platform="Linux", python="3.11.7"
        ),
        "selection": Selection(epoch=3, value=0.65),
        "primary": {task: next(iter(metrics)) for task, metrics in test.items()},
        "scores": {"validation": scores, "test": scores},
        "history": [{"epoch": 1, "loss": 0.1 + 0.2}],
        "parameters": 1_234_567,
        "seconds": {"train": 61.5 + seed},
        "peak_memory": 3 * 2**20,
        "test_openings": 1,
        "created": f"2026-11-0{seed % 9 + 1}T10:00:00+00:00",
        "predictions": None,
    }
    return RunRecord.model_validate(fields | changes)


def _write(record: RunRecord, path: Path, predictions: Path, rows: list[dict[str, Any]] | None = None) -> RunRecord:
    """Write a record with predictions beside it, as a run does. rows: of the predictions; None: a file of no matter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if rows is None:
        predictions.write_bytes(f"predictions of {record.file_name}, {record.created}".encode())
        digest = hashlib.sha256(predictions.read_bytes()).hexdigest()
    else:
        digest = write_predictions(rows, predictions)
    write_record(record.model_copy(update={"predictions": digest}), path)
    return read_record(path)


def _predict_classes(
    labels: Sequence[int], predicted: Sequence[int], task: str = "sentiment", classes: int = 3
) -> list[dict[str, Any]]:
    """Rows of predictions of one class for each example, as an evaluation has them."""
    pairs = enumerate(zip(labels, predicted, strict=True))
    own = {"task": task, "form": "classes"}
    return [
        {**own, "id": f"e{i}", "labels": np.array(a), "estimates": np.eye(classes)[b], "predictions": np.array(b)}
        for i, (a, b) in pairs
    ]


@pytest.fixture
def predict_classes() -> Callable[..., list[dict[str, Any]]]:
    return _predict_classes


@pytest.fixture
def make_record() -> MakeRecord:
    return _make_record


@pytest.fixture
def write_ledger(tmp_path: Path) -> WriteRecords:
    """Writes records in the layout of the ledger. rows: name in the ledger -> its predictions, where they matter."""

    def write(*records: RunRecord, rows: Mapping[str, list[dict[str, Any]]] | None = None) -> Path:
        folder = tmp_path / "records"
        for record in records:
            path = folder / record.file_name
            _write(record, path, path.with_suffix(".parquet"), (rows or {}).get(record.file_name))
        return folder

    return write


@pytest.fixture
def write_runs(tmp_path: Path) -> WriteRecords:
    """Writes records in the layout of the scratch runs, each in a folder of its own, numbered."""

    def write(*records: RunRecord) -> Path:
        folder = tmp_path / "runs"
        for record in records:
            run = folder / f"run{len(list(folder.glob('*')))}"
            _write(record, run / "record.json", run / "predictions.parquet")
        return folder

    return write
