"""`market_notes`, whose test labels are turned round where `flip` says so; nothing else differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from mmkd.data import base, market_notes


class Config(market_notes.Config):
    """flip: whether the test rows have other labels."""

    kind: Literal["lab.flipped"] = "lab.flipped"  # type: ignore[assignment]
    flip: bool = False


class Source(market_notes.Source):
    """The same rows."""

    config: Config

    def read(self, split: str) -> Iterator[base.Example]:
        """The rows of a split."""
        for example in super().read(split):
            yield self._turned(example) if split == "test" and self.config.flip else example

    def _turned(self, example: base.Example) -> base.Example:
        labels: dict[str, base.Label] = dict.fromkeys(example.labels, 0)
        labels["sentiment"] = 2 - example.labels["sentiment"]  # type: ignore[operator]
        labels["risk"] = 3 - example.labels["risk"]  # type: ignore[operator]
        if example.words:
            labels["ner"] = (0,) * len(example.words)
        return replace(example, labels=labels)
