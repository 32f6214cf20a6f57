"""Exits on the student's layers: `ofa` and `self_distil`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from mmkd.losses import ofa, self_distil
from mmkd.losses.logit_kl import logit_kl

KINDS = [(ofa, {"teacher": "bert"}), (self_distil, {})]


@pytest.mark.parametrize(("module", "keys"), KINDS)
def test_words_are_not_predicted_from_images(module: object, keys: dict, scene: Callable) -> None:
    config = module.Config(task="ner", modality="image", layers=[0], **keys)
    with pytest.raises(ValueError, match="`ner` is over words, and the layers are of image"):
        module.Loss(config, scene().setting)


def test_the_deepest_logits_learn_nothing_from_the_exits(scene: Callable) -> None:
    found = scene()
    config = self_distil.Config(task="sentiment", modality="text", layers=[0])
    gradients = found.gradients(self_distil.Loss(config, found.setting).double())
    assert set(gradients) == {"student.lower_text"}


def test_exits_on_more_layers_add_up(scene: Callable) -> None:
    found = scene()
    values = {}
    for layers in ([0], [1], [0, 1]):
        loss = self_distil.Loss(self_distil.Config(task="ner", modality="text", layers=layers), found.setting).double()
        for head in loss.exits:
            torch.nn.init.ones_(head.weight)
            torch.nn.init.zeros_(head.bias)
        values[tuple(layers)] = found.value(loss).item()
    assert values[0, 1] == pytest.approx(values[0,] + values[1,])


def rows() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    return student, teacher, torch.randint(4, (6,), generator=generator)


def test_at_gamma_one_it_is_the_label_plus_the_teacher() -> None:
    student, teacher, labels = rows()
    entropy = -(teacher.softmax(-1) * teacher.log_softmax(-1)).sum(-1).mean()
    expected = functional.cross_entropy(student, labels) + logit_kl(student, teacher, 1.0) + entropy
    torch.testing.assert_close(ofa.ofa(student, teacher, labels, 1.0), expected)


def test_gamma_counts_the_label_of_a_sure_teacher_alone() -> None:
    """A sure teacher doubles the factor from gamma 1 to 2; one that gives the label no probability changes nothing."""
    student, _, labels = rows()
    nll = functional.cross_entropy(student, labels)
    sure = torch.full((6, 4), -60.0, dtype=torch.float64).scatter(-1, labels[:, None], 60.0)
    torch.testing.assert_close(ofa.ofa(student, sure, labels, 1.0), 2 * nll)
    torch.testing.assert_close(ofa.ofa(student, sure, labels, 2.0), 4 * nll)
    torch.testing.assert_close(ofa.ofa(student, -sure, labels, 2.0), ofa.ofa(student, -sure, labels, 1.0))
