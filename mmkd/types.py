"""What flows through a step. Legend of shapes:

B examples, W words, S sub-tokens, N positions of a modality (words or patches), K classes, D width.
Masks are bool, True = keep. Logits are raw: the task says whether a softmax over K, or a sigmoid of each, gives
probabilities, or whether K is 1 and the logit is the value itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmkd.config.layers import Layer
from mmkd.config.looks import Look


@dataclass(frozen=True)
class Tokens:
    """One text encoder's view of the texts of a batch.

    ids, mask: [B, S]. word: [B, S], the index of the word that a sub-token belongs to, -1 for none.
    """

    ids: Tensor
    mask: Tensor
    word: Tensor


@dataclass(frozen=True)
class Batch:
    """Examples, as the networks read them. `reader` names who reads: `student`, or a teacher.

    ids: sample ids. corpus, rows [B]: which encoded corpus the examples come from, and their positions in it.
    word_mask: [B, W]. tokens: reader -> Tokens. images: reader -> uint8 [B, 3, H, W].
    has_text, has_image: [B]. has_label: task -> [B].
    labels: task -> [B] or [B, W], int64, the class; [B, K], float32, 1 for each of K labels that holds and 0 for the
        others; or [B], float32, the value. Without meaning where there is no label.
    """

    ids: tuple[str, ...]
    corpus: str
    rows: Tensor
    word_mask: Tensor
    tokens: Mapping[str, Tokens]
    images: Mapping[str, Tensor]
    has_text: Tensor
    has_image: Tensor
    labels: Mapping[str, Tensor]
    has_label: Mapping[str, Tensor]


@dataclass(frozen=True)
class Hidden:
    """One layer of one modality. values: [B, N, D]; mask: [B, N]; grid: rows and columns of an image's positions."""

    values: Tensor
    mask: Tensor
    grid: tuple[int, int] | None = None


@dataclass(frozen=True)
class Outputs:
    """What a teacher or the student says about a batch.

    logits: task -> [B, K], or [B, W, K] for a task over words.
    speaks: [B], the network read at least one modality of this example; where False, nothing else is meaningful.
    words: [B, W], the words that its tokenizer kept.
    pooled: modality -> [B, D], with `has`: modality -> [B], the examples that have that modality.
    hidden: modality -> layer -> Hidden; a layer is named as `mmkd.config.layers` says.
    fused: [B, D], the student's joint representation; None for a teacher that has none.
    projected: task -> [B, D], what the student puts before a head that it has taken from a teacher.
    looks: what the student says when a part of the batch is hidden from it, by the look that a loss asked for.
    mixed: what it says of mixtures of the examples; None where nothing is mixed.
    """

    logits: Mapping[str, Tensor]
    speaks: Tensor
    words: Tensor
    pooled: Mapping[str, Tensor] = field(default_factory=dict)
    has: Mapping[str, Tensor] = field(default_factory=dict)
    hidden: Mapping[str, Mapping[Layer, Hidden]] = field(default_factory=dict)
    fused: Tensor | None = None
    projected: Mapping[str, Tensor] = field(default_factory=dict)
    looks: Mapping[Look, Outputs] = field(default_factory=dict)
    mixed: Mixed | None = None


@dataclass(frozen=True)
class Mixed:
    """Mixtures: the example in place i is `share` of example i and 1 - share of example order[i], which may be itself.

    outputs: what the student says of them, for tasks over examples. order: [B].
    """

    outputs: Outputs
    share: float
    order: Tensor


@dataclass(frozen=True)
class OutputShape:
    """Widths of a network's outputs, from which losses build their projections.

    pooled: modality -> D. hidden: modality -> layer -> D; `depth`: modality -> number of blocks. fused: D or None.
    heads: modality -> layer -> number of heads, which lie side by side in the D of a query, key or value.
    """

    pooled: Mapping[str, int]
    hidden: Mapping[str, Mapping[Layer, int]]
    depth: Mapping[str, int]
    fused: int | None = None
    heads: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def rows_of(level: str, batch: Batch, *outputs: Outputs) -> Tensor:
    """Rows on which all the given networks speak: [B] for an example-level task, [B, W] for a word-level one."""
    rows = torch.ones_like(batch.has_text) if level == "example" else batch.word_mask
    for output in outputs:
        rows = rows & (output.speaks if level == "example" else output.words)
    return rows
