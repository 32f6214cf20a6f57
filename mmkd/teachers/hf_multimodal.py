"""A teacher of texts and images in one space: CLIP (2103.00020), SigLIP (2303.15343) and their kin of transformers.

Any model with `get_text_features`, `get_image_features`, a text tower and a vision tower. A task over examples has a
linear head on both features side by side, zeros standing for one that an example lacks; a task over words has one on
the text tower's last layer, pooled to words. CLIP's text tower is causal: a word there knows what stands before it.
SigLIP takes the text's feature from the last position, padding included, so its texts are padded to their full length
and not masked, as it was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mmkd.config.encoders import Channels, TextEncoder
from mmkd.config.layers import Layer
from mmkd.config.local import local_path
from mmkd.config.plugin_base import Finetune, Modality, TeacherConfig
from mmkd.config.section import Integers
from mmkd.data.corpus import Readers
from mmkd.data.pixels import ImageReader
from mmkd.data.tokens import TextReader, text_reader
from mmkd.encoders.text import to_words, word_weights
from mmkd.heads import TaughtHead, apply_heads, heads, side_by_side, taught_heads
from mmkd.pretrained import pretrained_config, pretrained_model
from mmkd.tasks.base import Task
from mmkd.teachers.base import Teacher as Base
from mmkd.teachers.base import Texts
from mmkd.types import Batch, Hidden, Outputs, OutputShape, Tokens


class Config(TextEncoder, TeacherConfig):
    """A pretrained model (`model`), or one from config (`architecture`: `text_config`, `vision_config` ...).

    mean, std: per-channel normalisation of pixels in 0..1; default: those of the model's own processor.
    layers: hidden layers to keep, by modality. dropout: before the heads, while the teacher is fine-tuned.
    """

    own_heads: ClassVar[bool] = True

    kind: Literal["hf_multimodal"] = "hf_multimodal"
    mean: Channels | None = None
    std: Channels | None = None
    layers: dict[Modality, Integers] = {}
    finetune: Finetune = Finetune()
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _normalisation_is_known(self) -> Self:
        if self.architecture is not None and (self.mean is None or self.std is None):
            raise ValueError("a model from `architecture` has no processor; expected `mean` and `std`")
        return self

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Both."""
        return ("text", "image")

    @property
    def training(self) -> Finetune:
        """Its new heads, and both towers with them."""
        return self.finetune

    def layers_of(self, modality: Modality) -> tuple[int, ...]:
        """Blocks of that modality's tower: by word, or by position of the image."""
        return self.layers.get(modality, ())


