"""Kendall's weighting: formula, optimum, bounds, and the state of absent tasks."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mmkd.weighting import uncertainty
from mmkd.weighting.uncertainty import Config, Weighting


def step(weighting: Weighting, losses: dict[str, float]) -> tuple[dict[str, float], dict[str, Tensor]]:
    """One backward over losses of the given values; the weights, and each task's own parameter."""
    own = {task: nn.Parameter(torch.tensor(value, dtype=torch.float64)) for task, value in losses.items()}
    weights = weighting.backward({task: own[task] * 1 for task in own}, None, [], [])
    return weights, own


def test_value_and_gradient_of_the_formula() -> None:
    """d/dL of exp(-s) L + s/2 is exp(-s); d/ds is 1/2 - exp(-s) L."""
    weighting = Weighting(Config(bound=3.0), ["a", "b"]).double()
    with torch.no_grad():
        weighting.log_variances[0].fill_(0.7)
        weighting.log_variances[1].fill_(-1.2)
    weights, own = step(weighting, {"a": 3.0, "b": 0.2})
    for task, s, loss, parameter in zip("ab", (0.7, -1.2), (3.0, 0.2), weighting.log_variances, strict=True):
        assert weights[task] == pytest.approx(math.exp(-s), rel=1e-10)
        assert own[task].grad.item() == pytest.approx(math.exp(-s), rel=1e-10)
        assert parameter.grad.item() == pytest.approx(0.5 - math.exp(-s) * loss, rel=1e-10)


def test_all_weights_start_at_one() -> None:
    weights, _ = step(Weighting(Config(), ["a", "b"]), {"a": 3.0, "b": 0.2})
    assert weights == {"a": 1, "b": 1}


def test_constant_losses_reach_the_closed_form_optimum() -> None:
    """exp(-s) = 1 / (2 L)."""
    losses = {"a": 1.5, "b": 0.3, "c": 0.05}
    weighting = Weighting(Config(bound=3.0), list(losses)).double()
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        weights, _ = step(weighting, losses)
        optimizer.step()
    assert weights == pytest.approx({task: 1 / (2 * loss) for task, loss in losses.items()}, rel=1e-6)


def test_a_loss_that_reaches_zero_stays_bounded_and_comes_back() -> None:
    """At L = 0 the optimum is an infinite weight; the bound holds it, and lets go when the loss rises again."""
    weighting = Weighting(Config(bound=2.0), ["a"]).double()
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.5)
    for losses in ([0.0] * 100, [0.5] * 100):
        for loss in losses:
            optimizer.zero_grad()
            weights, _ = step(weighting, {"a": loss})
            assert weights["a"] <= math.exp(2.0) * (1 + 1e-12)
            optimizer.step()
        expected = math.exp(2.0) if losses[0] == 0 else 1 / (2 * 0.5)
        assert weights["a"] == pytest.approx(expected, rel=1e-6)


def test_by_default_any_two_weights_are_within_a_factor_of_ten() -> None:
    losses = {"a": 1e-6, "b": 1e6}
    weighting = Weighting(Config(), list(losses)).double()
    with torch.no_grad():
        for parameter in weighting.log_variances:
            parameter.copy_(20 * (1 if parameter is weighting.log_variances[1] else -1))
    weights, _ = step(weighting, losses)
    assert 9 < weights["a"] / weights["b"] <= 10


def test_a_huge_loss_is_bounded_below() -> None:
    weighting = Weighting(Config(bound=2.0), ["a"]).double()
    optimizer = torch.optim.SGD(weighting.parameters(), lr=1e-3)
    for _ in range(300):
        optimizer.zero_grad()
        weights, _ = step(weighting, {"a": 1e4})
        optimizer.step()
    assert weights["a"] == pytest.approx(math.exp(-2.0))


def run_with_absences(weighting: Weighting) -> list[float]:
    """Task b is in the first three batches only; its log-variance after each batch, under AdamW."""
    optimizer = torch.optim.AdamW(weighting.parameters(), lr=0.1, weight_decay=0.0)
    history = []
    for number in range(6):
        optimizer.zero_grad()
        step(weighting, {"a": 1.0, "b": 3.0} if number < 3 else {"a": 1.0})
        optimizer.step()
        history.append(weighting.log_variances[1].item())
    return history


