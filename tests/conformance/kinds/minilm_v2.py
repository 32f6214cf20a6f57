"""KL of relations among queries, keys and values, cut into relation heads (2012.15828)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from conformance.loops import Row, divergence, dot, kept_positions, mean, softmax
from conformance.scene import Scene
from mmkd.losses.minilm_v2 import Loss

CASES = {
    "text": {"teacher": "bert", "modality": "text", "pairs": [[1, 3]], "relation_heads": 4},  # of 1 and of 2 numbers
    "two_pairs": {"teacher": "bert", "modality": "text", "pairs": [[0, 1], [1, 3]], "relation_heads": 1},
    "image": {"teacher": "vit", "modality": "image", "pairs": [[1, 2]], "relation_heads": 2},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Block by block, part by part, relation head by relation head, position by position."""
    own, total = loss.config, torch.zeros((), dtype=torch.float64)
    for student_block, block in own.pairs:
        for part in ("query", "key", "value"):
            names = (f"{student_block}.{part}", f"{block}.{part}")
            divergences = []
            for rows in kept_positions(scene, own.teacher, own.modality, *names).values():
                for head in range(own.relation_heads):
                    student = [cut(row, head, own.relation_heads) for _, row, _ in rows]
                    teacher = [cut(row, head, own.relation_heads) for _, _, row in rows]
                    divergences += [
                        divergence(relation(teacher, place), relation(student, place)) for place in range(len(rows))
                    ]
            total = total + mean(divergences)
    return total


def cut(row: Row, head: int, heads: int) -> Row:
    width = len(row) // heads
    return row[head * width : (head + 1) * width]


def relation(rows: list[Row], place: int) -> Row:
    return softmax([dot(rows[place], other) / math.sqrt(len(other)) for other in rows])
