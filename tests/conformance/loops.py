"""Rows of a scene as lists of scalars, and small formulas over them, for loops that are written from a paper.

Scalars are tensors without dimensions, so that a loop's own gradient is compared too. Nothing here is vectorised, and
nothing is shared with the package: masks are read place by place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from conformance.scene import Scene
from mmkd.config.layers import Layer

Row = list[Tensor]


def scalars(vector: Tensor) -> Row:
    """The numbers of a vector."""
    return [vector[n] for n in range(len(vector))]


def logit_rows(scene: Scene, task: str, *teachers: str, labelled: bool = False) -> list[tuple[Row, ...]]:
    """The student's and each teacher's logits of every row on which all of them speak; labelled: and with a label."""
    networks = [scene.student, *(scene.teachers[name] for name in teachers)]
    chosen = places(scene, task, *teachers, labelled=labelled)
    return [tuple(scalars(network.logits[task][place]) for network in networks) for place in chosen]


def labels(scene: Scene, task: str, *teachers: str) -> list[int]:
    """The class of each labelled row on which all speak, in the order of `logit_rows(..., labelled=True)`."""
    return [int(scene.batch.labels[task][place]) for place in places(scene, task, *teachers, labelled=True)]


def places(scene: Scene, task: str, *teachers: str, labelled: bool = False) -> list[tuple[int, ...]]:
    """Where the student and the teachers speak: (example,), or (example, word) of a task over words."""
    networks = [scene.student, *(scene.teachers[name] for name in teachers)]
    over_words = scene.setting.tasks[task].level == "word"
    found: list[tuple[int, ...]] = []
    for example in range(len(scene.batch.ids)):
        if labelled and not scene.batch.has_label[task][example]:
            continue
        if not over_words:
            if all(network.speaks[example] for network in networks):
                found.append((example,))
            continue
        found += [
            (example, word)
            for word in range(scene.batch.word_mask.shape[1])
            if scene.batch.word_mask[example, word] and all(network.words[example, word] for network in networks)
        ]
    return found


def examples_with(scene: Scene, *asked: tuple[str, str]) -> list[int]:
    """Examples that each (network, modality) has; the network is `student` or a teacher."""
    networks = {"student": scene.student, **scene.teachers}
    return [
        example
        for example in range(len(scene.batch.ids))
        if all(networks[name].has[modality][example] for name, modality in asked)
    ]


def pooled_rows(scene: Scene, *asked: tuple[str, str]) -> list[tuple[Row, ...]]:
    """The pooled features of each (network, modality), of every example that has them all."""
    networks = {"student": scene.student, **scene.teachers}
    return [
        tuple(scalars(networks[name].pooled[modality][example]) for name, modality in asked)
        for example in examples_with(scene, *asked)
    ]


def hidden_rows(scene: Scene, teacher: str, layer: int, modality: str, student_layer: int) -> list[tuple[Row, Row]]:
    """The student's and the teacher's features at each position that both have; for text, where positions are words."""
    own, target = scene.student.hidden[modality][student_layer], scene.teachers[teacher].hidden[modality][layer]
    return [
        (scalars(own.values[example, place]), scalars(target.values[example, place]))
        for example in examples_with(scene, ("student", modality), (teacher, modality))
        for place in range(own.mask.shape[1])
        if own.mask[example, place] and target.mask[example, place]
    ]


def linear(layer: torch.nn.Linear, row: Row) -> Row:
    """A linear layer's output of one row."""
    bias = layer.bias if layer.bias is not None else torch.zeros(layer.out_features, dtype=layer.weight.dtype)
    return [
        sum((layer.weight[out, n] * row[n] for n in range(len(row))), bias[out]) for out in range(layer.out_features)
    ]


def softmax(row: Sequence[Tensor], temperature: float = 1.0) -> Row:
    """Probabilities of logits."""
    weights = [torch.exp(value / temperature) for value in row]
    return [weight / sum(weights) for weight in weights]