def test_an_absent_task_keeps_its_log_variance() -> None:
    """Momentum included: no gradient at all, not a gradient of zero."""
    history = run_with_absences(Weighting(Config(), ["a", "b"]))
    assert history[0] != history[2]
    assert history[2:] == [history[2]] * 4


def test_control_a_zero_gradient_moves_by_momentum(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Weighting.backward

    def with_zeros(weighting: Weighting, *arguments: object) -> dict[str, float]:
        for parameter in weighting.log_variances:
            parameter.grad = torch.zeros_like(parameter)
        return right(weighting, *arguments)

    monkeypatch.setattr(Weighting, "backward", with_zeros)
    with pytest.raises(AssertionError):
        test_an_absent_task_keeps_its_log_variance()


def test_control_a_clamp_in_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clamped inside the formula, a log-variance past its bound has no gradient and never comes back."""

    def clamped(weighting: Weighting, by_task: dict[str, Tensor], *arguments: object) -> dict[str, float]:
        bound = weighting.config.bound
        bounded = [parameter.clamp(-bound, bound) for parameter in weighting.log_variances]
        terms = [torch.exp(-s) * loss + s / 2 for s, loss in zip(bounded, by_task.values(), strict=True)]
        torch.stack(terms).sum().backward()
        return {task: math.exp(-float(s.detach())) for task, s in zip(by_task, bounded, strict=True)}

    monkeypatch.setattr(Weighting, "backward", clamped)
    with pytest.raises(AssertionError):
        test_a_loss_that_reaches_zero_stays_bounded_and_comes_back()


def test_control_without_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Weighting, "_keep_bounded", lambda weighting, log_variances: None)
    with pytest.raises(AssertionError):
        test_a_loss_that_reaches_zero_stays_bounded_and_comes_back()


@pytest.mark.parametrize("name", ["type", "keys", "training", "items", "forward"])
def test_any_name_of_a_task_will_do(name: str) -> None:
    weights, _ = step(Weighting(Config(), [name]), {name: 1.0})
    assert weights == {name: 1}


def test_state_is_kept_in_the_checkpoint() -> None:
    first, second = Weighting(Config(), ["a", "b"]), Weighting(Config(), ["a", "b"])
    run_with_absences(first)
    second.load_state_dict(first.state_dict())
    assert [s.item() for s in second.log_variances] == [s.item() for s in first.log_variances]
    assert second.log_variances[1].item() != 0


def test_rest_is_not_weighted(graph: Callable) -> None:
    built = graph()
    weighting = uncertainty.Weighting(Config(), ["task0", "task1"]).double()
    with torch.no_grad():
        weighting.log_variances[0].fill_(1.0)
    weighting.backward({"task0": built.losses["task0"]}, built.representation.sum(), [built.shared], [])
    expected = [math.exp(-1) * value + 1 for value in (-4.0, 1.0, 1.0)]
    assert built.shared.grad.tolist() == pytest.approx(expected)


def weights_after(groups: Callable[[float], dict[str, float]], bound: float) -> dict[str, float]:
    """Weights after 600 steps of AdamW, while a task's distilled term falls to 0 and its supervised term stays."""
    names = list(groups(1.0))
    weighting = Weighting(Config(bound=bound), names).double()
    optimizer = torch.optim.AdamW(weighting.parameters(), lr=0.02, weight_decay=0.0)
    for number in range(600):
        optimizer.zero_grad()
        weights, _ = step(weighting, groups(math.exp(-number / 30)))
        optimizer.step()
    return weights


def apart(distilled: float) -> dict[str, float]:
    return {"risk.supervised": 0.5, "risk.distilled": distilled}


def together(distilled: float) -> dict[str, float]:
    return {"risk": 0.5 + distilled}


def test_a_distilled_part_runs_away_but_for_its_bound_and_a_whole_task_does_not() -> None:
    """The optimum is 1 / (2 L), and a teacher that is matched leaves L = 0, as labels with noise do not."""
    assert weights_after(apart, bound=50.0)["risk.distilled"] > 1e3
    bounded = weights_after(apart, bound=2.0)
    assert bounded["risk.distilled"] == pytest.approx(math.exp(2.0))
    assert bounded["risk.supervised"] == pytest.approx(1.0, rel=1e-2)
    assert weights_after(together, bound=50.0)["risk"] == pytest.approx(1.0, rel=0.05)
