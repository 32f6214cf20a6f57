"""What is masked: nothing, all, and at random by torch's state."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmkd.losses import mgd


def build(scene: Callable, masked: float) -> mgd.Loss:
    torch.manual_seed(0)
    return mgd.Loss(mgd.Config(teacher="vit", layer=2, modality="image", masked=masked), scene().setting).double()


def values(scene: Callable, masked: float) -> list[Tensor]:
    loss, found = build(scene, masked), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(scene().value(loss))
    return found


def test_the_mask_is_drawn_anew_by_the_seed(scene: Callable) -> None:
    first, again, other = values(scene, 0.5)
    assert first == again
    assert first != other


def test_with_nothing_masked_nothing_is_random(scene: Callable) -> None:
    assert len({value.item() for value in values(scene, 0.0)}) == 1


def test_with_all_masked_the_student_learns_nothing(scene: Callable) -> None:
    scene_, loss = scene(), build(scene, 1.0)
    assert not any(gradient.any() for gradient in scene_.gradients(loss).values())
    assert loss.generation[2].bias.grad.any()
