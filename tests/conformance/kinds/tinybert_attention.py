"""Mean squared error of attention scores, head by head, summed over pairs of blocks (1909.10351, eq. 7)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from conformance.loops import Row, dot, kept_positions, mean
from conformance.scene import HEADS, Scene
from mmkd.losses.tinybert_attention import Loss

CASES = {
    "text": {"teacher": "bert", "modality": "text", "pairs": [[0, 1], [1, 3]]},
    "one_pair": {"teacher": "bert", "modality": "text", "pairs": [[1, 1]]},
    "image": {"teacher": "vit", "modality": "image", "pairs": [[1, 2]]},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Block by block, head by head, word by word."""
    own, total = loss.config, torch.zeros((), dtype=torch.float64)
    for student_block, block in own.pairs:
        rows = {
            part: kept_positions(scene, own.teacher, own.modality, f"{student_block}.{part}", f"{block}.{part}")
            for part in ("query", "key")
        }
        errors = []
        for example, queries in rows["query"].items():
            keys = rows["key"][example]
            for head in range(HEADS):
                errors += [
                    (score(query, key, head) - score(taught_query, taught_key, head)) ** 2
                    for _, query, taught_query in queries
                    for _, key, taught_key in keys
                ]
        total = total + mean(errors)
    return total


def score(query: Row, key: Row, head: int) -> Tensor:
    width = len(query) // HEADS
    own = slice(head * width, (head + 1) * width)
    return dot(query[own], key[own]) / math.sqrt(width)
