"""A text teacher: any transformers encoder (BERT first), with a linear head for each of its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import nn

from mmkd.config.encoders import TextEncoder as TextEncoderConfig
from mmkd.config.plugin_base import Modality, TeacherConfig
from mmkd.data.corpus import Readers
from mmkd.encoders.text import TextEncoder
from mmkd.tasks.base import Task
from mmkd.teachers.base import Teacher as Base
from mmkd.teachers.base import apply_heads, heads
from mmkd.types import Batch, Outputs, OutputShape


class Config(TextEncoderConfig, TeacherConfig):
    """dropout: before the heads, while the teacher is fine-tuned."""

    kind: Literal["hf_text"] = "hf_text"
    modality: ClassVar[Modality] = "text"
    dropout: float = 0.1


class Teacher(Base):
    """Reads the text; says nothing about an example without text."""

    def __init__(self, config: Config, name: str, tasks: Mapping[str, Task], readers: Readers) -> None:
        """Build the encoder and its heads.

        Raises ValueError for a layer that the model does not have.
        """
        super().__init__(config, name, tasks, readers)
        self.encoder = TextEncoder(config, readers.text[name], config.layers)
        self.dropout = nn.Dropout(config.dropout)
        self.heads = heads(tasks, self.encoder.width)
        width = self.encoder.width
        self.shape = OutputShape(
            {"text": width}, {"text": dict.fromkeys(config.layers, width)}, {"text": self.encoder.depth}
        )

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
