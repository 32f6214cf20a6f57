"""Who learns from what: the paraphraser from its own work alone, the translator from the distance alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmkd.losses import factor_transfer


def build(scene: Callable, **keys: object) -> factor_transfer.Loss:
    torch.manual_seed(0)
    config = factor_transfer.Config(teacher="bert", layer=3, modality="text", **keys)
    return factor_transfer.Loss(config, scene().setting).double()


def gradients(scene: Callable, loss: factor_transfer.Loss) -> dict[str, Tensor]:
    scene().value(loss).backward()
    return {name: parameter.grad.clone() for name, parameter in loss.named_parameters()}


def test_the_distance_does_not_reach_the_paraphraser(scene: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distance a thousand times as large leaves its gradient as it is, bit by bit, and the translator's does not."""
    plain = gradients(scene, build(scene))
    original = factor_transfer.factor_transfer
    monkeypatch.setattr(factor_transfer, "factor_transfer", lambda *each: 1000 * original(*each))
    larger = gradients(scene, build(scene))
    for name, gradient in plain.items():
        assert gradient.any()
        assert torch.equal(larger[name], gradient) == (not name.startswith("translator")), name


def test_the_paraphraser_learns_to_make_the_teacher_again(scene: Callable) -> None:
    """As many channels as the teacher has: what is left of the error is small."""
    loss, found = build(scene, rate=1.0), scene()
    rows = loss.positions(found.student, found.teachers).examples()
    target = rows.teacher[rows.keep]
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.03)

    def error() -> float:
        return (loss.reconstruction(loss.paraphraser(target)) - target).square().mean().item()

    before = error()
    for _ in range(300):
        optimizer.zero_grad()
        found.value(loss).backward()
        optimizer.step()
    assert error() < 0.02 * before


def test_the_factor_has_the_stated_share_of_channels(scene: Callable) -> None:
    widths = {rate: build(scene, rate=rate).reconstruction.in_features for rate in (0.01, 0.5, 1.0)}
    assert widths == {0.01: 1, 0.5: 3, 1.0: 6}


@pytest.mark.parametrize(("p", "expected"), [(1, 0.6 + 0.2), (2, (0.6**2 + 0.2**2) ** 0.5)])
def test_a_known_distance(p: int, expected: float) -> None:
    student, teacher = torch.tensor([[0.0, 5.0]]), torch.tensor([[3.0, 4.0]])
    assert factor_transfer.factor_transfer(student, teacher, p).item() == pytest.approx(expected)
