"""A scene for losses: a small batch with all that can be absent, a student, a text and an image teacher, and a teacher
of both, `clip`, whose pooled features share a space.

Examples 0, 1, 2 and 5 have text and image, 3 only text, 4 only an image, 6 nothing. Each tokenizer drops a word of its
own. What is absent holds `filler`, so that a loss which looks there shows it; absent classes are -1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mmkd.config.layers import EMBEDDING, KEY, QUERY, VALUE, Layer, inside
from mmkd.config.looks import Look
from mmkd.heads import taught_heads
from mmkd.losses.base import Setting
from mmkd.tasks import classify, multilabel, ordinal, regress, tag
from mmkd.types import Batch, Hidden, Outputs, OutputShape

B, W, WIDTH = 7, 4, 5
HEADS = 2
ATTENTION = {"student": {"text": 4, "image": 4}, "bert": {"text": 8}, "vit": {"image": 4}}
"""Width of queries, keys and values, of those that have some, in both of their blocks; embeddings are as wide."""
CLASSES = {"sentiment": 3, "risk": 4, "ner": 3}
LOGITS = {**CLASSES, "topics": 3, "stress": 1}
WIDTHS = {"student": {"text": 4, "image": 3}, "bert": {"text": 6}, "vit": {"image": 2}, "clip": {"text": 3, "image": 3}}
POOLED = {"student": WIDTH, "bert": 6, "vit": 2, "clip": WIDTH}
GRIDS = {"student": (4, 4), "vit": (2, 2), "clip": (2, 2)}
LAYERS = {"student": 1, "bert": 3, "vit": 2, "clip": 2}
TEACHERS = ("bert", "vit", "clip")  # in this order: numbers are drawn for one after another
TAKEN = {"risk": "bert", "topics": "vit", "sentiment": "clip"}
"""Tasks of which the student has taken a teacher's head."""
LOWER_LAYERS = {"student": 0, "bert": 1, "vit": 0, "clip": 0}
LOWER_WIDTHS = {
    "student": {"text": 4, "image": 2},
    "bert": {"text": 6},
    "vit": {"image": 3},
    "clip": {"text": 3, "image": 3},
}
"""A second hidden layer of each network. Of text as wide as the upper one, as in a transformer; of images
not, but for `clip`."""

LOOKS = {"image": Look(image=0.75), "text": Look(text=0.75)}
"""The student's further looks: with patches of the image, and with words hidden."""


@dataclass(frozen=True)
class Scene:
    """`leaves`: every tensor of the student, by name, that wants a gradient; `taught`: the same of the teachers."""

    batch: Batch
    student: Outputs
    teachers: dict[str, Outputs]
    setting: Setting
    leaves: dict[str, Tensor]
    taught: dict[str, Tensor]

    def value(self, loss: torch.nn.Module) -> Tensor:
        return loss(self.student, self.teachers, self.batch)

    def gradients(self, loss: torch.nn.Module) -> dict[str, Tensor]:
        """Gradients of the loss by leaf; a leaf that the loss does not use is left out."""
        for leaf in self.leaves.values():
            leaf.grad = None
        self.value(loss).backward()
        return {name: leaf.grad for name, leaf in self.leaves.items() if leaf.grad is not None}


