"""T^2 (beta KL(p || m) + (1 - beta) KL(q || m)), m = beta p + (1 - beta) q, mean over rows (2306.13649, eq. 1)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import divergence, logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.jsd import Loss

CASES = {
    "text": {"task": "sentiment", "teacher": "bert"},
    "image": {"task": "risk", "teacher": "vit", "beta": 0.1, "temperature": 4.0},
    "words": {"task": "ner", "teacher": "bert", "beta": 0.9, "temperature": 2.0},
}
STEADY = "temperature"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row."""
    own, T = loss.config, loss.config.temperature
    found = []
    for student, teacher in logit_rows(scene, own.task, own.teacher):
        q, p = softmax(student, T), softmax([x.detach() for x in teacher], T)
        mixture = [own.beta * a + (1 - own.beta) * b for a, b in zip(p, q, strict=True)]
        found.append(T**2 * (own.beta * divergence(p, mixture) + (1 - own.beta) * divergence(q, mixture)))
    return mean(found)
