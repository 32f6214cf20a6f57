"""KL within each network and its proxy; between the proxies, without the label, where both rank alike (CVPR 2024)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import Row, divergence, mean, scalars, softmax
from conformance.scene import Scene
from mmkd.losses.c2kd import Loss

CASES = {
    "none alike": {"task": "sentiment", "teacher": "vit", "modality": "image", "to": "text", "threshold": 0.9},
    "some alike": {"task": "risk", "teacher": "bert", "modality": "text", "to": "fused"},
    "all alike": {"task": "sentiment", "teacher": "clip", "modality": "text", "to": "image", "threshold": -1.0},
}
STEADY = "temperature"
NOT_A_GRADIENT = "each side takes the other's probabilities as they are, so the value's own gradient is larger"
SHIFTS = None  # reads features beside the logits


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Example by example."""
    own, T = loss.config, loss.config.temperature
    student, teacher = scene.student, scene.teachers[own.teacher]
    within, across, left_out = [], [], 0
    for n in range(len(scene.batch.ids)):
        there = student.speaks[n] if own.to == "fused" else student.has[own.to][n]
        if not (there and teacher.has[own.modality][n] and scene.batch.has_label[own.task][n]):
            continue
        feature = student.fused[n] if own.to == "fused" else student.pooled[own.to][n]
        mine = scalars(loss.student(feature))
        theirs = scalars(loss.teacher(teacher.pooled[own.modality][n].detach()))
        s, t = (softmax(scalars(network.logits[own.task][n]), T) for network in (student, teacher))
        mine_q, theirs_q = softmax(mine, T), softmax(theirs, T)
        pairs = ((t, theirs_q), (s, mine_q), (mine_q, s))
        within.append(T**2 * sum(divergence(fixed(p), q) for p, q in pairs))
        if kendall(mine, theirs) <= own.threshold:
            left_out += 1
            continue
        label = int(scene.batch.labels[own.task][n])
        mine_q, theirs_q = (others(row, label) for row in (mine_q, theirs_q))
        across.append(T**2 * (divergence(fixed(theirs_q), mine_q) + divergence(fixed(mine_q), theirs_q)))
    assert (bool(across), bool(left_out)) == {"text": (False, True), "fused": (True, True), "image": (True, False)}[
        own.to
    ]
    return mean(within) + (mean(across) if across else 0)


def fixed(row: Row) -> Row:
    return [value.detach() for value in row]


def others(row: Row, label: int) -> Row:
    """The probabilities of the other classes, over their sum."""
    rest = [row[k] for k in range(len(row)) if k != label]
    return [value / sum(rest) for value in rest]


def kendall(one: Row, other: Row) -> float:
    """Concordant less discordant pairs, over all pairs."""
    pairs = [(i, j) for i in range(len(one)) for j in range(i)]
    agree = [((one[i] - one[j]) * (other[i] - other[j])).item() for i, j in pairs]
    return (sum(value > 0 for value in agree) - sum(value < 0 for value in agree)) / len(pairs)
