"""Bounds of a pair of patient distillation, and its sum over pairs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmkd.losses import pkd


@pytest.mark.parametrize(("factor", "expected"), [(7.0, 0.0), (-0.1, 4.0)])
def test_between_the_same_and_the_opposite_direction(factor: float, expected: float) -> None:
    teacher = torch.tensor([[3.0, 4.0], [-1.0, 2.0]], dtype=torch.float64)
    assert pkd.pkd(factor * teacher, teacher).item() == pytest.approx(expected, abs=1e-12)


def test_pairs_are_summed(scene: Callable) -> None:
    """Each pair alone, with its projection, gives its part of the value."""
    scene, pairs = scene(), [[0, 1], [1, 3]]

    def build(chosen: list[list[int]]) -> pkd.Loss:
        return pkd.Loss(pkd.Config(teacher="bert", modality="text", pairs=chosen), scene.setting).double()

    both, parts = build(pairs), []
    for pair, projection in zip(pairs, both.projections, strict=True):
        alone = build([pair])
        alone.projections[0].load_state_dict(projection.state_dict())
        parts.append(scene.value(alone))
    torch.testing.assert_close(scene.value(both), sum(parts))
