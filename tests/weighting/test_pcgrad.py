"""PCGrad against algorithm 1 of the paper, in every order of projections."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from itertools import permutations, product

import pytest
import torch
from torchjd.aggregation import GramianWeightedAggregator, SumWeighting

from mmkd.weighting import pcgrad

THREE = ((-4.0, 1.0, 1.0), (6.0, 1.0, 1.0), (1.0, -3.0, 0.5))


def algorithm(jacobian: tuple[tuple[float, ...], ...], orders: tuple[tuple[int, ...], ...]) -> list[float]:
    """Task i's gradient loses its component against each j that it conflicts with, in the order given for i."""
    total = [0.0] * len(jacobian[0])
    for i, order in enumerate(orders):
        gradient = list(jacobian[i])
        for j in order:
            dot = sum(a * b for a, b in zip(gradient, jacobian[j], strict=True))
            if j != i and dot < 0:
                size = sum(b * b for b in jacobian[j])
                gradient = [a - dot / size * b for a, b in zip(gradient, jacobian[j], strict=True)]
        total = [a + b for a, b in zip(total, gradient, strict=True)]
    return total


def build(seed: int = 0) -> pcgrad.Weighting:
    return pcgrad.Weighting(pcgrad.Config(seed=seed), ["task0", "task1", "task2"])


def step(weighting: pcgrad.Weighting, graph: Callable, jacobian: object) -> list[float]:
    built = graph(jacobian)
    weighting.backward(built.losses, None, [built.shared], [built.representation])
    return built.shared.grad.tolist()


def test_two_tasks_have_the_known_value(graph: Callable) -> None:
    """The published value to four digits, and the algorithm's to all."""
    found = step(build(), graph, ((-4.0, 1.0, 1.0), (6.0, 1.0, 1.0)))
    assert found == pytest.approx([0.5848, 3.8012, 3.8012], abs=5e-5)
    assert found == pytest.approx(algorithm(((-4.0, 1.0, 1.0), (6.0, 1.0, 1.0)), ((0, 1), (0, 1))), rel=1e-12)


def test_three_tasks_follow_the_algorithm_in_some_order(graph: Callable) -> None:
    """And over many steps, in every order that gives another result."""
    possible = {
        tuple(round(x, 9) for x in algorithm(THREE, orders)) for orders in product(permutations(range(3)), repeat=3)
    }
    assert len(possible) > 1
    weighting = build()
    found = {tuple(round(x, 9) for x in step(weighting, graph, THREE)) for _ in range(60)}
    assert found == possible


def test_order_follows_the_seed(graph: Callable) -> None:
    runs = []
    for seed in (0, 0, 1):
        weighting = build(seed)
        runs.append([step(weighting, graph, THREE) for _ in range(12)])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_a_resumed_run_draws_as_if_never_stopped(graph: Callable) -> None:
    straight = build()
    whole = [step(straight, graph, THREE) for _ in range(12)]
    first, second = build(), build()
    parts = [step(first, graph, THREE) for _ in range(5)]
    second.load_state_dict(first.state_dict())
    assert parts + [step(second, graph, THREE) for _ in range(7)] == whole
    assert [step(build(), graph, THREE) for _ in range(12)] != whole  # control: the steps done do matter


def test_other_random_numbers_stay_as_they_are(graph: Callable) -> None:
    """The order neither reads nor moves the global generator, from which dropout draws."""
    found = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(step(build(), graph, THREE))
        assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1]


def test_control_a_plain_sum(graph: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcgrad, "PCGrad", Sum)
    with pytest.raises(AssertionError):
        test_two_tasks_have_the_known_value(graph)


def test_control_the_global_generator(graph: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn without a generator of its own, the order would move everybody else's random numbers."""
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: nullcontext())
    with pytest.raises(AssertionError):
        test_other_random_numbers_stay_as_they_are(graph)


class Sum(GramianWeightedAggregator):
    def __init__(self) -> None:
        super().__init__(SumWeighting())
