"""How the projection is shared, and the limit that is `hint`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mmkd.losses import hint, tinybert_hidden


def build(scene: Callable, modality: str, teacher: str, pairs: list[list[int]]) -> tinybert_hidden.Loss:
    config = tinybert_hidden.Config(teacher=teacher, modality=modality, pairs=pairs)
    return tinybert_hidden.Loss(config, scene().setting).double()


def test_pairs_of_the_same_widths_share_a_projection(scene: Callable) -> None:
    assert {
        name: tuple(value.shape) for name, value in build(scene, "text", "bert", [[0, 1], [1, 3]]).state_dict().items()
    } == {"projections.4_6.weight": (6, 4)}
    assert {
        name: tuple(value.shape) for name, value in build(scene, "image", "vit", [[0, 0], [1, 2]]).state_dict().items()
    } == {"projections.2_3.weight": (3, 2), "projections.3_2.weight": (2, 3)}


def test_one_pair_is_hint_without_a_bias(scene: Callable) -> None:
    own = build(scene, "text", "bert", [[1, 3]])
    other = hint.Loss(hint.Config(teacher="bert", layer=3, modality="text"), scene().setting).double()
    with torch.no_grad():
        other.projection.weight.copy_(own.projections["4_6"].weight)
        other.projection.bias.zero_()
    torch.testing.assert_close(scene().value(own), scene().value(other))
