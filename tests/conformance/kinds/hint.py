"""Mean squared error per element of projected features (1412.6550, eq. 3, with a mean for its half sum)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import examples_with, hidden_rows, linear, mean, scalars
from conformance.scene import Scene
from mmkd.losses.hint import Loss

CASES = {
    "text": {"teacher": "bert", "layer": 3, "modality": "text"},
    "image": {"teacher": "vit", "layer": 2, "modality": "image", "student_layer": 1},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Position by position; of an image, the student's 4 x 4 grid is averaged to the teacher's 2 x 2 first."""
    own = loss.config
    if own.modality == "text":
        rows = hidden_rows(scene, own.teacher, own.layer, "text", loss.student_layer)
    else:
        rows = []
        student, teacher = scene.student.hidden["image"][1], scene.teachers[own.teacher].hidden["image"][own.layer]
        for example in examples_with(scene, ("student", "image"), (own.teacher, "image")):
            for i in range(2):
                for j in range(2):
                    cells = [4 * (2 * i + a) + 2 * j + b for a in range(2) for b in range(2)]
                    columns = zip(*(scalars(student.values[example, cell]) for cell in cells), strict=True)
                    rows.append(([mean(column) for column in columns], scalars(teacher.values[example, 2 * i + j])))
    errors = [
        (x - y.detach()) ** 2 for row, target in rows for x, y in zip(linear(loss.projection, row), target, strict=True)
    ]
    return mean(errors)
