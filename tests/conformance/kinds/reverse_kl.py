"""T^2 KL(student || teacher), mean over rows (2306.13649, section 2)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import divergence, logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.reverse_kl import Loss

CASES = {
    "text": {"task": "sentiment", "teacher": "bert"},
    "image": {"task": "risk", "teacher": "vit", "temperature": 4.0},
    "words": {"task": "ner", "teacher": "bert", "temperature": 2.0},
}
STEADY = "temperature"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row."""
    T = loss.config.temperature
    rows = logit_rows(scene, loss.config.task, loss.config.teacher)
    return mean([T**2 * divergence(softmax(own, T), softmax([x.detach() for x in other], T)) for own, other in rows])
