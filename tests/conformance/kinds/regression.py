"""Squared or Huber's error to the teacher's value; bounded: to the label's, where the teacher is better (Chen 2017)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import logit_rows, mean, places
from conformance.scene import Scene
from mmkd.losses.regression import Loss

CASES = {
    "text": {"task": "stress", "teacher": "bert"},
    "huber": {"task": "stress", "teacher": "vit", "delta": 0.5},
    "bounded": {"task": "stress", "teacher": "bert", "teacher_bounded": True},
    "bounded_huber": {"task": "stress", "teacher": "vit", "delta": 0.5, "teacher_bounded": True, "margin": 0.7},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row."""
    own = loss.config

    def error(a: Tensor, b: Tensor) -> Tensor:
        difference = abs(a - b)
        if own.delta is None or difference <= own.delta:
            return difference**2
        return 2 * own.delta * difference - own.delta**2

    rows = logit_rows(scene, "stress", own.teacher, labelled=own.teacher_bounded)
    pairs = [(student[0], teacher[0].detach()) for student, teacher in rows]
    if not own.teacher_bounded:
        return mean([error(student, teacher) for student, teacher in pairs])
    found = []
    for (student, teacher), place in zip(pairs, places(scene, "stress", own.teacher, labelled=True), strict=True):
        label = scene.batch.labels["stress"][place].double()
        counts = error(student, label) + own.margin > error(teacher, label)
        found.append(error(student, label) if counts else 0 * student)
    return mean(found)
