"""Constant weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from mmkd.weighting import fixed


def gradient(graph: Callable, weights: dict[str, float]) -> tuple[dict[str, float], list[float], list[float]]:
    built = graph()
    weighting = fixed.Weighting(fixed.Config(weights=weights), ["task0", "task1"])
    used = weighting.backward(built.losses, None, [built.shared], [built.representation])
    return used, built.shared.grad.tolist(), [head.grad.item() for head in built.heads]


def test_weighted_sum(graph: Callable) -> None:
    """0.5 times (-4, 1, 1) and 1 times (6, 1, 1); heads 0.5 times 2 and 3."""
    assert gradient(graph, {"task0": 0.5}) == ({"task0": 0.5, "task1": 1.0}, [4.0, 1.5, 1.5], [1.0, 3.0])


def test_continuous_at_zero(graph: Callable) -> None:
    at_zero, near = gradient(graph, {"task0": 0.0}), gradient(graph, {"task0": 1e-9})
    assert at_zero[1] == [6, 1, 1]
    assert near[1] == pytest.approx(at_zero[1], abs=1e-8)


def test_a_name_that_is_no_task_is_refused() -> None:
    with pytest.raises(ValueError, match=r"found \['sentimant'\]; expected names of tasks: \['sentiment'\]"):
        fixed.Weighting(fixed.Config(weights={"sentimant": 2.0}), ["sentiment"])


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValidationError):
        fixed.Config(weights={"a": -1.0})
