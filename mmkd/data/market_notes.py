"""`market_notes`: short financial notes with price charts, made here by a known probability model. No download.

Each row is a note (words), a chart (PNG) and labels for sentiment, entities and risk. What the words and the chart
know of the labels is set by the model in `_market_model.py`, so `Source.ceilings` can report the best score that
the text, the chart or both allow. A row depends on (seed, split, row number) and the knobs alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from mmkd.data import _market_ceiling as ceiling
from mmkd.data import base
from mmkd.data._market_chart import png, render
from mmkd.data._market_model import Knobs, Rows, draw, stack
from mmkd.data._market_text import TAGS, Note, write_note

if TYPE_CHECKING:
    from pathlib import Path

    from mmkd.data.card import Card

__all__ = ["RISK", "SENTIMENT", "TAGS", "Config", "Source"]

SENTIMENT = ("negative", "neutral", "positive")
RISK = ("low", "moderate", "elevated", "high")

_MODEL, _TEXT, _STYLE, _TUNING = range(4)
"""What a stream of random numbers is for."""

Count = Annotated[int, Field(ge=0)]


class Config(Knobs):
    """The keys of `source`: the seed, the rows of each split, the chart's side, and the knobs of the model."""

    kind: Literal["market_notes"] = "market_notes"
    seed: Annotated[int, Field(ge=0)] = 0
    train: Count = 1000
    transfer: Count = 4000
    validation: Count = 500
    test: Count = 1000
    pixels: Annotated[int, Field(ge=48, le=512)] = 64
    """Width and height of the chart."""

    def rows(self, split: str) -> int:
        """Rows of a split."""
        return {"train": self.train, "transfer": self.transfer, "validation": self.validation, "test": self.test}[split]


class Source(base.Source):
    """Makes the rows when asked; images are drawn when called for, so that words and labels cost little."""

    config: Config

    def __init__(self, config: Config, card: Card, root: Path | None) -> None:
        """card and root are not used: everything follows from the config."""
        super().__init__(config, card, root)

    def read(self, split: str) -> Iterator[base.Example]:
        """Yield the rows of a split in order. Rows of `transfer` have no labels.

        Raises ValueError for a split that is not one of SPLITS.
        """
        _check(split)
        for row in range(self.config.rows(split)):
            drawn = _draw(self.config, split, row)
            note = _note(self.config, split, row, drawn) if drawn.has_text[0] else None
            labels: dict[str, base.Label] = {}
            if split != "transfer":
                labels = {"sentiment": int(drawn.sentiment[0]), "risk": int(drawn.risk[0])}
                if note:
                    labels["ner"] = note.tags
            image = partial(chart, self.config, split, row) if drawn.has_image[0] else None
            yield base.Example(f"market_notes/{split}/{row:06d}", note.words if note else (), image, labels)

    def ceilings(self, split: str) -> dict[str, dict[str, dict[str, float]]] | None:
        """The scores that the model's own posterior gets on this split's labels: task -> metric -> modality -> score.

        The decision rules for macro_f1 and qwk are tuned on rows of another stream of random numbers. A row that
        lacks a modality is answered from what is left, at worst from the priors. ner has no "image" entry: without
        words there is nothing to tag. None where nothing can be scored: `transfer`, or a split with no rows.

        Raises ValueError for a split that is not one of SPLITS.
        """
        _check(split)
        if split == "transfer" or not self.config.rows(split):
            return None
        parts = [_draw(self.config, split, row) for row in range(self.config.rows(split))]
        tuning = draw(self.config, np.random.default_rng([self.config.seed, _TUNING]), ceiling.TUNING_ROWS)
        scores = ceiling.label_ceilings(self.config, stack(parts), tuning)
        notes = [_note(self.config, split, row, part) for row, part in enumerate(parts) if part.has_text[0]]
        if notes:
            best = ceiling.entity_f1([note.tags for note in notes], [note.best_tags for note in notes])
            scores["ner"] = {"entity_f1": {"text": best, "both": best}}
        return scores


def chart(config: Config, split: str, row: int) -> bytes:
    """The PNG of one row's chart, drawn anew from its random numbers."""
    drawn = _draw(config, split, row)
    return png(render(drawn.steps[0], _generator(config, split, row, _STYLE), config.pixels))


def _draw(config: Config, split: str, row: int) -> Rows:
    return draw(config, _generator(config, split, row, _MODEL), 1)


def _note(config: Config, split: str, row: int, drawn: Rows) -> Note:
    return write_note(
        _generator(config, split, row, _TEXT),
        split,
        int(drawn.cue[0]),
        int(drawn.statement[0]),
        int(drawn.mention[0]),
        config.distractor,
        config.ambiguous,
    )


def _generator(config: Config, split: str, row: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, purpose, base.SPLITS.index(split), row])


def _check(split: str) -> None:
    if split not in base.SPLITS:
        raise ValueError(f"market_notes: found the split {split!r}; expected one of {', '.join(base.SPLITS)}")
