"""T^2 KL of y <= k and y > k, mean over rows and the K - 1 thresholds."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import divergence, logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.ordinal import Loss

CASES = {
    "text": {"task": "risk", "teacher": "bert"},
    "image": {"task": "risk", "teacher": "vit", "temperature": 3.0},
}
STEADY = "temperature"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Threshold by threshold."""
    own, T = loss.config, loss.config.temperature
    found = []
    for student, teacher in logit_rows(scene, own.task, own.teacher):
        q, p = softmax(student, T), softmax([x.detach() for x in teacher], T)
        for k in range(len(q) - 1):
            below_q, below_p = sum(q[: k + 1]), sum(p[: k + 1])
            found.append(T**2 * divergence([below_p, 1 - below_p], [below_q, 1 - below_q]))
    return mean(found)