def make_scene(
    filler: float = math.nan,
    dtype: torch.dtype = torch.float64,
    examples: tuple[int, ...] = tuple(range(B)),
    silent: tuple[int, ...] = (),
    scale: float = 1.0,
    constant: bool = False,
    seed: int = 7,
) -> Scene:
    """examples: the examples taken, in that order. silent: examples of the seven that are left without any modality.

    scale: multiplies every number. constant: all numbers of a tensor are equal. seed: of the numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    pick = torch.tensor(examples, dtype=torch.long)
    lower = torch.Generator().manual_seed(seed + 1)
    inner = torch.Generator().manual_seed(seed + 2)
    leaves: dict[str, Tensor] = {}
    taught: dict[str, Tensor] = {}

    def tensor(
        owner: str, name: str, keep: Tensor, *shape: int, source: torch.Generator = generator, root: bool = False
    ) -> Tensor:
        """root: of what is multiplied by its like, so that the products have the scale."""
        values = torch.randn(*shape, generator=source, dtype=torch.float64) * (scale**0.5 if root else scale)
        if constant:
            values = torch.full_like(values, 0.7)
        values[~keep] = filler
        leaf = values[pick].to(dtype).requires_grad_()
        (leaves if owner == "student" else taught)[f"{owner}.{name}"] = leaf
        return leaf

    has = {
        "text": torch.tensor([1, 1, 1, 1, 0, 1, 0], dtype=torch.bool),
        "image": torch.tensor([1, 1, 1, 0, 1, 1, 0], dtype=torch.bool),
    }
    for modality in has.values():
        modality[list(silent)] = False
    lengths = torch.tensor([4, 3, 2, 4, 0, 1, 0])
    word_mask = (torch.arange(W) < lengths[:, None]) & has["text"][:, None]
    words = {
        "student": word_mask.clone(),
        "bert": word_mask.clone(),
        "vit": torch.zeros_like(word_mask),
        "clip": word_mask.clone(),
    }
    words["student"][0, 3] = False
    words["bert"][1, 2] = False
    words["bert"][0, 1] = False

    def network(owner: str) -> Outputs:
        modalities = list(WIDTHS[owner])
        speaks = torch.stack([has[m] for m in modalities]).any(0)
        logits = {name: tensor(owner, name, speaks, B, LOGITS[name]) for name in LOGITS if name != "ner"}
        if "text" in modalities:
            logits["ner"] = tensor(owner, "ner", words[owner], B, W, CLASSES["ner"])
        pooled, hidden = {}, {}
        for m in modalities:
            pooled[m] = tensor(owner, f"pooled_{m}", has[m], B, POOLED[owner])
            if m == "text":
                values = tensor(owner, "hidden_text", words[owner], B, W, WIDTHS[owner][m])
                below = tensor(owner, "lower_text", words[owner], B, W, LOWER_WIDTHS[owner][m], source=lower)
                layers = ((LOWER_LAYERS[owner], below), (LAYERS[owner], values))
                hidden[m] = {layer: Hidden(own, words[owner][pick]) for layer, own in layers}
            else:
                count = math.prod(GRIDS[owner])
                values = tensor(owner, "hidden_image", has[m], B, count, WIDTHS[owner][m])
                below = tensor(owner, "lower_image", has[m], B, count, LOWER_WIDTHS[owner][m], source=lower)
                mask = torch.ones(len(pick), count, dtype=torch.bool)
                layers = ((LOWER_LAYERS[owner], below), (LAYERS[owner], values))
                hidden[m] = {layer: Hidden(own, mask, GRIDS[owner]) for layer, own in layers}
        for m, width in ATTENTION.get(owner, {}).items():
            keep, grid = (words[owner], None) if m == "text" else (has[m], GRIDS[owner])
            count = W if grid is None else math.prod(grid)
            mask = words[owner][pick] if grid is None else torch.ones(len(pick), count, dtype=torch.bool)
            for name in (EMBEDDING, *attention_of(owner)):
                values = tensor(owner, f"{name}_{m}", keep, B, count, width, source=inner, root=name != EMBEDDING)
                hidden[m][name] = Hidden(values, mask, grid)
        fused = tensor(owner, "fused", speaks, B, WIDTH) if owner == "student" else None
        own = {m: has[m][pick].clone() for m in modalities}
        widths = {task: POOLED[teacher] * len(WIDTHS[teacher]) for task, teacher in TAKEN.items()}
        projected = {
            task: tensor(owner, f"projected_{task}", speaks, B, width, source=lower)
            for task, width in (widths.items() if owner == "student" else ())
        }
        return Outputs(logits, speaks[pick], words[owner][pick], pooled, own, hidden, fused, projected)

    labelled = {
        "sentiment": torch.tensor([1, 0, 1, 1, 1, 0, 1], dtype=torch.bool),
        "risk": torch.tensor([1, 1, 0, 1, 0, 1, 0], dtype=torch.bool),
        "ner": torch.tensor([1, 1, 0, 1, 0, 1, 0], dtype=torch.bool),
        "topics": torch.tensor([1, 0, 1, 1, 0, 1, 1], dtype=torch.bool),
        "stress": torch.tensor([1, 1, 0, 1, 1, 0, 1], dtype=torch.bool),
    }
    labels = {
        name: torch.randint(CLASSES[name], (B, W) if name == "ner" else (B,), generator=generator) for name in CLASSES
    }
    for name, label in labels.items():
        label[~(labelled[name][:, None] & word_mask if name == "ner" else labelled[name])] = -1
    labels["topics"] = torch.randint(2, (B, LOGITS["topics"]), generator=generator).float()
    labels["stress"] = torch.randn(B, generator=generator)
    for name in ("topics", "stress"):
        labels[name][~labelled[name]] = filler
    batch = Batch(
        ids=tuple(f"id{n}" for n in examples),
        corpus="scene",
        rows=pick,
        word_mask=word_mask[pick],
        tokens={},
        images={},
        has_text=has["text"][pick],
        has_image=has["image"][pick],
        labels={name: label[pick] for name, label in labels.items()},
        has_label={name: label[pick] for name, label in labelled.items()},
    )
    student = network("student")
    looked = torch.Generator().manual_seed(seed + 2)
    looks = {
        look: replace(
            student,
            pooled={**student.pooled, m: tensor("student", f"looked_{m}", has[m], B, WIDTH, source=looked)},
        )
        for m, look in LOOKS.items()
    }
    student = replace(student, looks=looks)
    teachers = {name: network(name) for name in TEACHERS}
    return Scene(batch, student, teachers, setting(), leaves, taught)


def attention_of(owner: str) -> list[str]:
    """Names of the queries, keys and values of a network's two blocks."""
    return [inside(block, part) for block in (LOWER_LAYERS[owner], LAYERS[owner]) for part in (QUERY, KEY, VALUE)]


