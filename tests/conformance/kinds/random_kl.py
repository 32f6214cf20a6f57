"""T^2 KL(teacher || student) of one teacher, which a number in [0, 1) draws by the teachers' weights."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import divergence, logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.random_kl import Loss

CASES = {
    "even": {"task": "sentiment", "teachers": {"bert": 1.0, "vit": 1.0}},
    "uneven": {"task": "risk", "teachers": {"clip": 0.1, "vit": 5.0, "bert": 0.4}, "temperature": 2.0},
    "words": {"task": "ner", "teachers": {"bert": 0.1, "clip": 3.0}, "temperature": 1.0},
}
RANDOM = True
STEADY = "temperature"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row, of the teacher whose share of the line from 0 to 1 the number lies in. All speak in the scene."""
    own, T = loss.config, loss.config.temperature
    torch.manual_seed(3)  # as the suite has it when the value is asked for: the term draws no parameters
    number, ends, end = float(torch.rand(())), {}, 0.0
    for name, weight in own.teachers.items():
        end += weight / sum(own.teachers.values())
        ends[name] = end
    rows = logit_rows(scene, own.task, next(name for name, end in ends.items() if number < end))
    return mean([T**2 * divergence(softmax([x.detach() for x in t], T), softmax(s, T)) for s, t in rows])
