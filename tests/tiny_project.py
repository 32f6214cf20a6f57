"""Small things that many tests run on: a source of given rows, tiny networks, and a whole tiny project."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mmkd.config.encoders import ImageEncoder, TextEncoder
from mmkd.config.experiment import Experiment
from mmkd.config.load import from_plain
from mmkd.data.base import Example, Label, Source
from mmkd.data.corpus import Corpus, Readers
from mmkd.data.encode import DataSplit
from mmkd.data.pixels import ImageReader
from mmkd.data.relabel import same_labels
from mmkd.data.tokens import TextReader, text_reader
from mmkd.losses import affinity, cross_feature, hint, logit_kl, supervised
from mmkd.tasks import classify, ordinal, tag
from mmkd.tasks.base import Task

# Imported before any experiment is read, so that each kind has one `Config` class for the type checks of the tests.
KINDS = (affinity, cross_feature, hint, logit_kl, supervised)
CARDS = Path(__file__).parent.parent / "data_cards"
BERT = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
TEXT: dict[str, Any] = {"architecture": BERT, "vocabulary": 120, "max_tokens": 64}
IMAGE: dict[str, Any] = {"model": "test_convnext", "size": 48}
TASKS: dict[str, Task] = {
    "mood": classify.Task(classify.Config(), "mood", ["bad", "flat", "good"]),
    "risk": ordinal.Task(ordinal.Config(), "risk", ["low", "mid", "high"]),
    "ner": tag.Task(tag.Config(), "ner", ["O", "B-ORG", "I-ORG"]),
}
USES = {name: same_labels(name, task.config.kind, len(task.labels)) for name, task in TASKS.items()}
FORMS = {name: use.form for name, use in USES.items()}


@dataclass(frozen=True)
class Row:
    """A row as a test writes it: a text, the grey level of its image (None: no image), and its labels."""

    text: str
    grey: int | None = None
    labels: Mapping[str, Label] = field(default_factory=dict)


class Listed(Source):
    """A source of given rows, which counts how often each split is read."""

    def __init__(self, rows: Mapping[str, Sequence[Row]]) -> None:
        self.rows, self.reads = dict(rows), []

    def read(self, split: str) -> Iterator[Example]:
        self.reads.append(split)
        for number, row in enumerate(self.rows[split]):
            image = None if row.grey is None else partial(picture, row.grey)
            yield Example(f"{split}/{number}", tuple(row.text.split()), image, row.labels)

    def fingerprint(self, split: str) -> str:
        return hashlib.sha256(f"{split} {self.rows[split]!r}".encode()).hexdigest()


def picture(grey: int, size: int = 48) -> bytes:
    """A PNG whose brightness rises from left to right, from this grey level."""
    stream = io.BytesIO()
    pixels = np.clip(grey + np.arange(size)[None, :].repeat(size, 0), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).convert("RGB").save(stream, "PNG")
    return stream.getvalue()


def random_rows(n: int, seed: int = 0, labels: bool = True) -> list[Row]:
    """Rows of all sorts: with text, image or both, up to 9 words, the label of `mood` in word and picture."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        mood = int(generator.integers(3))
        words = ["falls", "waits", "climbs"][mood : mood + 1]
        words += list(generator.choice(["Acme", "shares", "profit", "outlook", "today"], int(generator.integers(0, 9))))
        has_text, has_image = number % 4 != 1, number % 4 != 2
        words = words if has_text else []
        found: dict[str, Label] = {"mood": mood, "risk": int(generator.integers(3))}
        if has_text:
            found["ner"] = tuple(int(word == "Acme") for word in words)
        rows.append(Row(" ".join(words), 40 + 80 * mood if has_image else None, found if labels else {}))
    return rows


def reader(texts: Sequence[Sequence[str]], folder: Path, max_tokens: int = 64, vocabulary: int = 120) -> TextReader:
    """A WordPiece reader trained on these texts."""
    return text_reader(TextEncoder(architecture=BERT, vocabulary=vocabulary, max_tokens=max_tokens), texts, folder)


