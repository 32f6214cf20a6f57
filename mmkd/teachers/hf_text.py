"""A text teacher: any transformers encoder (BERT first), with a linear head for each of its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from torch import nn

from mmkd.config.encoders import TextEncoder as TextEncoderConfig
from mmkd.config.layers import Layer, Layers
from mmkd.config.plugin_base import Finetune, Modality, TeacherConfig
from mmkd.data.corpus import Readers
from mmkd.data.tokens import text_reader
from mmkd.encoders.text import TextEncoder
from mmkd.heads import TaughtHead, apply_heads, heads, taught_heads
from mmkd.tasks.base import Task
from mmkd.teachers.base import Teacher as Base
from mmkd.teachers.base import Texts
from mmkd.types import Batch, Outputs, OutputShape


class Config(TextEncoderConfig, TeacherConfig):
    """layers: to keep, as `mmkd.config.layers` names them.

    dropout: before the heads, while the teacher is fine-tuned.
    """

    own_heads: ClassVar[bool] = True

    kind: Literal["hf_text"] = "hf_text"
    layers: Layers = ()
    finetune: Finetune = Finetune()
    dropout: float = 0.1

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Text."""
        return ("text",)

    @property
    def training(self) -> Finetune:
        """Its new heads, and the encoder with them."""
        return self.finetune

    def layers_of(self, modality: Modality) -> tuple[Layer, ...]:
        """Blocks and what is inside them, by word."""
        return self.layers if modality == "text" else ()


class Teacher(Base):
    """Reads the text; says nothing about an example without text."""

    config: Config

    @classmethod
    def readers_of(cls, config: Config, name: str, texts: Texts, folder: Path) -> Readers:
        """Its own tokenizer."""
        return Readers({name: text_reader(config, texts() if config.model is None else (), folder)}, {})

    def __init__(self, config: Config, name: str, tasks: Mapping[str, Task], readers: Readers) -> None:
        """Build the encoder and its heads.

        Raises ValueError for a layer that the model does not have.
        """
        super().__init__(config, name, tasks, readers)
        self.encoder = TextEncoder(config, readers.text[name], config.layers)
        self.dropout = nn.Dropout(config.dropout)
        self.heads = heads(tasks, self.encoder.width)
        width = self.encoder.width
        hidden = {layer: self.encoder.width_of(layer) for layer in config.layers}
        depth, of_attention = {"text": self.encoder.depth}, {"text": self.encoder.heads}
        self.shape = OutputShape({"text": width}, {"text": hidden}, depth, heads=of_attention)

    def forward(self, batch: Batch) -> Outputs:
        """Logits, the mean of the last layer's sub-tokens as pooled feature, and the layers kept, by word."""
        encoded = self.encoder(batch.tokens[self.name], batch.word_mask.shape[1])
        last = encoded.hidden[self.encoder.depth - 1]
        logits = apply_heads(self.heads, self.tasks, self.dropout(encoded.pooled), self.dropout(last.values))
        words = last.mask & batch.word_mask & batch.has_text[:, None]
        hidden = {layer: encoded.hidden[layer] for layer in self.config.layers}
        return Outputs(
            logits, batch.has_text, words, {"text": encoded.pooled}, {"text": batch.has_text}, {"text": hidden}
        )

    def taught_heads(self) -> dict[str, TaughtHead]:
        """On the pooled text."""
        return taught_heads(self.heads, self.tasks, self.shape, ("text",))