def divergence(p: Sequence[Tensor], q: Sequence[Tensor]) -> Tensor:
    """KL(p || q) of probabilities above 0, in nats."""
    return sum((a * torch.log(a / b) for a, b in zip(p, q, strict=True)), torch.zeros((), dtype=torch.float64))


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Inner product."""
    return sum((x * y for x, y in zip(a, b, strict=True)), torch.zeros((), dtype=torch.float64))


def cosine(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Cosine of two vectors."""
    return dot(a, b) / torch.sqrt(dot(a, a)) / torch.sqrt(dot(b, b))


def mean(values: Sequence[Tensor]) -> Tensor:
    """Mean of scalars."""
    return sum(values, torch.zeros((), dtype=torch.float64)) / len(values)


def kept_positions(
    scene: Scene, teacher: str, modality: str, student_layer: Layer, layer: Layer
) -> dict[int, list[tuple[int, Row, Row]]]:
    """Example -> (place, student's features, teacher's without a gradient), at each position that both have.

    Examples without such a position are left out. Of an image, the student's 4 x 4 cells are first averaged to the
    teacher's 2 x 2, in blocks of four.
    """
    own, target = scene.student.hidden[modality][student_layer], scene.teachers[teacher].hidden[modality][layer]
    found: dict[int, list[tuple[int, Row, Row]]] = {}
    for example in examples_with(scene, ("student", modality), (teacher, modality)):
        for place in range(target.mask.shape[1]):
            if not target.mask[example, place]:
                continue
            if modality == "image":
                i, j = divmod(place, 2)
                cells = [4 * (2 * i + a) + 2 * j + b for a in range(2) for b in range(2)]
                columns = zip(*(scalars(own.values[example, cell]) for cell in cells), strict=True)
                row = [mean(column) for column in columns]
            elif own.mask[example, place]:
                row = scalars(own.values[example, place])
            else:
                continue
            found.setdefault(example, []).append((place, row, scalars(target.values[example, place].detach())))
    return found


def position_rows(
    scene: Scene, teacher: str, modality: str, student_layer: Layer, layer: Layer
) -> list[tuple[Row, Row]]:
    """The student's and the teacher's features of every example, at each position that both have."""
    kept = kept_positions(scene, teacher, modality, student_layer, layer)
    return [(row, target) for rows in kept.values() for _, row, target in rows]


def length_one(row: Sequence[Tensor]) -> Row:
    """A vector over its length."""
    length = torch.sqrt(dot(row, row))
    return [value / length for value in row]


def squared_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Squared Euclidean distance."""
    return sum(((x - y) ** 2 for x, y in zip(a, b, strict=True)), torch.zeros((), dtype=torch.float64))


def feature_pairs(scene: Scene, teacher: str, modality: str, to: str | None = None) -> tuple[list[Row], list[Row]]:
    """Student's and teacher's features of every example that has both; the teacher's without a gradient.

    to: the student's feature, a modality's or `fused`; None: that of the teacher's modality.
    """
    taught, voice = to or modality, scene.teachers[teacher]
    students, targets = [], []
    for example in range(len(scene.batch.ids)):
        there = scene.student.speaks[example] if taught == "fused" else scene.student.has[taught][example]
        if there and voice.has[modality][example]:
            feature = scene.student.fused if taught == "fused" else scene.student.pooled[taught]
            students.append(scalars(feature[example]))
            targets.append(scalars(voice.pooled[modality][example].detach()))
    return students, targets


def exit_rows(
    scene: Scene, task: str, modality: str, layers: Sequence[int], *teachers: str
) -> list[tuple[int, tuple[int, ...], list[Row]]]:
    """(label, place, each layer's features there) of every labelled row of examples of which the student reads it.

    Of a task over examples, a layer's features are the mean over its positions.
    """
    found = []
    for place, label in zip(places(scene, task, *teachers, labelled=True), labels(scene, task, *teachers), strict=True):
        if not scene.student.has[modality][place[0]]:
            continue
        features = []
        for layer in layers:
            hidden = scene.student.hidden[modality][layer]
            if len(place) == 2:
                features.append(scalars(hidden.values[place]))
                continue
            there = [n for n in range(hidden.mask.shape[1]) if hidden.mask[place[0], n]]
            columns = zip(*(scalars(hidden.values[place[0], n]) for n in there), strict=True)
            features.append([mean(column) for column in columns])
        found.append((label, place, features))
    return found
