"""The networks and the loss of the benchmark in plain PyTorch: what each peer trains, independent of mmkd.

All weights are random: what a step costs does not depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel

if TYPE_CHECKING:
    from benchmarks.workload import Workload

SENTIMENTS, RISKS, TAGS = 3, 4, 9
IGNORED = -100
TEMPERATURE = 2.0


@dataclass(frozen=True)
class Sizes:
    """Shapes of teachers and student; the defaults are those of the benchmark."""

    vocabulary: int = 30522
    teacher_layers: int = 12
    teacher_width: int = 768
    teacher_heads: int = 12
    teacher_inner: int = 3072
    image_teacher: str = "vit_small_patch16_224"
    student_layers: int = 4
    student_width: int = 312
    student_heads: int = 12
    student_inner: int = 1200
    image_student: str = "mobilenetv3_small_100"
    image_side: int = 96


FULL = Sizes()


@dataclass(frozen=True)
class TextOutput:
    """Logits `[B, 3]`, `[B, 4]`, `[B, L, 9]` and the last hidden layer `[B, L, width]` of the text teacher."""

    sentiment: Tensor
    risk: Tensor
    ner: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class ImageOutput:
    """Logits `[B, 3]`, `[B, 4]` and the pooled feature `[B, width]` of the image teacher."""

    sentiment: Tensor
    risk: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class StudentOutput:
    """Logits as the teachers', and words and image projected to their widths; no image for a text-only student."""

    sentiment: Tensor
    risk: Tensor
    ner: Tensor
    hidden: Tensor
    pooled: Tensor | None


@dataclass(frozen=True)
class TeacherOutputs:
    """What the teachers say of one batch; `image` is None where only the text part is distilled."""

    text: TextOutput
    image: ImageOutput | None


def bert(vocabulary: int, width: int, layers: int, heads: int, inner: int) -> BertModel:
    """Build BERT of a shape with random weights, without its pooler."""
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
    )
    return BertModel(config, add_pooling_layer=False)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `[B, L, D]` over the positions where `mask [B, L]` is 1, as `[B, D]`."""
    weights = mask.unsqueeze(-1).to(values.dtype)
    return (values * weights).sum(1) / weights.sum(1)


class TextTeacher(nn.Module):
    """BERT with heads for sentiment and risk on the mean of its words, and for entities on each word."""

    def __init__(self, sizes: Sizes) -> None:
        """Build it with random weights."""
        super().__init__()
        width = sizes.teacher_width
        self.encoder = bert(sizes.vocabulary, width, sizes.teacher_layers, sizes.teacher_heads, sizes.teacher_inner)
        self.sentiment = nn.Linear(width, SENTIMENTS)
        self.risk = nn.Linear(width, RISKS)
        self.ner = nn.Linear(width, TAGS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> TextOutput:
        """Run over `[B, L]` token ids and their mask."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mean = masked_mean(hidden, attention_mask)
        return TextOutput(self.sentiment(mean), self.risk(mean), self.ner(hidden), hidden)


class ImageTeacher(nn.Module):
    """A vision transformer with heads for sentiment and risk on its pooled feature."""

    def __init__(self, sizes: Sizes) -> None:
        """Build it with random weights."""
        super().__init__()
        self.encoder = timm.create_model(sizes.image_teacher, num_classes=0, img_size=sizes.image_side)
        self.width = int(self.encoder.num_features)
        self.sentiment = nn.Linear(self.width, SENTIMENTS)
        self.risk = nn.Linear(self.width, RISKS)

    def forward(self, images: Tensor) -> ImageOutput:
        """Run over `[B, 3, H, W]` floats."""
        pooled = self.encoder(images)
        return ImageOutput(self.sentiment(pooled), self.risk(pooled), pooled)