def setting() -> Setting:
    tasks = {
        "sentiment": classify.Task(classify.Config(), "sentiment", ["negative", "neutral", "positive"]),
        "risk": ordinal.Task(ordinal.Config(), "risk", ["low", "moderate", "elevated", "high"]),
        "ner": tag.Task(tag.Config(), "ner", ["O", "B-ORG", "I-ORG"]),
        "topics": multilabel.Task(multilabel.Config(), "topics", ["smear", "slogan", "doubt"]),
        "stress": regress.Task(regress.Config(), "stress", []),
    }

    def shape(owner: str) -> OutputShape:
        widths = WIDTHS[owner]
        hidden: dict[str, dict[Layer, int]] = {
            m: {LOWER_LAYERS[owner]: LOWER_WIDTHS[owner][m], LAYERS[owner]: widths[m]} for m in widths
        }
        for m, width in ATTENTION.get(owner, {}).items():
            hidden[m] |= dict.fromkeys((EMBEDDING, *attention_of(owner)), width)
        return OutputShape(
            pooled=dict.fromkeys(widths, POOLED[owner]),
            hidden=hidden,
            depth=dict.fromkeys(widths, LAYERS[owner] + 1),
            fused=WIDTH if owner == "student" else None,
            heads={m: dict.fromkeys(attention_of(owner), HEADS) for m in ATTENTION.get(owner, {})},
        )

    shapes = {name: shape(name) for name in TEACHERS}
    with torch.random.fork_rng():
        torch.manual_seed(11)
        heads = {
            name: taught_heads(
                nn.ModuleDict(
                    {task: own.head(POOLED[name] * len(WIDTHS[name])) for task, own in tasks.items()}
                ).double(),
                tasks,
                shapes[name],
                tuple(WIDTHS[name]),
            )
            for name in TEACHERS
        }
    return Setting(tasks, shape("student"), shapes, heads)
