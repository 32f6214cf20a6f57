"""Squared distance of the products of a layer's channels within a cell, each row of length 1 (2103.14475)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import kept_positions, length_one, linear, mean, squared_distance
from conformance.scene import Scene
from mmkd.losses.ickd import Loss

CASES = {
    "text": {"teacher": "bert", "layer": 3, "modality": "text"},
    "image": {"teacher": "vit", "layer": 2, "modality": "image", "student_layer": 1},
    "lower": {"teacher": "vit", "layer": 0, "modality": "image", "student_layer": 0},
    "rows": {"teacher": "vit", "layer": 2, "modality": "image", "cells": [2, 1]},
    "columns": {"teacher": "vit", "layer": 0, "modality": "image", "cells": [1, 2]},
    "cells": {"teacher": "clip", "layer": 2, "modality": "image", "student_layer": 0, "cells": [2, 2]},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Example by example, cell by cell, row by row of the matrix; the teacher's grid is 2 x 2."""
    own, (down, across) = loss.config, loss.config.cells
    kept = kept_positions(scene, own.teacher, own.modality, loss.student_layer, own.layer)
    found = []
    for rows in kept.values():
        cells: dict[tuple[int, int], list] = {}
        for place, student, teacher in rows:
            i, j = divmod(place, 2) if own.modality == "image" else (0, 0)
            cell = (i if down == 2 else 0, j if across == 2 else 0)
            cells.setdefault(cell, []).append((linear(loss.projection, student), teacher))
        assert len(cells) == down * across
        for pairs in cells.values():
            channels = range(len(pairs[0][1]))
            for a in channels:
                student = length_one([mean([s[a] * s[b] for s, _ in pairs]) for b in channels])
                teacher = length_one([mean([t[a] * t[b] for _, t in pairs]) for b in channels])
                found.append(squared_distance(student, teacher))
    return mean(found)
