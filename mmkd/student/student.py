"""The shared student: a text encoder, an image encoder, their fusion, and a head for each task.

It works from text alone, from an image alone or from both: a learned vector stands for an absent modality.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch._functorch.config
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmkd.config.encoders import StudentImage, StudentText
from mmkd.config.experiment import Student as Config
from mmkd.config.layers import Layer
from mmkd.data.corpus import Readers
from mmkd.data.tokens import TextReader
from mmkd.encoders.bag import BagEncoder
from mmkd.encoders.base import Encoded
from mmkd.encoders.image import ImageEncoder
from mmkd.encoders.pixels import PixelEncoder
from mmkd.encoders.text import TextEncoder
from mmkd.heads import ProjectedHead, apply_heads, heads
from mmkd.tasks.base import Task
from mmkd.types import Batch, Hidden, Outputs, OutputShape

READER = "student"
"""The name under which the student's inputs stand in a batch."""


class Student(nn.Module):
    """One network for all tasks. Tasks over examples read the fused feature, tasks over words read the words."""

    def __init__(
        self,
        config: Config,
        tasks: Mapping[str, Task],
        readers: Readers,
        layers: Mapping[str, tuple[Layer, ...]],
        taken: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """config: without `start`, which is resolved before. layers: modality -> hidden layers beside the last.

        taken: tasks whose head is a teacher's -> width of the feature that it reads.
        Raises ValueError for a layer that an encoder does not have.
        """
        super().__init__()
        self.config, self.tasks = config, dict(tasks)
        encoders: dict[str, TextEncoder | BagEncoder | ImageEncoder | PixelEncoder] = {}
        if config.text is not None:
            encoders["text"] = _text_encoder(config.text, readers.text[READER], layers.get("text", ()))
        if config.image is not None:
            encoders["image"] = _image_encoder(config.image, layers.get("image", ()))
        self.encoders = nn.ModuleDict(encoders)
        width = config.width
        self.project = nn.ModuleDict({name: nn.Linear(module.width, width) for name, module in encoders.items()})
        self.absent = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name in encoders})
        joined, linear = width * len(encoders), config.fusion == "linear"
        self.fuse = nn.Linear(joined, width) if linear else _mlp(joined, width)
        self.word: nn.Module | None = None
        if "text" in encoders:
            own = nn.Linear(encoders["text"].width, width)
            self.word = own if linear else nn.Sequential(own, nn.GELU())
        self.dropout = nn.Dropout(config.dropout)
        self.heads, self.taken = heads(tasks, width), dict(taken)
        for name, reads in taken.items():  # after all heads are drawn: the others start as they would without it
            projector = nn.Linear(width, reads) if linear else _mlp(width, reads)
            self.heads[name] = ProjectedHead(projector, tasks[name].head(reads))
        self.shape = OutputShape(
            pooled=dict.fromkeys(encoders, width),
            hidden={name: {n: module.width_of(n) for n in module.layers} for name, module in encoders.items()},
            depth={name: module.depth for name, module in encoders.items()},
            fused=width,
            heads={name: module.heads for name, module in encoders.items()},
        )

    def forward(self, batch: Batch) -> Outputs:
        """What the student says; in training, `modality_dropout` hides a modality from the fusion."""
        has = {name: {"text": batch.has_text, "image": batch.has_image}[name] for name in self.encoders}
        encoded = {name: self._encode(name, batch) for name in self.encoders}
        pooled = {name: self.project[name](e.pooled) for name, e in encoded.items()}
        seen = drop_modalities(has, self.config.modality_dropout) if self.training else has
        parts = [torch.where(seen[name][:, None], pooled[name], self.absent[name]) for name in pooled]
        fused = self.fuse(torch.cat(parts, dim=1))
        words, kept = self._words(batch, encoded)
        logits, projected = self._said(fused, words)
        speaks = torch.stack(list(has.values())).any(0)
        hidden = {name: e.hidden for name, e in encoded.items()}
        return Outputs(logits, speaks, kept, pooled, has, hidden, fused, projected)

    def logits_of(self, fused: Tensor, words: Tensor | None = None) -> dict[str, Tensor]:
        """Logits of each task from fused features [B, D] and words [B, W, D]; without words, of those over examples."""
        return self._said(fused, words)[0]

    def _said(self, fused: Tensor, words: Tensor | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Logits of each task, and what is put before the heads that were taken from teachers."""
        example = self.dropout(fused)
        projected = {name: self.get_submodule(f"heads.{name}.projector")(example) for name in self.taken}
        own = {name: task for name, task in self.tasks.items() if name not in projected}
        said = apply_heads(self.heads, own, example, words)
        said |= {name: self.get_submodule(f"heads.{name}.head")(values) for name, values in projected.items()}
        return {name: said[name] for name in self.tasks if name in said}, projected

    def compile_encoders(self) -> None:
        """Have `torch.compile` make the encoders' networks, for batches of any shape; weights keep their names."""
        # Diagnostics and weightings of gradients go back through one graph several times, which needs all it holds.
        torch._functorch.config.donated_buffer = False
        for encoder in self.encoders.values():
            if isinstance(encoder, TextEncoder | ImageEncoder):
                encoder.compile_network()

    def _encode(self, modality: str, batch: Batch) -> Encoded:
        encoder = self.encoders[modality]
        if modality == "text":
            found: Encoded = encoder(batch.tokens[READER], batch.word_mask.shape[1])
        else:
            found = encoder(batch.images[READER], batch.has_image)
        return found

    def _words(self, batch: Batch, encoded: Mapping[str, Encoded]) -> tuple[Tensor | None, Tensor]:
        if self.word is None:
            return None, torch.zeros_like(batch.word_mask)
        last: Hidden = encoded["text"].hidden[self.shape.depth["text"] - 1]
        kept = last.mask & batch.word_mask & batch.has_text[:, None]
        return self.dropout(self.word(last.values)), kept


def _text_encoder(config: StudentText, reader: TextReader, layers: tuple[Layer, ...]) -> TextEncoder | BagEncoder:
    return TextEncoder(config, reader, layers) if config.bag is None else BagEncoder(config.bag, reader, layers)


def _image_encoder(config: StudentImage, layers: tuple[Layer, ...]) -> ImageEncoder | PixelEncoder:
    if config.pixels is None:
        return ImageEncoder(config.encoder(), layers)
    return PixelEncoder(config.pixels, config, layers)


def _mlp(width_in: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width_in), nn.Linear(width_in, width), nn.GELU(), nn.Linear(width, width))


def drop_modalities(has: Mapping[str, Bool[Tensor, " B"]], chance: float) -> dict[str, Bool[Tensor, " B"]]:
    """Hide one modality, chosen at random, from the fraction `chance` of the examples that have them all."""
    names = list(has)
    if len(names) < 2 or chance == 0:
        return dict(has)
    complete = torch.stack(list(has.values())).all(0)
    draw: Float[Tensor, " B"] = torch.rand(len(complete), device=complete.device)
    hidden = (draw / chance * len(names)).long()  # below len(names) with probability `chance`, evenly
    return {name: has[name] & ~(complete & (hidden == number)) for number, name in enumerate(names)}
