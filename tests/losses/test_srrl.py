"""The teacher's own head in `srrl`: frozen, the teacher's, and no part of the term."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from mmkd.losses.srrl import Config, Loss


def test_a_feature_that_is_the_teachers_leaves_nothing_to_learn(scene: Callable) -> None:
    """A projection that gives the teacher's feature, of which its head makes its logits."""
    one = scene()
    head = one.setting.heads["bert"]["sentiment"]
    feature = one.teachers["bert"].pooled["text"].detach()
    said = replace(one.teachers["bert"], logits={"sentiment": head(feature)})
    student = replace(one.student, fused=feature.nan_to_num().requires_grad_())
    setting = replace(one.setting, student=replace(one.setting.student, fused=6))
    loss = Loss(Config(teacher="bert", task="sentiment"), setting).double()
    with torch.no_grad():
        loss.projection.weight.copy_(torch.eye(6))
        loss.projection.bias.zero_()
    value = loss(student, {"bert": said}, one.batch)
    assert value.item() < 1e-24
    with torch.no_grad():
        loss.projection.bias[0] += 0.5
    assert loss(student, {"bert": said}, one.batch) > 0.01


def test_the_head_is_no_part_of_the_term_and_does_not_learn(scene: Callable) -> None:
    one = scene()
    loss = Loss(Config(teacher="bert", task="risk"), one.setting).double()
    assert {name for name, _ in loss.named_parameters()} == {"projection.weight", "projection.bias"}
    assert loss.state_dict().keys() == {"projection.weight", "projection.bias"}
    head = one.setting.heads["bert"]["risk"].module
    before = {name: value.clone() for name, value in head.state_dict().items()}
    one.value(loss).backward()
    torch.optim.SGD([*loss.parameters(), *head.parameters()], lr=1.0).step()
    assert all(value.grad is None and not value.requires_grad for value in head.parameters())
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    assert loss.projection.weight.grad.abs().sum() > 0