def readers(folder: Path, rows: Sequence[Row], *names: str, max_tokens: int = 64) -> Readers:
    """The same text and image reader under each name."""
    text = reader([row.text.split() for row in rows], folder, max_tokens)
    return Readers(dict.fromkeys(names, text), dict.fromkeys(names, ImageReader(IMAGE["size"])))


def data_split(source: Source, split: str, folder: Path, limit: int | None = None) -> DataSplit:
    return DataSplit("listed", split, source, folder, USES, limit)


def listed_corpus(rows: Sequence[Row], folder: Path, *names: str, max_tokens: int = 64) -> Corpus:
    """A corpus of one split with these rows, read under each name (default: student)."""
    own = readers(folder, rows, *(names or ("student",)), max_tokens=max_tokens)
    split = data_split(Listed({"train": rows}), "train", folder)
    return Corpus([split], FORMS, own)


def everything(corpus: Corpus) -> Any:
    """All rows of a corpus as one batch."""
    return corpus.batch(np.arange(len(corpus)))


def text_config(**changes: Any) -> TextEncoder:
    return TextEncoder(**{**TEXT, **changes})


def image_config(**changes: Any) -> ImageEncoder:
    return ImageEncoder(**{**IMAGE, **changes})


def make_project(folder: Path) -> Path:
    """A project's root with the card of market_notes; the path that stands for its experiment file."""
    (folder / "data_cards").mkdir(parents=True)
    shutil.copy(CARDS / "market_notes.md", folder / "data_cards")
    return folder / "tiny.yaml"


def plain_experiment() -> dict[str, Any]:
    """Two teachers, three tasks, two seeds and every kind of loss, as plain data. Each test has its own copy."""
    finetune = {"epochs": 1, "batch_size": 8, "lr": 1e-3}
    return {
        "name": "tiny",
        "data": {
            "market_notes": {
                "card": "market_notes",
                "train": ["train", "transfer"],
                "options": {"train": 16, "transfer": 8, "validation": 12, "test": 16, "pixels": 48},
            }
        },
        "tasks": {"sentiment": {"kind": "classify"}, "ner": {"kind": "tag"}, "risk": {"kind": "ordinal"}},
        "teachers": {
            "bert": {"kind": "hf_text", **TEXT, "tasks": ["sentiment", "ner"], "layers": [1], "finetune": finetune},
            "net": {"kind": "timm", **IMAGE, "tasks": ["risk"], "layers": [2], "finetune": finetune},
        },
        "student": {"text": TEXT, "image": IMAGE, "width": 12},
        "losses": {
            "sentiment": {"kind": "supervised", "task": "sentiment"},
            "ner": {"kind": "supervised", "task": "ner"},
            "risk": {"kind": "supervised", "task": "risk"},
            "bert_ner": {"kind": "logit_kl", "teacher": "bert", "task": "ner"},
            "net_risk": {"kind": "logit_kl", "teacher": "net", "task": "risk"},
            "words": {"kind": "hint", "teacher": "bert", "layer": 1, "modality": "text"},
            "patches": {"kind": "hint", "teacher": "net", "layer": 2, "modality": "image"},
            "crossed": {"kind": "cross_feature", "teacher": "bert", "to": "image"},
            "pairs": {
                "kind": "affinity",
                "text": "bert",
                "image": "net",
                "weight": {"kind": "cosine", "from": 0.5, "to": 0.0},
            },
        },
        "weighting": {"kind": "uncertainty"},
        "train": {"epochs": 2, "batch_size": 8, "lr": 1e-3, "threads": 1},
        "seeds": [0, 1],
    }


def student_alone(**train: Any) -> dict[str, Any]:
    """The experiment without teachers, on labelled rows, one seed; `train` changes its section."""
    plain = plain_experiment()
    plain["teachers"] = {}
    plain["losses"] = {name: plain["losses"][name] for name in ("sentiment", "ner", "risk")}
    plain["data"]["market_notes"]["train"] = ["train"]
    plain["train"] |= train
    plain["seeds"] = [0]
    return plain


def experiment(plain: Mapping[str, Any]) -> Experiment:
    return from_plain(plain)


def same_weights(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether two state dicts are equal bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
