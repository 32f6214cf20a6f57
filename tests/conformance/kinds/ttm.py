"""KL(p_T || q), times the power sum of the teacher if weighted, mean over rows (2402.11148, sections 3 and 4)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import divergence, logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.ttm import Loss

CASES = {
    "text": {"task": "sentiment", "teacher": "bert"},
    "image": {"task": "risk", "teacher": "vit", "temperature": 0.5},
    "words": {"task": "ner", "teacher": "bert", "temperature": 2.0},
    "weighted": {"task": "risk", "teacher": "bert", "weighted": True},
    "weighted words": {"task": "ner", "teacher": "bert", "temperature": 2.0, "weighted": True},
}
# With a high temperature the gradient tends to q - 1/K, and the weight to K.
STEADY = "temperature"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row, with the teacher's probabilities raised to the power 1/T."""
    own = loss.config
    found = []
    for student, teacher in logit_rows(scene, own.task, own.teacher):
        powers = [p ** (1 / own.temperature) for p in softmax([x.detach() for x in teacher])]
        U = sum(powers)
        value = divergence([power / U for power in powers], softmax(student))
        found.append(U * value if own.weighted else value)
    return mean(found)
