"""Metrics of summed counts against those of the tasks, which score a split."""

from collections.abc import Callable

import numpy as np
import pytest

from mmkd.report.statistics.example_counts import (
    class_counts,
    distance_counts,
    entity_counts,
    kappa_counts,
    label_counts,
    macro_f1,
    micro_counts,
    quadratic_kappa,
    ratio,
    right_counts,
)
from mmkd.tasks import classify, multilabel, ordinal, regress, tag

CASES = 1000
TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def test_classes_of_a_thousand_splits_as_the_tasks_score_them():
    generator = np.random.default_rng(0)
    for case in range(CASES):
        classes, n = int(generator.integers(2, 6)), int(generator.integers(1, 12))
        gold, found = generator.integers(0, generator.integers(1, classes + 1), (2, n))
        names = [f"{i}" for i in range(classes)]
        one = classify.Task(classify.Config(), "task", names).score(list(gold), list(np.eye(classes)[found]))
        other = ordinal.Task(ordinal.Config(), "task", names).score(list(gold), list(np.eye(classes)[found]))
        sums = {
            "macro_f1": macro_f1(class_counts(gold, found, classes).sum(0)),
            "accuracy": ratio(right_counts(gold, found).sum(0)),
            "mae": ratio(distance_counts(gold, found).sum(0)),
            "qwk": quadratic_kappa(kappa_counts(gold, found, classes).sum(0)),
        }
        for metric, value in sums.items():
            scores = one if metric in one else other
            assert float(value) == pytest.approx(scores[metric].value, rel=1e-12, abs=1e-13), (case, metric)
        assert other["macro_f1"].value == one["macro_f1"].value


def test_labels_of_a_thousand_splits_as_the_task_scores_them():
    generator = np.random.default_rng(1)
    for _ in range(CASES):
        width, n = int(generator.integers(1, 6)), int(generator.integers(1, 12))
        gold, found = (generator.random((2, n, width)) < generator.random()).astype(np.int64)
        task = multilabel.Task(multilabel.Config(), "task", [f"{i}" for i in range(width)])
        scores = task.score(list(gold), list(found.astype(np.float64)))
        assert float(ratio(micro_counts(gold, found).sum(0))) == pytest.approx(scores["micro_f1"].value, rel=1e-13)
        assert float(macro_f1(label_counts(gold, found).sum(0))) == pytest.approx(scores["macro_f1"].value, rel=1e-13)


def test_entities_of_a_thousand_splits_as_the_task_scores_them():
    generator = np.random.default_rng(2)
    task = tag.Task(tag.Config(), "task", TAGS)
    some = 0
    for _ in range(CASES):
        lengths = generator.integers(1, 9, int(generator.integers(1, 6)))
        gold = [generator.integers(0, 5, n) for n in lengths]
        found = [
            np.where(generator.random(len(tags)) < 0.3, generator.integers(0, 5, len(tags)), tags) for tags in gold
        ]
        scores = task.score(gold, [np.eye(5)[tags] for tags in found])
        words = [[[TAGS[i] for i in tags] for tags in side] for side in (gold, found)]
        right, labelled, predicted = entity_counts(*words).sum(0)
        some += right > 0
        assert float(ratio(np.array([2 * right, labelled + predicted]))) == scores["entity_f1"].value
        assert float(ratio(np.array([right, labelled]))) == scores["recall"].value
        assert float(ratio(np.array([right, predicted]))) == scores["precision"].value
        every = [np.concatenate(side) for side in (gold, found)]
        assert float(ratio(right_counts(*every).sum(0))) == pytest.approx(scores["accuracy"].value, rel=1e-13)
    assert some > CASES / 2


def test_distances_of_values_as_the_task_scores_them():
    generator = np.random.default_rng(3)
    for _ in range(100):
        gold, found = generator.normal(size=(2, int(generator.integers(1, 12))))
        score = regress.Task(regress.Config(), "task", []).score(list(gold), list(found[:, None]))["mae"]
        assert float(ratio(distance_counts(gold, found).sum(0))) == pytest.approx(score.value, rel=1e-13)


@pytest.mark.parametrize(
    ("metric", "counts"),
    [
        (ratio, lambda gold, found: right_counts(gold, found)),
        (macro_f1, lambda gold, found: class_counts(gold, found, 3)),
        (quadratic_kappa, lambda gold, found: kappa_counts(gold, found, 3)),
    ],
)
def test_many_sums_at_once_are_as_one_at_a_time(metric: Callable, counts: Callable):
    generator = np.random.default_rng(4)
    sums = np.stack([counts(*generator.integers(0, 3, (2, 5))).sum(0) for _ in range(12)])
    together = metric(sums.reshape(3, 4, -1))
    assert together.shape == (3, 4)
    assert together.ravel().tolist() == pytest.approx([float(metric(each)) for each in sums], rel=1e-13)


def test_of_no_example_every_metric_is_0():
    """A resample may have no labelled row of a task."""
    assert [float(ratio(np.zeros(2))), float(macro_f1(np.zeros(6))), float(quadratic_kappa(np.zeros(7)))] == [0, 0, 0]
