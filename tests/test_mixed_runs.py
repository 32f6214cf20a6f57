"""A run over several data sets: who is read how often, what is labelled, and whose labels are called what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from mmkd.ready import make_ready
from mmkd.seed import run_seed
from tiny_project import experiment, make_project, student_alone

OPTIONS = {"train": 16, "transfer": 4, "validation": 12, "test": 16, "pixels": 48}


def two_sets(mixing: dict[str, Any], **second: Any) -> dict[str, Any]:
    """The student alone on two sets of the generator; the second labels NER alone."""
    plain = student_alone(epochs=2)
    small = {**OPTIONS, "seed": 1, "train": 8}
    plain["data"] = {
        "notes": {"card": "market_notes", "options": OPTIONS},
        "news": {"card": "market_notes", "options": small, "tasks": {"ner": "ner"}, **second},
    }
    return plain | {"mixing": mixing}


@pytest.mark.parametrize(
    ("mixing", "rows"),
    [
        ({"kind": "size"}, {"notes": 16, "news": 8}),
        ({"kind": "ratio", "shares": {"notes": 1, "news": 3}, "rows": 16}, {"notes": 4, "news": 12}),
        ({"kind": "round_robin", "rows": 20}, {"notes": 10, "news": 10}),
    ],
)
def test_the_history_counts_the_rows_that_were_read(tmp_path: Path, mixing: dict[str, Any], rows: dict[str, int]):
    near = make_project(tmp_path / "project")
    ready = make_ready(experiment(two_sets(mixing)), near, Progress(disable=True))
    record = run_seed(ready, 0, tmp_path / "run", "test", test=False)
    for entry in record.history:
        assert entry["rows"] == rows
        assert entry["labelled"] == {"sentiment": rows["notes"], "ner": sum(rows.values()), "risk": rows["notes"]}
    assert {name: account["used"] for name, account in record.rows.items() if name.endswith("train")} == {
        "notes/train": 16,
        "news/train": 8,
    }


def test_labels_of_another_set_are_those_that_the_map_names(tmp_path: Path):
    near = make_project(tmp_path / "project")
    plain = two_sets(
        {"kind": "size"},
        tasks={"risk": "sentiment"},
        labels={"risk": {"negative": "high", "neutral": None, "positive": "low"}},
    )
    ready = make_ready(experiment(plain), near, Progress(disable=True))
    own = make_ready(experiment(student_alone()), near, Progress(disable=True)).workspace.mix
    mix = ready.workspace.mix
    assert mix.labels("risk") == own.labels("risk") == ("low", "moderate", "elevated", "high")
    corpus = mix.training(ready.workspace.reader("student"))
    theirs = [row.labels["sentiment"] for row in mix.members[1].data.read("train")]
    found = corpus.batch(range(16, 24))
    assert found.labels["risk"].tolist() == [{0: 3, 1: -1, 2: 0}[each] for each in theirs]
    assert found.has_label["risk"].tolist() == [each != 1 for each in theirs]
    assert {0, 1} & set(theirs) and 2 in theirs  # both sorts of rows are there
