"""A vision teacher: any timm model, with a linear head for each of its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import nn

from mmkd.config.encoders import ImageEncoder as ImageEncoderConfig
from mmkd.config.layers import Layer, Layers
from mmkd.config.plugin_base import Finetune, Modality, TeacherConfig
from mmkd.data.corpus import Readers
from mmkd.data.pixels import ImageReader
from mmkd.encoders.image import ImageEncoder
from mmkd.heads import TaughtHead, apply_heads, heads, taught_heads
from mmkd.tasks.base import Task
from mmkd.teachers.base import Teacher as Base
from mmkd.teachers.base import Texts
from mmkd.types import Batch, Outputs, OutputShape


class Config(ImageEncoderConfig, TeacherConfig):
    """layers: to keep, as `mmkd.config.layers` names them.

    dropout: before the heads, while the teacher is fine-tuned.
    """

    own_heads: ClassVar[bool] = True

    kind: Literal["timm"] = "timm"
    layers: Layers = ()
    finetune: Finetune = Finetune()
    dropout: float = 0.1

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Images."""
        return ("image",)

    @property
    def training(self) -> Finetune:
        """Its new heads, and the encoder with them."""
        return self.finetune

    def layers_of(self, modality: Modality) -> tuple[Layer, ...]:
        """timm's intermediates and what is inside them, by position of the image."""
        return self.layers if modality == "image" else ()


class Teacher(Base):
    """Reads the image; says nothing about an example without one, and nothing about words."""

    config: Config

    @classmethod
    def readers_of(cls, config: Config, name: str, texts: Texts, folder: Path) -> Readers:
        """Pixels of its own size."""
        return Readers({}, {name: ImageReader(config.size)})

    def __init__(self, config: Config, name: str, tasks: Mapping[str, Task], readers: Readers) -> None:
        """Build the encoder and its heads.

        Raises ValueError for a model that timm does not know, or a layer that the model does not have.
        """
        super().__init__(config, name, tasks, readers)
        self.encoder = ImageEncoder(config, config.layers)
        self.dropout = nn.Dropout(config.dropout)
        self.heads = heads(tasks, self.encoder.width)
        self.shape = OutputShape(
            {"image": self.encoder.width},
            {"image": {layer: self.encoder.width_of(layer) for layer in config.layers}},
            {"image": self.encoder.depth},
            heads={"image": self.encoder.heads},
        )

    def forward(self, batch: Batch) -> Outputs:
        """Logits, the pooled feature before the head, and the layers kept, by position of the image."""
        encoded = self.encoder(batch.images[self.name], batch.has_image)
        logits = apply_heads(self.heads, self.tasks, self.dropout(encoded.pooled), None)
        hidden = {layer: encoded.hidden[layer] for layer in self.config.layers}
        return Outputs(
            logits,
            batch.has_image,
            torch.zeros_like(batch.word_mask),
            {"image": encoded.pooled},
            {"image": batch.has_image},
            {"image": hidden},
        )

    def taught_heads(self) -> dict[str, TaughtHead]:
        """On the pooled image."""
        return taught_heads(self.heads, self.tasks, self.shape, ("image",))
