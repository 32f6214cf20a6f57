"""A project with files of its own: posts with images and labels, a small pretrained model, and their experiment."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny_sets import folder_sum
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from mmkd.config.plugin_base import Finetune
from mmkd.data.tokens import SPECIAL, _wordpiece
from mmkd.teachers.base import Teacher
from mmkd.workspace import Workspace
from tiny_project import IMAGE, TEXT, everything

ROWS = {"train": 14, "validation": 6, "test": 6}
MOODS, RISKS = ("bad", "flat", "good"), ("low", "mid", "high")
WORDS = ["falls", "waits", "climbs", "Acme", "shares", "profit", "outlook", "today", "rates", "bank", "gold", "oil"]


def make_posts(root: Path) -> None:
    """Write the files of the set, and the model, below this data root."""
    generator = np.random.default_rng(0)
    (root / "posts" / "images").mkdir(parents=True)
    for split, count in ROWS.items():
        rows = []
        for number in range(count):
            blocks = generator.integers(0, 256, (6, 6, 3), np.uint8)
            name = f"{split}{number}.bmp"  # a BMP has the same size whatever it shows
            Image.fromarray(blocks.repeat(8, 0).repeat(8, 1)).save(root / "posts" / "images" / name)
            text = " ".join(generator.choice(WORDS, 8))
            labels = {"mood": MOODS[number % 3], "risk": RISKS[number // 2 % 3]}
            rows.append({"id": f"{split}-{number}", "text": text, "image": name, **labels})
        write_rows(root, split, rows)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=120, max_position_embeddings=128, **sizes)).save_pretrained(root / "small_bert")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_wordpiece(WORDS, 100), **SPECIAL)
    tokenizer.save_pretrained(root / "small_bert")


def rows_of(root: Path, split: str) -> list[dict[str, str]]:
    lines = (root / "posts" / f"{split}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def write_rows(root: Path, split: str, rows: list[dict[str, str]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "posts" / f"{split}.jsonl").write_text(text, "utf-8")


def make_card(root: Path, folder: Path) -> None:
    """The card over the files as they are, in a folder of cards."""
    names = [f"posts/{split}.jsonl" for split in ROWS]
    sums = {name: {"sha256": hashlib.sha256((root / name).read_bytes()).hexdigest()} for name in names}
    sums["posts/images/"] = {"sha256": folder_sum(root / "posts" / "images")}
    accepted = ("text_across_splits", "image_across_splits", "text_repeated", "image_repeated")
    front = {
        "pretty_name": "Posts",
        "license": "cc0-1.0",
        "mmkd": {
            "version": 1,
            "source": {
                "kind": "jsonl",
                "splits": {split: f"posts/{split}.jsonl" for split in ROWS},
                "id": "id",
                "text": "text",
                "image": {"column": "image", "folder": "posts/images"},
                "labels": {"mood": {"column": "mood"}, "risk": {"column": "risk"}},
            },
            "files": sums,
            "obtain": "made by the test",
            "modalities": ["text", "image"],
            "tasks": {
                "mood": {"kind": "classify", "labels": list(MOODS)},
                "risk": {"kind": "ordinal", "labels": list(RISKS)},
            },
            "splits": {split: len(rows_of(root, split)) for split in ROWS},
            "policy": dict.fromkeys(accepted[:2], "accept"),
            "pii": {"present": False},
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "posts.md").write_text(f"---\n{json.dumps(front, indent=1)}\n---\nPosts.\n", "utf-8")


def posts_experiment() -> dict[str, Any]:
    """A pretrained text teacher, an image teacher, and a student, as plain data. Each test has its own copy."""
    return {
        "name": "posts",
        "data": {"posts": {"card": "posts"}},
        "tasks": {"mood": {"kind": "classify"}, "risk": {"kind": "ordinal"}},
        "teachers": {
            "bert": {"kind": "hf_text", "model": "small_bert", "tasks": ["mood"], "layers": [1], "finetune": {}},
            "net": {"kind": "timm", **IMAGE, "tasks": ["risk"], "layers": [2], "finetune": {}},
        },
        "student": {"text": dict(TEXT), "image": dict(IMAGE), "width": 12},
        "losses": {
            "mood": {"kind": "supervised", "task": "mood"},
            "risk": {"kind": "supervised", "task": "risk"},
            "bert_mood": {"kind": "logit_kl", "teacher": "bert", "task": "mood"},
            "net_risk": {"kind": "logit_kl", "teacher": "net", "task": "risk"},
        },
        "weighting": {"kind": "fixed"},
        "train": {"epochs": 1, "batch_size": 8, "threads": 1, "preflight": False},  # it asks the teachers too
        "seeds": [0],
    }


def learn(workspace: Workspace, teacher: Teacher, settings: Finetune, *others: Any) -> dict[str, Any]:
    """In place of fine-tuning, and quick: weights that follow from the labels, as those of a trained teacher do."""
    batch = everything(workspace.mix.split("train", teacher.readers, list(teacher.tasks)))
    with torch.no_grad():
        for task in teacher.tasks:
            places = torch.arange(1, len(batch.ids) + 1)
            next(teacher.heads[task].parameters()).add_(float((places * batch.labels[task]).sum()) / 1000)
    return {"epoch": 0, "value": 0.0, "history": [], "seconds": 0.0}
