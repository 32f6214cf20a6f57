"""Squared difference of logits, mean over rows and classes (1312.6184, eq. 1, with a mean for its half sum)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import logit_rows, mean
from conformance.scene import Scene
from mmkd.losses.logit_mse import Loss

CASES = {
    "text": {"task": "sentiment", "teacher": "bert"},
    "image": {"task": "risk", "teacher": "vit"},
    "words": {"task": "ner", "teacher": "bert"},
}
# The suite adds one number to the student's and the teacher's logits of a row; to the student's alone, it counts.
SHIFTS = True


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Logit by logit."""
    rows = logit_rows(scene, loss.config.task, loss.config.teacher)
    return mean([(x - y.detach()) ** 2 for row, target in rows for x, y in zip(row, target, strict=True)])
