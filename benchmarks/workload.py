"""The workload: texts of tweet length with words and entities, small images, three tasks. Made from a seed, no files.

The cost of a step does not depend on what the networks have learned, so weights are random, and labels too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SENTIMENTS, RISKS, TAGS = 3, 4, 9
VOCABULARY, PADDING, BEGIN, END, FIRST_WORD = 30522, 0, 101, 102, 1000
SIZE = 96
"""Height and width of images, in pixels."""
LONGEST = 128
"""Sub-tokens of the longest text, the two special ones included."""
IGNORED = -100
ENTITIES = 0.15
"""Share of words that carry another tag than O."""


@dataclass(frozen=True)
class Workload:
    """ids: of each text, [CLS] and [SEP] included. images: uint8 [n, 3, 96, 96]. sentiment, risk: [n].

    ner: a tag for each sub-token of each text, `IGNORED` at the special ones.
    """

    ids: list[np.ndarray]
    images: np.ndarray
    sentiment: np.ndarray
    risk: np.ndarray
    ner: list[np.ndarray]

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.ids)


def make_workload(pairs: int, seed: int = 0) -> Workload:
    """Lengths: log-normal (median 20, sigma 0.65), 4 to 128 sub-tokens. Ids: Zipf with exponent 1.07."""
    generator = np.random.default_rng(seed)
    lengths = np.clip(np.round(np.exp(generator.normal(math.log(20), 0.65, pairs))), 4, LONGEST).astype(int)
    ranks = np.arange(1, VOCABULARY - FIRST_WORD + 1)
    chances = ranks**-1.07
    words = [FIRST_WORD + generator.choice(len(ranks), n - 2, p=chances / chances.sum()) for n in lengths]
    ids = [np.concatenate([[BEGIN], each, [END]]).astype(np.int64) for each in words]
    ner = []
    for each in words:
        tags = np.where(generator.random(len(each)) < ENTITIES, generator.integers(1, TAGS, len(each)), 0)
        ner.append(np.concatenate([[IGNORED], tags, [IGNORED]]).astype(np.int64))
    return Workload(
        ids,
        generator.integers(0, 256, (pairs, 3, SIZE, SIZE), dtype=np.uint8),
        generator.integers(SENTIMENTS, size=pairs),
        generator.integers(RISKS, size=pairs),
        ner,
    )
