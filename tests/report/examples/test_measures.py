"""Each metric from what examples add to it is the one that the task itself scores, from a file of predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmkd.config.plugins import load
from mmkd.evaluate import write_predictions
from mmkd.report.examples.measures import MEASURES
from mmkd.report.examples.predictions import read_predictions

LABELS = {
    "classify": ("a", "b", "c", "never"),
    "ordinal": ("low", "middle", "high"),
    "multilabel": ("x", "y", "z", "never"),
    "regress": (),
    "tag": ("O", "B-PER", "I-PER", "B-ORG", "I-ORG"),
}
NO_SUMS = {"ece", "auroc", "map", "pearson", "spearman"}


def random_rows(kind: str, generator: np.random.Generator, n: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Labels and estimates of n examples."""
    width = len(LABELS[kind])
    match kind:
        case "regress":
            labels = generator.normal(size=n).astype(np.float32)
            return list(labels), list(generator.normal(size=(n, 1)).astype(np.float32))
        case "multilabel":
            held = (generator.random((n, width)) < 0.3).astype(np.float32)
            held[:, -1] = 0
            return list(held), list(generator.random((n, width)).astype(np.float32) * [0.9, 0.9, 0.9, 0.4])
        case "tag":
            words = generator.integers(1, 9, n)
            estimates = [generator.dirichlet([3, 1, 1, 1, 1], w) for w in words]
            estimates[0][-1] = np.nan  # a word that the tokenizer cut
            return [generator.choice(width, w, p=[0.4, 0.2, 0.1, 0.2, 0.1]) for w in words], estimates
        case _:
            classes = width - (kind == "classify")
            estimates = generator.dirichlet(np.ones(classes), n)
            padded = np.concatenate([estimates, np.zeros((n, width - classes))], axis=1)
            return list(generator.integers(0, classes, n)), list(padded)


def rows_of(task: Any, labels: Sequence[np.ndarray], estimates: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    own = {"task": "own", "form": task.config.logits}
    return [
        {**own, "id": f"{i:03}", "labels": a, "estimates": b, "predictions": task.predict(b)}
        for i, (a, b) in enumerate(zip(labels, estimates, strict=True))
    ]


@pytest.mark.parametrize("kind", MEASURES)
def test_each_metric_is_that_of_the_task(tmp_path: Path, kind: str) -> None:
    plugin = load("tasks", kind)
    task = plugin.Task(plugin.Config(), "own", LABELS[kind])
    generator, form, measures = np.random.default_rng(0), *MEASURES[kind]
    for number in range(20):
        labels, estimates = random_rows(kind, generator, int(generator.integers(2, 40)))
        scores = task.score(labels, estimates)
        other = {"id": "0", "task": "other", "form": "value", "labels": 0, "estimates": np.zeros(1), "predictions": 0}
        path = tmp_path / f"{number}.parquet"
        write_predictions([*rows_of(task, labels, estimates)[::-1], other], path)
        found = read_predictions(path, "own", form, LABELS[kind])
        assert len(found.ids) == len(labels) and list(found.ids) == sorted(found.ids)
        assert measures.keys() == scores.keys() - NO_SUMS
        for metric, measure in measures.items():
            value = float(measure.metric(measure.counts(found).sum(0)))
            assert value == pytest.approx(scores[metric].value, abs=1e-12), (metric, number)