class Teacher(Base):
    """Reads the text, the image or both; says nothing about an example without either."""

    config: Config
    mean: Tensor
    std: Tensor

    def __init__(self, config: Config, name: str, tasks: Mapping[str, Task], readers: Readers) -> None:
        """Build both towers and the heads.

        Raises ValueError for a layer that a tower does not have, texts longer than it can read, and a model that is
        none of texts and images.
        """
        super().__init__(config, name, tasks, readers)
        reader = readers.text[name]
        self.model = _model(config, reader)
        towers = {"text": self.model.config.text_config, "image": self.model.config.vision_config}
        depth = {modality: int(tower.num_hidden_layers) for modality, tower in towers.items()}
        for modality, layers in config.layers.items():
            if absent := [layer for layer in layers if not 0 <= layer < depth[modality]]:
                raise ValueError(f"layers.{modality} {absent}: this tower has the layers 0 to {depth[modality] - 1}")
        positions = getattr(towers["text"], "max_position_embeddings", None)
        if positions is not None and config.max_tokens > positions:
            raise ValueError(f"max_tokens: found {config.max_tokens}; this model reads at most {positions}")
        self.fixed_length = positions if self.model.config.model_type.startswith("siglip") else None
        for key, values in zip(("mean", "std"), _normalisation(config), strict=True):
            self.register_buffer(key, torch.tensor(values).view(3, 1, 1), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        width = self._text_width(reader)
        self.heads = heads(tasks, 2 * width, int(towers["text"].hidden_size))
        hidden: dict[str, dict[Layer, int]] = {
            m: dict.fromkeys(config.layers_of(m), int(towers[m].hidden_size)) for m in config.modalities
        }
        self.shape = OutputShape({"text": width, "image": width}, {m: hidden[m] for m in config.modalities}, depth)

    @classmethod
    def readers_of(cls, config: Config, name: str, texts: Texts, folder: Path) -> Readers:
        """Its own tokenizer, and pixels of the size that its vision tower reads."""
        reader = text_reader(config, texts() if config.model is None else (), folder)
        return Readers({name: reader}, {name: ImageReader(int(_settings(config, reader).vision_config.image_size))})

    def forward(self, batch: Batch) -> Outputs:
        """Logits, the feature of each modality in the shared space, and the layers kept."""
        tokens = batch.tokens[self.name]
        if self.fixed_length is not None:
            tokens = _padded(tokens, self.fixed_length, self.readers.text[self.name].padding)
        mask = tokens.mask.long() if self.fixed_length is None else None
        texts = self.model.get_text_features(input_ids=tokens.ids, attention_mask=mask, output_hidden_states=True)
        weights, kept = word_weights(tokens.word, batch.word_mask.shape[1], self.config.pooling)
        text = texts.pooler_output
        image, layers, grid = self._images(batch)
        there = {"text": batch.has_text, "image": batch.has_image}
        pooled = {"text": text, "image": image}
        example = side_by_side(pooled, there, self.config.modalities)
        last = to_words(weights, texts.last_hidden_state)
        logits = apply_heads(self.heads, self.tasks, self.dropout(example), self.dropout(last))
        hidden: dict[str, dict[Layer, Hidden]] = {
            "text": {
                n: Hidden(to_words(weights, texts.hidden_states[n + 1]), kept) for n in self.config.layers_of("text")
            },
            "image": {
                n: Hidden(values, batch.has_image[:, None].expand(values.shape[:2]), grid)
                for n, values in layers.items()
            },
        }
        words = kept & batch.word_mask & batch.has_text[:, None]
        return Outputs(logits, batch.has_text | batch.has_image, words, pooled, there, hidden)

    def taught_heads(self) -> dict[str, TaughtHead]:
        """On both features side by side."""
        return taught_heads(self.heads, self.tasks, self.shape, self.config.modalities)

    def _images(self, batch: Batch) -> tuple[Tensor, dict[int, Tensor], tuple[int, int]]:
        """The feature [B, D], and of each layer kept the patches [B, N, D], with their grid; zeros without an image."""
        pixels = (batch.images[self.name].float() / 255 - self.mean) / self.std
        said = self.model.get_image_features(pixel_values=pixels, output_hidden_states=True)
        vision = self.model.config.vision_config
        side = int(vision.image_size) // int(vision.patch_size)
        absent = ~batch.has_image
        layers = {
            # a class token, where there is one, stands before the patches
            n: said.hidden_states[n + 1][:, -side * side :].masked_fill(absent[:, None, None], 0.0)
            for n in self.config.layers_of("image")
        }
        return said.pooler_output.masked_fill(absent[:, None], 0.0), layers, (side, side)

    @torch.no_grad()
    def _text_width(self, reader: TextReader) -> int:
        training = self.model.training
        self.model.eval()
        ids = torch.tensor([[reader.padding]])
        width = self.model.get_text_features(input_ids=ids).pooler_output.shape[1]
        self.model.train(training)
        return int(width)


def _padded(tokens: Tokens, length: int, padding: int) -> Tokens:
    more = (0, length - tokens.ids.shape[1])
    ids, word = nn.functional.pad(tokens.ids, more, value=padding), nn.functional.pad(tokens.word, more, value=-1)
    return Tokens(ids, nn.functional.pad(tokens.mask, more), word)


def _settings(config: Config, reader: TextReader) -> Any:
    """The transformers config of the whole model."""
    from transformers import AutoConfig

    if config.model is not None:
        found: Any = pretrained_config(config)
    else:
        assert config.architecture is not None  # checked by the config
        tokenizer = reader.tokenizer
        own = {
            "vocab_size": reader.vocabulary,
            "pad_token_id": reader.padding,
            "bos_token_id": tokenizer.cls_token_id,
            "eos_token_id": tokenizer.sep_token_id,  # where CLIP takes the text's feature from
        }
        text = {**own, **config.architecture.get("text_config", {})}
        found = AutoConfig.for_model(**{**config.architecture, "text_config": text})
    if not (hasattr(found, "text_config") and hasattr(found, "vision_config")):
        raise ValueError(f"{found.model_type}: expected a model of texts and images, with a text and a vision config")
    return found


def _model(config: Config, reader: TextReader) -> Any:
    from transformers import AutoModel

    settings = _settings(config, reader)
    model = AutoModel.from_config(settings) if config.model is None else pretrained_model(config)
    if not (hasattr(model, "get_text_features") and hasattr(model, "get_image_features")):
        raise ValueError(f"{settings.model_type}: expected a model with features of texts and of images in one space")
    return model


def _normalisation(config: Config) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation by channel: the config's, or those that the model's processor states."""
    if config.mean is not None and config.std is not None:
        return config.mean, config.std
    from transformers.image_processing_utils import ImageProcessingMixin

    assert config.model is not None  # checked by the config
    stated, _ = ImageProcessingMixin.get_image_processor_dict(local_path(config.model) or config.model)
    return config.mean or tuple(stated["image_mean"]), config.std or tuple(stated["image_std"])
