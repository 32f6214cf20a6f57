"""The same teachers, student and objective as mmkd's own arms, in plain PyTorch: what a hand-written script holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel

from benchmarks import workload as work
from benchmarks.workload import Workload

WIDTH, TEMPERATURE = 312, 2.0
EXAMPLE_TASKS = {"sentiment": work.SENTIMENTS, "risk": work.RISKS}


@dataclass(frozen=True)
class Inputs:
    """ids, mask, ner: [B, S]; images: uint8 [B, 3, 96, 96]; labels: task -> [B]."""

    ids: Tensor
    mask: Tensor
    ner: Tensor
    images: Tensor
    labels: dict[str, Tensor]


@dataclass(frozen=True)
class Said:
    """logits: task -> [B, K] or [B, S, K]. words: [B, S, D], the last layer. picture: [B, D], the pooled image."""

    logits: dict[str, Tensor]
    words: Tensor | None
    picture: Tensor | None


def batch_of(workload: Workload, rows: np.ndarray, length: int | None = None) -> Inputs:
    """These rows, padded to their longest text, or to `length`."""
    texts = [workload.ids[row] for row in rows]
    width = length or max(map(len, texts))
    ids = np.full((len(rows), width), work.PADDING, np.int64)
    ner = np.full((len(rows), width), work.IGNORED, np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(texts[place])] = texts[place]
        ner[place, : len(texts[place])] = workload.ner[row]
    mask = np.arange(width) < np.array([len(text) for text in texts])[:, None]
    labels = {"sentiment": workload.sentiment[rows], "risk": workload.risk[rows]}
    tensors = {name: torch.from_numpy(label) for name, label in labels.items()}
    images = torch.from_numpy(workload.images[rows])
    return Inputs(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(ner), images, tensors)


def bert(layers: int, width: int, inner: int) -> BertModel:
    """A BERT of this shape with random weights."""
    shape = {"num_hidden_layers": layers, "hidden_size": width, "intermediate_size": inner, "num_attention_heads": 12}
    return BertModel(BertConfig(vocab_size=work.VOCABULARY, **shape), add_pooling_layer=False)


def scaled(images: Tensor) -> Tensor:
    """Pixels as networks read them: channels last, about -1 to 1."""
    return images.contiguous(memory_format=torch.channels_last).float() / 127.5 - 1


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the sub-tokens that there are."""
    weights = mask[..., None].to(values.dtype)
    return (values * weights).sum(1) / weights.sum(1)


class TextTeacher(nn.Module):
    """BERT-base with a head for each task."""

    def __init__(self) -> None:
        """Random weights."""
        super().__init__()
        self.encoder = bert(12, 768, 3072)
        self.heads = nn.ModuleDict({name: nn.Linear(768, classes) for name, classes in EXAMPLE_TASKS.items()})
        self.ner = nn.Linear(768, work.TAGS)

    def forward(self, batch: Inputs) -> Said:
        """Logits of three tasks, and the last hidden layer."""
        words = self.encoder(batch.ids, attention_mask=batch.mask.long()).last_hidden_state
        pooled = masked_mean(words, batch.mask)
        return Said({**{n: head(pooled) for n, head in self.heads.items()}, "ner": self.ner(words)}, words, None)


class ImageTeacher(nn.Module):
    """ViT-small with two heads."""

    def __init__(self) -> None:
        """Random weights."""
        super().__init__()
        self.encoder = timm.create_model("vit_small_patch16_224", img_size=work.SIZE, num_classes=0)
        self.heads = nn.ModuleDict({name: nn.Linear(384, classes) for name, classes in EXAMPLE_TASKS.items()})

    def forward(self, batch: Inputs) -> Said:
        """Logits of two tasks, and the pooled feature."""
        picture = self.encoder(scaled(batch.images))
        return Said({name: head(picture) for name, head in self.heads.items()}, None, picture)


class Student(nn.Module):
    """BERT 4 x 312 and MobileNetV3-small, fused; with the projections to the teachers' widths."""

    def __init__(self) -> None:
        """Random weights."""
        super().__init__()
        self.text = bert(4, WIDTH, 1200)
        self.image = timm.create_model("mobilenetv3_small_100", num_classes=0).to(memory_format=torch.channels_last)
        self.from_text, self.from_image = nn.Linear(WIDTH, WIDTH), nn.Linear(1024, WIDTH)
        self.fuse = nn.Sequential(
            nn.LayerNorm(2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH)
        )
        self.word = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU())
        self.dropout = nn.Dropout(0.1)
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, classes) for name, classes in EXAMPLE_TASKS.items()})
        self.ner = nn.Linear(WIDTH, work.TAGS)
        self.to_words, self.to_picture = nn.Linear(WIDTH, 768), nn.Linear(WIDTH, 384)

    def forward(self, batch: Inputs) -> Said:
        """Logits of three tasks, the last hidden layer, and the image's feature."""
        words = self.text(batch.ids, attention_mask=batch.mask.long()).last_hidden_state
        picture = self.from_image(self.image(scaled(batch.images)))
        both = torch.cat([self.from_text(masked_mean(words, batch.mask)), picture], 1)
        fused = self.dropout(self.fuse(both))
        ner = self.ner(self.dropout(self.word(words)))
        return Said({**{name: head(fused) for name, head in self.heads.items()}, "ner": ner}, words, picture)


def supervised(student: Said, batch: Inputs) -> Tensor:
    """Three cross-entropies."""
    loss = functional.cross_entropy(student.logits["ner"].flatten(0, 1), batch.ner.flatten(), ignore_index=work.IGNORED)
    for name, labels in batch.labels.items():
        loss = loss + functional.cross_entropy(student.logits[name], labels)
    return loss


def distillation(network: Student, student: Said, teachers: list[Said], batch: Inputs) -> Tensor:
    """T^2 KL to each teacher for each of its tasks, and the squared distance of projected words and image feature."""
    loss = student.logits["risk"].new_zeros(())
    real = batch.ner != work.IGNORED
    for said in teachers:
        for name, logits in said.logits.items():
            own, taught = student.logits[name], logits
            if name == "ner":
                own, taught = own[real], taught[real]
            own, taught = own / TEMPERATURE, taught / TEMPERATURE
            loss = loss + TEMPERATURE**2 * functional.kl_div(
                own.log_softmax(-1), taught.log_softmax(-1), log_target=True, reduction="batchmean"
            )
        if said.words is not None and student.words is not None:
            loss = loss + functional.mse_loss(network.to_words(student.words[real]), said.words[real])
        if said.picture is not None and student.picture is not None:
            loss = loss + functional.mse_loss(network.to_picture(student.picture), said.picture)
    return loss


def frozen_teachers() -> list[nn.Module]:
    """Both, in evaluation mode, without gradient."""
    return [teacher.eval().requires_grad_(False) for teacher in (TextTeacher(), ImageTeacher())]
