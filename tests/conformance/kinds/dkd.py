"""T^2 (alpha TCKD + beta NCKD), mean over rows (2203.08679, section 3)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import divergence, labels, logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.dkd import Loss

CASES = {
    "text": {"task": "sentiment", "teacher": "bert"},
    "image": {"task": "risk", "teacher": "vit", "temperature": 1.0, "alpha": 0.5, "beta": 2.0},
    "words": {"task": "ner", "teacher": "bert", "temperature": 2.0},
}
STEADY = "temperature"
COEFFICIENTS = ("alpha", "beta")


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row, with probabilities divided by their sum."""
    own, T = loss.config, loss.config.temperature
    rows = logit_rows(scene, own.task, own.teacher, labelled=True)
    found = []
    for (student, teacher), label in zip(rows, labels(scene, own.task, own.teacher), strict=True):
        q, p = softmax(student, T), softmax([x.detach() for x in teacher], T)
        rest_q, rest_p = 1 - q[label], 1 - p[label]
        target = divergence([p[label], rest_p], [q[label], rest_q])
        others = [k for k in range(len(q)) if k != label]
        non_target = divergence([p[k] / rest_p for k in others], [q[k] / rest_q for k in others])
        found.append(T**2 * (own.alpha * target + own.beta * non_target))
    return mean(found)
