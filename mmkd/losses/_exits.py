"""Exits: heads of a term's own on hidden layers of the student, from which each predicts a task.

An exit of a task over examples reads the mean over the layer's positions; one of a task over words, each word.
"""

from __future__ import annotations

from torch import Tensor, nn

from mmkd.losses import base
from mmkd.losses._exits_config import ExitsConfig
from mmkd.losses._math import full_precision
from mmkd.losses._positions import mean_over_positions
from mmkd.types import Outputs


class ExitsLoss(base.Loss):
    """A term with a head for its task on each of some layers of the student."""

    config: ExitsConfig

    def __init__(self, config: ExitsConfig, setting: base.Setting) -> None:
        """Build the heads. Raises ValueError for a task over words and layers of images."""
        super().__init__(config, setting)
        self.task = setting.tasks[config.task]
        if self.task.level == "word" and config.modality != "text":
            found = f"`{config.task}` is over words, and the layers are of {config.modality}"
            raise ValueError(f"{config.kind}: {found}; expected layers of text, or a task over examples")
        widths = setting.student.hidden[config.modality]
        self.exits = nn.ModuleList(self.task.head(widths[layer]) for layer in config.layers)

    def read(self, student: Outputs, rows: Tensor) -> Tensor:
        """Those of the rows, [B] or [B, W], of whose example the student reads the modality of the layers."""
        has = student.has[self.config.modality]
        return rows & (has if self.task.level == "example" else has[:, None])

    def exit_logits(self, student: Outputs, rows: Tensor) -> list[Tensor]:
        """Each exit's logits [R, K] of the rows, which must be read."""
        found = []
        for layer, head in zip(self.config.layers, self.exits, strict=True):
            hidden = student.hidden[self.config.modality][layer]
            values = full_precision(hidden.values[rows])
            found.append(head(values if self.task.level == "word" else mean_over_positions(values, hidden.mask[rows])))
        return found
