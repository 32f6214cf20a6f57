"""A teacher with its classes in another order is found, and no weak one is taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from mmkd.preflight.classes import suspected


def says(labels: np.ndarray, right: float, classes: int, generator: np.random.Generator) -> np.ndarray:
    """The label with that probability, else any class."""
    any_class = generator.integers(classes, size=len(labels))
    return np.where(generator.random(len(labels)) < right, labels, any_class)


@pytest.mark.parametrize("classes", [2, 3, 4, 5])
def test_a_reversed_order_is_found(classes: int) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(classes, size=96)
    found = suspected(labels, classes - 1 - says(labels, 0.95, classes, generator), classes)
    assert found is not None
    assert found.names == tuple(range(classes))[::-1]
    assert found.best > 0.9
    assert found.as_is < 0.4 if classes == 3 else found.as_is < 0.3
    assert found.chance == pytest.approx(1 / classes)


def test_a_cyclic_order_names_which_class_is_which() -> None:
    labels = np.arange(60) % 3
    found = suspected(labels, (labels + 1) % 3, 3)
    assert found is not None
    assert found.names == (2, 0, 1)  # what it calls 1 is the label 0
    assert (found.as_is, found.best) == (0.0, 1.0)


@pytest.mark.parametrize("right", [0.0, 0.1, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("classes", [2, 3, 5, 9])
def test_no_honest_teacher_is_suspected(right: float, classes: int) -> None:
    """Weak ones neither: 300 of each, with even labels and with uneven ones, on many rows and on few."""
    generator = np.random.default_rng(1)
    for draw in range(300):
        shares = np.ones(classes) / classes if draw % 2 else generator.dirichlet(np.ones(classes))
        labels = generator.choice(classes, size=(20, 96, 400)[draw % 3], p=shares)
        assert suspected(labels, says(labels, right, classes, generator), classes) is None


@pytest.mark.parametrize("always", [0, 1, 2])
def test_a_teacher_that_always_names_one_class_is_not_suspected(always: int) -> None:
    """Nine of ten rows have the class 0: under that name it would be right in most rows, and knows nothing."""
    labels = np.array([0] * 90 + [1] * 10 + [2] * 10)
    assert suspected(labels, np.full(110, always), 3) is None


def test_two_classes_that_are_mixed_up_by_a_good_teacher_are_not_enough() -> None:
    """Of four, so that it is still better than chance: a matter of taste, perhaps, and no proof."""
    labels = np.arange(96) % 4
    assert suspected(labels, np.array([0, 1, 3, 2])[labels], 4) is None


def test_rare_classes_do_not_count() -> None:
    labels = np.array([0] * 40 + [1] * 7)
    assert suspected(labels, 1 - labels, 2) is None
