"""What a student that agrees gets, numbers of heads that do not fit, and what the losses ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from conformance.scene import Scene
from mmkd.losses import minilm_v2, tinybert_attention, tinybert_embedding

BLOCKS = {"teacher": "bert", "modality": "text", "pairs": [[1, 3]]}


def relations(**changes: object) -> minilm_v2.Config:
    return minilm_v2.Config(**{**BLOCKS, "relation_heads": 2, **changes})


def agreeing(scene: Scene) -> Scene:
    """The student's queries, keys and values are the teacher's, at the words of both; its width is the teacher's."""
    own = dict(scene.student.hidden["text"])
    taught, shape = scene.teachers["bert"].hidden["text"], scene.setting.student
    for part in ("query", "key", "value"):
        own[f"1.{part}"] = replace(own[f"1.{part}"], values=taught[f"3.{part}"].values.detach().requires_grad_())
    widths = {"text": {**shape.hidden["text"], **{f"1.{part}": 8 for part in ("query", "key", "value")}}}
    setting = replace(scene.setting, student=replace(shape, hidden={**shape.hidden, **widths}))
    student = replace(scene.student, hidden={**scene.student.hidden, "text": own})
    return replace(scene, student=student, setting=setting)


@pytest.mark.parametrize("kind", [tinybert_attention, minilm_v2])
def test_a_student_that_agrees_has_nothing_to_learn(scene: Callable[..., Scene], kind):
    config = relations() if kind is minilm_v2 else kind.Config(**BLOCKS)
    same = agreeing(scene(filler=0.0))
    value = same.value(kind.Loss(config, same.setting))
    assert abs(value.item()) < 1e-12
    value.backward()
    gradients = [same.student.hidden["text"][f"1.{part}"].values.grad for part in ("query", "key")]
    assert all(gradient.abs().max() < 1e-12 for gradient in gradients)
    assert scene().value(kind.Loss(config, scene().setting)).item() > 1e-3  # the control


def test_minilm_does_not_see_a_rotation_of_each_relation_head(scene: Callable[..., Scene]):
    same = agreeing(scene(filler=0.0))
    turned, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    own = dict(same.student.hidden["text"])
    for part in ("query", "key", "value"):
        values = own[f"1.{part}"].values.unflatten(-1, (2, 4)) @ turned
        own[f"1.{part}"] = replace(own[f"1.{part}"], values=values.flatten(-2))
    moved = replace(same, student=replace(same.student, hidden={**same.student.hidden, "text": own}))
    assert abs(moved.value(minilm_v2.Loss(relations(), moved.setting)).item()) < 1e-12


def test_heads_that_do_not_fit_are_refused(scene: Callable[..., Scene]):
    setting = scene().setting
    bert = setting.teachers["bert"]
    other = replace(bert, heads={"text": {**bert.heads["text"], "3.query": 4, "3.key": 4}})
    changed = replace(setting, teachers={**setting.teachers, "bert": other})
    with pytest.raises(ValueError, match="block 1 of the student has 2 heads, block 3 of the teacher `bert` has 4"):
        tinybert_attention.Loss(tinybert_attention.Config(**BLOCKS), changed)
    minilm_v2.Loss(relations(), changed)  # cuts its own
    with pytest.raises(
        ValueError, match=r"relation_heads 8; expected a divisor of 4, the width of 1\.query of the stu"
    ):
        minilm_v2.Loss(relations(relation_heads=8), setting)


def test_only_what_is_read_is_asked_for():
    attention, related = tinybert_attention.Config(**BLOCKS), relations(pairs=[[0, 1], [1, 1]])
    assert attention.teacher_needs()[0].layers == ("3.query", "3.key")
    assert attention.student_needs().layers == (("text", "1.query"), ("text", "1.key"))
    assert related.teacher_needs()[0].layers == ("1.query", "1.key", "1.value")
    assert [layer for _, layer in related.student_needs().layers] == [
        f"{block}.{part}" for block in (0, 1) for part in ("query", "key", "value")
    ]
    embedding = tinybert_embedding.Config(teacher="bert", modality="text")
    assert embedding.teacher_needs()[0].layers == ("embedding",)
