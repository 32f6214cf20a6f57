"""Which teacher `random_kl` draws: by the step's seed, by chance, and never one that is silent on the whole batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from conformance.scene import Scene
from mmkd.losses import random_kl
from mmkd.losses.random_kl import Config, Loss, drawn
from mmkd.train import mix
from mmkd.types import Outputs


def silent(said: Outputs) -> Outputs:
    return replace(said, speaks=torch.zeros_like(said.speaks), words=torch.zeros_like(said.words))


def values_of(scene: Scene, seed: int, steps: int = 12) -> list[float]:
    loss = Loss(Config(task="sentiment", teachers={"bert": 1.0, "vit": 1.0}), scene.setting).double()
    found = []
    for step in range(steps):
        torch.manual_seed(mix(seed, 0, step))  # as the loop does before each step
        found.append(scene.value(loss).item())
    return found


def test_the_draws_follow_from_the_seed_and_the_step(scene: Callable) -> None:
    one = scene()
    first = values_of(one, 0)
    assert len(set(first)) == 2  # each teacher had its turn
    assert values_of(one, 0) == first
    assert values_of(one, 1) != first


def test_a_teacher_is_drawn_as_often_as_its_share() -> None:
    generator = np.random.default_rng(0)
    counts = Counter(drawn([1.0, 0.0, 3.0], number) for number in generator.random(4000))
    assert counts[1] == 0
    assert counts[2] == pytest.approx(3000, abs=5 * (4000 * 0.75 * 0.25) ** 0.5)


@pytest.mark.parametrize(
    ("chances", "number", "expected"),
    [
        ([1.0, 1.0], 0.0, 0),
        ([1.0, 1.0], 0.499, 0),
        ([1.0, 1.0], 0.5, 1),
        ([0.0, 2.0], 0.0, 1),
        ([3.0, 0.0], 0.9999, 0),
        ([0.0, 0.0], 0.3, 0),
    ],
)
def test_the_ends_of_the_line(chances: list[float], number: float, expected: int) -> None:
    assert drawn(chances, number) == expected


def test_a_number_that_rounding_leaves_over_draws_no_silent_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_kl, "sum", lambda chances: 1.1 * sum(chances), raising=False)
    assert drawn([1.0, 1.0, 0.0], 0.999) == 1


def test_one_that_speaks_about_no_row_is_not_drawn(scene: Callable) -> None:
    one = scene()
    quiet = replace(one, teachers={**one.teachers, "vit": silent(one.teachers["vit"])})
    alone = Loss(Config(task="sentiment", teachers={"bert": 1.0}), one.setting)
    assert set(values_of(quiet, 0)) == {one.value(alone).item()}