class Student(nn.Module):
    """A small BERT and a small image net, fused for sentiment and risk; entities are read from the words.

    Layer by layer what mmkd's own student is.

    `image_width` is the image teacher's width; None builds the text part only.
    """

    def __init__(self, sizes: Sizes, image_width: int | None) -> None:
        """Build it with random weights."""
        super().__init__()
        width = sizes.student_width
        self.words = bert(sizes.vocabulary, width, sizes.student_layers, sizes.student_heads, sizes.student_inner)
        self.text = nn.Linear(width, width)
        self.image_encoder: nn.Module | None = None
        if image_width is not None:
            self.image_encoder = timm.create_model(sizes.image_student, num_classes=0)
            pooled = int(self.image_encoder.head_hidden_size)
            self.image = nn.Linear(pooled, width)
            self.to_teacher_image = nn.Linear(pooled, image_width)
        parts = 1 if image_width is None else 2
        self.fusion = nn.Sequential(
            nn.LayerNorm(parts * width), nn.Linear(parts * width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.word = nn.Sequential(nn.Linear(width, width), nn.GELU())
        self.dropout = nn.Dropout(0.1)
        self.sentiment = nn.Linear(width, SENTIMENTS)
        self.risk = nn.Linear(width, RISKS)
        self.ner = nn.Linear(width, TAGS)
        self.to_teacher_words = nn.Linear(width, sizes.teacher_width)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, images: Tensor | None = None, matched: bool = True
    ) -> StudentOutput:
        """Run over a batch; `matched=False` leaves out the projections, which a student alone does not need."""
        hidden = self.words(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        parts = [self.text(masked_mean(hidden, attention_mask))]
        pooled = None
        if self.image_encoder is not None:
            features = self.image_encoder(images)
            parts.append(self.image(features))
            pooled = self.to_teacher_image(features) if matched else features
        fused = self.dropout(self.fusion(torch.cat(parts, dim=1)))
        ner = self.ner(self.dropout(self.word(hidden)))
        words = self.to_teacher_words(hidden) if matched else hidden
        return StudentOutput(self.sentiment(fused), self.risk(fused), ner, words, pooled)


class Teachers(nn.Module):
    """Both teachers as one frozen module, for frameworks that take one teacher."""

    def __init__(self, sizes: Sizes, text_only: bool) -> None:
        """Build and freeze them."""
        super().__init__()
        self.text = TextTeacher(sizes)
        self.image = None if text_only else ImageTeacher(sizes)
        self.requires_grad_(False).eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, images: Tensor | None = None) -> TeacherOutputs:
        """Run over a batch."""
        text = self.text(input_ids, attention_mask)
        return TeacherOutputs(text, None if self.image is None else self.image(images))


def build(sizes: Sizes, seed: int, text_only: bool = False) -> tuple[Student, Teachers]:
    """Build student and teachers; the same seed gives the same weights in each arm."""
    torch.manual_seed(seed)
    teachers = Teachers(sizes, text_only)
    student = Student(sizes, None if teachers.image is None else teachers.image.width)
    return student.train(), teachers


def rows_of(workload: Workload, text_only: bool) -> list[dict[str, np.ndarray]]:
    """List the rows as dicts of arrays, the form that map-style data sets of the peers have."""
    keys = ("sentiment", "risk") if text_only else ("images", "sentiment", "risk")
    return [
        {"input_ids": ids, "ner": ner} | {key: getattr(workload, key)[row] for key in keys}
        for row, (ids, ner) in enumerate(zip(workload.ids, workload.ner, strict=True))
    ]


def collate(rows: list[dict[str, np.ndarray]], length: int | None = None) -> dict[str, Tensor]:
    """Pad rows to their longest, or to `length` tokens, and stack them.

    Token ids, mask and tags are int64 `[B, L]`, images float32 `[B, 3, H, W]` in [-1, 1].
    """
    longest = max(len(row["input_ids"]) for row in rows) if length is None else length
    ids = np.zeros((len(rows), longest), np.int64)
    mask = np.zeros_like(ids)
    ner = np.full_like(ids, IGNORED)
    for place, row in enumerate(rows):
        count = len(row["input_ids"])
        ids[place, :count] = row["input_ids"]
        mask[place, :count] = 1
        ner[place, :count] = row["ner"]
    batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask), "ner": torch.from_numpy(ner)}
    for key in ("sentiment", "risk"):
        batch[key] = torch.tensor([int(row[key]) for row in rows])
    if "images" in rows[0]:
        batch["images"] = torch.from_numpy(np.stack([row["images"] for row in rows])).float().div_(127.5).sub_(1.0)
    return batch


def inputs_of(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Select what the networks read of a batch."""
    return {key: batch[key] for key in ("input_ids", "attention_mask", "images") if key in batch}


def softened(student: Tensor, teacher: Tensor) -> Tensor:
    """T²·KL(teacher ‖ student) of logits `[..., K]` as `[...]`, in nats."""
    target = functional.log_softmax(teacher / TEMPERATURE, dim=-1)
    found = functional.log_softmax(student / TEMPERATURE, dim=-1)
    return functional.kl_div(found, target, reduction="none", log_target=True).sum(-1) * TEMPERATURE**2


def supervised_loss(student: StudentOutput, batch: dict[str, Tensor]) -> Tensor:
    """Sum of the three cross-entropies, in nats."""
    return (
        functional.cross_entropy(student.sentiment, batch["sentiment"])
        + functional.cross_entropy(student.risk, batch["risk"])
        + functional.cross_entropy(student.ner.flatten(0, 1), batch["ner"].flatten(), ignore_index=IGNORED)
    )


def distillation_loss(student: StudentOutput, teachers: TeacherOutputs | None, batch: dict[str, Tensor]) -> Tensor:
    """Sum of all terms with weight 1; without teachers the supervised ones only."""
    loss = supervised_loss(student, batch)
    if teachers is None:
        return loss
    mask = batch["attention_mask"].to(student.hidden.dtype)
    words = mask.sum()
    text = teachers.text
    loss = loss + softened(student.sentiment, text.sentiment).mean() + softened(student.risk, text.risk).mean()
    loss = loss + (softened(student.ner, text.ner) * mask).sum() / words
    loss = loss + ((student.hidden - text.hidden).square().mean(-1) * mask).sum() / words
    if teachers.image is not None:
        image = teachers.image
        loss = loss + softened(student.sentiment, image.sentiment).mean() + softened(student.risk, image.risk).mean()
        loss = loss + functional.mse_loss(student.pooled, image.pooled)
    return loss
