"""What the tests of the cache share: tiny teachers and corpora, a teacher that says the number of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmkd.cache.store import Making, cached
from mmkd.config.augment import Augment
from mmkd.data.corpus import Corpus, Readers
from mmkd.data.encode import DataSplit, Views
from mmkd.tasks import classify, tag
from mmkd.tasks.base import Task
from mmkd.teachers import hf_text, timm
from mmkd.teachers.base import Speaker, Teacher
from mmkd.types import Batch, Hidden, Outputs, OutputShape
from tiny_project import FORMS, IMAGE, TASKS, TEXT, Listed, Row, data_split, random_rows, readers

CPU = torch.device("cpu")
IDENTITY = {"weights": "w", "code": "c", "layers": "[0]"}


def corpus_of(folder: Path, rows: dict[str, list[Row]] | None = None, limit: int | None = None) -> Corpus:
    """Two splits, the second without labels; long enough for more than one batch of the cache."""
    rows = rows or {"train": random_rows(70), "transfer": random_rows(30, seed=1, labels=False)}
    source = Listed(rows)
    splits = [data_split(source, split, folder, limit) for split in rows]
    return Corpus(splits, FORMS, readers(folder, random_rows(50), "bert", "net", "both"))


def view_of(corpus: Corpus, number: int) -> Corpus:
    """A view of these rows: other words are dropped, images are turned over."""
    augment = Augment(views=4, text={"drop": 0.4, "swap": 0.3}, image={"flip": 0.5})
    views = Views(augment, {"ner": ("O", "B-ORG", "I-ORG")}, {})
    splits: list[DataSplit] = [split.at_view(views, number, None) for split in corpus.splits]
    return Corpus(splits, FORMS, corpus.readers)


def text_teacher(corpus: Corpus, layers: tuple[int | str, ...] = (0,), name: str = "bert") -> Teacher:
    torch.manual_seed(0)
    config = hf_text.Config(**TEXT, tasks=["mood", "ner"], layers=layers)
    tasks = {name: TASKS[name] for name in config.tasks}
    teacher = hf_text.Teacher(config, name, tasks, Readers({name: corpus.readers.text[name]}, {}))
    teacher.freeze()
    return teacher


def image_teacher(corpus: Corpus, layers: tuple[int, ...] = (2,)) -> Teacher:
    torch.manual_seed(0)
    config = timm.Config(**IMAGE, tasks=["risk"], layers=layers)
    teacher = timm.Teacher(config, "net", {"risk": TASKS["risk"]}, Readers({}, {"net": corpus.readers.image["net"]}))
    teacher.freeze()
    return teacher


class BothTeacher(Teacher):
    """Reads text and image: hidden words and positions, features of both, and a fused one."""

    def __init__(self, text: Teacher, image: Teacher) -> None:
        super().__init__(text.config, "both", {**text.tasks, **image.tasks}, text.readers)
        self.text, self.image = text, image
        one, other = text.shape, image.shape
        hidden, depth = {**one.hidden, **other.hidden}, {**one.depth, **other.depth}
        self.shape = OutputShape({**one.pooled, **other.pooled}, hidden, depth, fused=one.pooled["text"])

    def forward(self, batch: Batch) -> Outputs:
        text, image = self.text(batch), self.image(batch)
        return Outputs(
            logits={**text.logits, **image.logits},
            speaks=text.speaks | image.speaks,
            words=text.words,
            pooled={**text.pooled, **image.pooled},
            has={**text.has, **image.has},
            hidden={**text.hidden, **image.hidden},
            fused=text.pooled["text"] * image.logits["risk"].sum(-1, keepdim=True),
        )


def both_teacher(corpus: Corpus, layers: tuple[int, ...] | None = None) -> Teacher:
    teacher = BothTeacher(text_teacher(corpus, layers or (0,)), image_teacher(corpus, layers or (2,)))
    teacher.freeze()
    return teacher


CODES = {
    "code": classify.Task(classify.Config(), "code", ["a", "b", "c"]),
    "place": tag.Task(tag.Config(), "place", ["O", "B-ORG", "I-ORG"]),
}


class NumberTeacher(Teacher):
    """Says of each row its number, and of each word the row's number and the word's own: a wrong row is seen at once.

    fails_at: the batch, counted from 1, at which it breaks off.
    """

    def __init__(self, tasks: dict[str, Task] | None = None) -> None:
        config = hf_text.Config(**TEXT, tasks=["code", "place"])
        super().__init__(config, "numbers", tasks or CODES, Readers({}, {}))
        self.shape = OutputShape({"text": 2}, {"text": {0: 3}}, {"text": 1})
        self.batches, self.fails_at = 0, 0

    def forward(self, batch: Batch) -> Outputs:
        self.batches += 1
        if self.batches == self.fails_at:
            raise KeyboardInterrupt
        numbers = batch.rows.float()
        words = torch.stack([numbers[:, None].expand(batch.word_mask.shape), self._places(batch)], -1)
        hidden = torch.cat([words, words.sum(-1, keepdim=True)], -1)
        return Outputs(
            logits={"code": torch.stack([numbers, -numbers, numbers / 2], -1), "place": words},
            speaks=batch.rows % 3 != 0,
            words=batch.word_mask & (batch.rows % 2 == 0)[:, None],
            pooled={"text": torch.stack([numbers, numbers + 1], -1)},
            has={"text": batch.has_text},
            hidden={"text": {0: Hidden(hidden, batch.word_mask)}},
        )

    def _places(self, batch: Batch) -> torch.Tensor:
        return torch.arange(batch.word_mask.shape[1]).expand(batch.word_mask.shape).float()


@dataclass
class Log:
    """What a build said, and how many rows it computed each time it was asked."""

    lines: list[str] = field(default_factory=list)
    done: list[int] = field(default_factory=list)


def store(
    teacher: Teacher,
    corpora: Corpus | Sequence[Corpus],
    folder: Path,
    dtype: str = "fp32",
    identity: dict[str, str] = IDENTITY,
    log: Log | None = None,
    seed: int = 0,
    **how: Any,
) -> Speaker:
    """The teacher, speaking from a cache in that folder."""
    log = log or Log()
    making = Making(folder, dtype, CPU, log.lines.append, lambda done, _: log.done.append(done), **how)
    corpora = [corpora] if isinstance(corpora, Corpus) else list(corpora)
    return cached(teacher, identity, corpora, making, np.random.default_rng(seed))


def numbered_rows(n: int) -> list[Row]:
    """Rows with 0 to 6 words."""
    return [Row(" ".join(["today"] * (number * 7 % 11 % 7))) for number in range(n)]


def numbered_corpus(folder: Path, *sizes: int) -> Corpus:
    """Splits of so many rows, without a tokenizer or images."""
    rows = {f"part{number}": numbered_rows(size) for number, size in enumerate(sizes)}
    source = Listed(rows)
    splits = [DataSplit("listed", split, source, folder, {}, None) for split in rows]
    return Corpus(splits, {}, Readers({}, {}))
