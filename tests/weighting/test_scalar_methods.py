"""What single methods that scale losses promise beyond their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mmkd.weighting import dwa, famo, gls, gradnorm, imtl_l, stch
from mmkd.weighting.base import Weighting


def step(weighting: Weighting, losses: dict[str, float], slopes: dict[str, float] | None = None) -> dict[str, float]:
    """One backward over losses of the given values and slopes at one shared parameter."""
    shared = nn.Parameter(torch.zeros((), dtype=torch.float64))
    slopes = slopes or dict.fromkeys(losses, 1.0)
    found: dict[str, Tensor] = {task: value + slopes[task] * shared for task, value in losses.items()}
    return weighting.backward(found, None, [shared], [])


def test_geometric_mean_s_gradient_does_not_depend_on_units() -> None:
    """Ten times one loss: every weighted loss grows by the same factor, the root of ten."""
    weights = [
        step(gls.Weighting(gls.Config(), ["a", "b"]), losses) for losses in ({"a": 2, "b": 3}, {"a": 20, "b": 3})
    ]
    assert weights[1]["a"] * 20 == pytest.approx(weights[0]["a"] * 2 * math.sqrt(10))
    assert weights[1]["b"] == pytest.approx(weights[0]["b"] * math.sqrt(10))


def test_imtl_l_brings_all_losses_to_one() -> None:
    losses = {"a": 1.5, "b": 0.3, "c": 0.05}
    weighting = imtl_l.Weighting(imtl_l.Config(), list(losses)).double()
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        weights = step(weighting, losses)
        optimizer.step()
    assert {task: weights[task] * loss for task, loss in losses.items()} == pytest.approx(dict.fromkeys(losses, 1.0))


def test_a_smooth_maximum_becomes_the_maximum() -> None:
    """Little smoothness: the worst task alone, by its preference; much: all by their preferences' square."""
    losses = {"a": 1.0, "b": 3.0}
    found = [step(stch.Weighting(stch.Config(mu=mu), list(losses)), losses) for mu in (1e-3, 1e6)]
    assert found[0] == pytest.approx({"a": 0.0, "b": 0.5})
    assert found[1] == pytest.approx({"a": 0.25, "b": 0.25}, rel=1e-5)


def test_a_reference_says_what_is_worst() -> None:
    config = stch.Config(mu=1e-3, reference={"b": 2.9})
    assert step(stch.Weighting(config, ["a", "b"]), {"a": 1.0, "b": 3.0}) == pytest.approx({"a": 0.5, "b": 0.0})


@pytest.mark.parametrize("key", ["preferences", "reference"])
def test_a_name_that_is_no_task_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=rf"weighting.{key}: found \['sentimant'\]; expected names of tasks"):
        stch.Weighting(stch.Config(**{key: {"sentimant": 2.0}}), ["sentiment"])


def test_dynamic_weights_favour_what_falls_slower() -> None:
    weighting = dwa.Weighting(dwa.Config(), ["a", "b"])
    for losses in ({"a": 4.0, "b": 4.0}, {"a": 3.9, "b": 1.0}):
        assert step(weighting, losses) == {"a": 1, "b": 1}
        weighting.end_epoch()
    weights = step(weighting, {"a": 3.9, "b": 1.0})
    assert weights["a"] > weights["b"]
    assert sum(weights.values()) == pytest.approx(2)


def test_famo_moves_weight_to_what_falls_slower() -> None:
    """Losses that fall at one rate leave the logits equal; one that falls faster loses weight beside its size."""
    same, different = (famo.Weighting(famo.Config(lr=1.0), ["a", "b"]).double() for _ in range(2))
    for number in range(5):
        step(same, {"a": 4.0 * 0.5**number, "b": 1.0 * 0.5**number})
        step(different, {"a": 4.0 * 0.5**number, "b": 1.0})
    assert same.logits.tolist() == pytest.approx([0, 0], abs=1e-12)
    assert different.logits[0] < different.logits[1]


def test_gradnorm_brings_norms_together() -> None:
    """alpha 0, or losses of one pace: weights in inverse proportion to the norms, of the sum that they had."""
    weighting = gradnorm.Weighting(gradnorm.Config(lr=1e-3), ["a", "b"]).double()
    for _ in range(2000):
        weights = step(weighting, {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 3.0})
    assert weights == pytest.approx({"a": 1.5, "b": 0.5}, abs=0.02)


def test_gradnorm_favours_the_slower_task() -> None:
    weighting = gradnorm.Weighting(gradnorm.Config(lr=1e-2), ["a", "b"]).double()
    step(weighting, {"a": 1.0, "b": 1.0})
    for _ in range(20):
        weights = step(weighting, {"a": 0.9, "b": 0.3})
    assert weights["a"] > 1 > weights["b"]


def test_gradnorm_s_weights_stay_above_zero() -> None:
    """A plain step that is longer than the weight would turn its sign."""
    weighting = gradnorm.Weighting(gradnorm.Config(), ["a", "b"]).double()
    for _ in range(10):
        assert min(step(weighting, {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1e4}).values()) > 0


def test_control_gradnorm_without_a_least_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradnorm, "SMALLEST", -math.inf)
    with pytest.raises(AssertionError):
        test_gradnorm_s_weights_stay_above_zero()


def test_gradnorm_moves_tasks_whose_first_losses_were_zero() -> None:
    weighting = gradnorm.Weighting(gradnorm.Config(), ["a", "b"]).double()
    step(weighting, {"a": 0.0, "b": 0.0})
    step(weighting, {"a": 1.0, "b": 0.5})
    assert step(weighting, {"a": 1.0, "b": 0.5})["a"] > 1


def test_control_gradnorm_without_a_least_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradnorm, "LEAST", 0.0)
    with pytest.raises(AssertionError):
        test_gradnorm_moves_tasks_whose_first_losses_were_zero()
