"""Two temperatures, projections, and refusals of the terms that take a teacher with a joint space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from conformance.kinds import gradient_distil as gradient_loop
from conformance.kinds import mobileclip as mobileclip_loop
from conformance.scene import Scene
from mmkd.losses import gradient_distil, mobileclip
from mmkd.losses.base import Setting

KINDS = [(mobileclip, mobileclip_loop), (gradient_distil, gradient_loop)]


def wider(setting: Setting) -> Setting:
    """The same, with a student whose features are of another width than the joint space."""
    return replace(setting, student=replace(setting.student, pooled={"text": 4, "image": 4}))


def narrowed(scene: Scene) -> Scene:
    pooled = {name: values[:, :4] for name, values in scene.student.pooled.items()}
    return replace(scene, setting=wider(scene.setting), student=replace(scene.student, pooled=pooled))


@pytest.mark.parametrize(("module", "loop"), KINDS)
def test_the_teacher_has_a_temperature_of_its_own(module: object, loop: object, scene: Callable) -> None:
    scene = scene()
    config = module.Config(text="clip", image="clip", temperature=0.3, teacher_temperature=0.7)
    loss = module.Loss(config, scene.setting).double()
    assert scene.value(loss).item() == pytest.approx(loop.formula(loss, scene).item(), rel=1e-10)
    same = module.Loss(config.model_copy(update={"teacher_temperature": None}), scene.setting).double()
    assert abs(scene.value(same) - scene.value(loss)) > 0.1 * scene.value(loss)


def test_gradients_of_a_student_of_another_width_are_compared_after_a_projection(scene: Callable) -> None:
    scene = narrowed(scene())
    loss = gradient_distil.Loss(gradient_distil.Config(text="clip", image="clip"), scene.setting).double()
    assert loss.text.weight.shape == (5, 4)
    assert scene.value(loss).item() == pytest.approx(gradient_loop.formula(loss, scene).item(), rel=1e-10)


@pytest.mark.parametrize(("module", "loop"), KINDS)
def test_teachers_without_a_joint_space_are_refused(module: object, loop: object, scene: Callable) -> None:
    with pytest.raises(ValueError, match="joint space"):
        module.Loss(module.Config(text="bert", image="vit"), scene().setting)


def test_the_closed_form_is_the_gradient_of_clip(scene: Callable) -> None:
    """Unit features, so that the way through the length adds nothing: autograd gives it along the sphere."""
    text, image = (torch.nn.functional.normalize(part, dim=-1) for part in torch.randn(2, 5, 3, dtype=torch.float64))
    text.requires_grad_()
    image.requires_grad_()
    logits, pairs = text @ image.T / 0.2, torch.arange(5)
    value = sum(torch.nn.functional.cross_entropy(each, pairs) for each in (logits, logits.T)) / 2
    found = gradient_distil.clip_gradients(text, image, 0.2)
    torch.testing.assert_close(found, torch.autograd.grad(value, (text, image)))
