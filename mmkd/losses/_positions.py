"""Hidden layers of the student and of a teacher, position by position: what the terms over hidden layers share.

Positions: words that both tokenizers kept; for images, the teacher's grid of positions (no class token). Where the
grids differ, the student's is brought to the teacher's by adaptive average pooling: the mean over the student's cells
that a teacher's cell covers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from mmkd.config.layers import Layer
from mmkd.config.plugin_base import LayerLossConfig, LayerPairsLossConfig, Modality
from mmkd.losses import base
from mmkd.losses._math import full_precision
from mmkd.types import Hidden, Outputs


@dataclass(frozen=True)
class Positions:
    """One layer of each network, at the same positions. student: [B, N, D]; teacher: [B, N, E], without a gradient.

    keep: [B, N], the positions that both have. grid: rows and columns of an image's positions.
    """

    student: Tensor
    teacher: Tensor
    keep: Tensor
    grid: tuple[int, int] | None

    def rows(self) -> tuple[Tensor, Tensor]:
        """The features of both at each position that is kept: [R, D] and [R, E]."""
        return self.student[self.keep], self.teacher[self.keep]

    def examples(self) -> Positions:
        """Only the examples of which a position is kept."""
        some = self.keep.any(1)
        return Positions(self.student[some], self.teacher[some], self.keep[some], self.grid)

    def blanked(self) -> Positions:
        """0 at every position that is not kept, whatever stands there."""
        return Positions(blanked(self.student, self.keep), blanked(self.teacher, self.keep), self.keep, self.grid)


def positions(student: Outputs, teacher: Outputs, modality: Modality, student_layer: Layer, layer: Layer) -> Positions:
    """A layer of each network, at the same positions, in at least float32.

    Raises ValueError when positions differ in number and have no grid.
    """
    target = teacher.hidden[modality][layer]
    own = aligned(student.hidden[modality][student_layer], target)
    examples = student.has[modality] & teacher.has[modality]
    keep = own.mask & target.mask & examples[:, None]
    return Positions(full_precision(own.values), full_precision(target.values.detach()), keep, target.grid)


def aligned(layer: Hidden, target: Hidden) -> Hidden:
    """A layer's positions (the student's), resampled to the grid of another (the teacher's) where the grids differ.

    Raises ValueError when positions differ in number and have no grid.
    """
    if layer.grid == target.grid and layer.mask.shape == target.mask.shape:
        return layer
    if layer.grid is None or target.grid is None:
        raise ValueError(
            f"hidden layers: the student has {layer.mask.shape[1]} positions, the teacher {target.mask.shape[1]}; "
            "expected as many, or positions on a grid, which can be resampled: take another layer"
        )
    batch, _, width = layer.values.shape
    grid = full_precision(layer.values).transpose(1, 2).reshape(batch, width, *layer.grid)
    values = functional.adaptive_avg_pool2d(grid, target.grid).flatten(2).transpose(1, 2)
    complete = layer.mask.all(1, keepdim=True)  # a mean over cells that are not there says nothing
    return Hidden(values, complete.expand(-1, values.shape[1]), target.grid)


def blanked(values: Float[Tensor, "B N D"], keep: Bool[Tensor, "B N"]) -> Float[Tensor, "B N D"]:
    """0 at every position that is not kept, whatever stands there."""
    return values.masked_fill(~keep[..., None], 0.0)


def mean_over_positions(values: Float[Tensor, "B N D"], keep: Bool[Tensor, "B N"]) -> Float[Tensor, "B D"]:
    """Mean over the kept positions of each example; 0 where none is kept."""
    return blanked(values, keep).sum(1) / keep.sum(1, keepdim=True).clamp(min=1)


class LayerLoss(base.Loss):
    """A term between one hidden layer of the student and one of a teacher."""

    config: LayerLossConfig

    def __init__(self, config: LayerLossConfig, setting: base.Setting) -> None:
        """Find the student's layer and the widths of both."""
        super().__init__(config, setting)
        modality = config.modality
        last = setting.student.depth[modality] - 1
        self.student_layer: Layer = last if config.student_layer is None else config.student_layer
        self.width = setting.student.hidden[modality][self.student_layer]
        self.teacher_width = setting.teachers[config.teacher].hidden[modality][config.layer]

    def positions(self, student: Outputs, teachers: Mapping[str, Outputs]) -> Positions:
        """Both layers, at the same positions. Raises ValueError when positions differ in number and have no grid."""
        config = self.config
        return positions(student, teachers[config.teacher], config.modality, self.student_layer, config.layer)


class LayerPairsLoss(base.Loss):
    """A term over pairs of hidden layers of the student and of a teacher."""

    config: LayerPairsLossConfig

    def __init__(self, config: LayerPairsLossConfig, setting: base.Setting) -> None:
        """Find the widths of each pair: the student's, the teacher's."""
        super().__init__(config, setting)
        student = setting.student.hidden[config.modality]
        teacher = setting.teachers[config.teacher].hidden[config.modality]
        self.widths = [(student[own], teacher[layer]) for own, layer in config.pairs]

    def positions(self, student: Outputs, teachers: Mapping[str, Outputs]) -> list[Positions]:
        """Each pair at the same positions. Raises ValueError when positions differ in number and have no grid."""
        teacher, modality = teachers[self.config.teacher], self.config.modality
        return [positions(student, teacher, modality, own, layer) for own, layer in self.config.pairs]
