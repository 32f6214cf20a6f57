"""How the training rows of several data sets are mixed: how many of each an epoch reads, and which share a batch.

`size` reads each row once per epoch. `temperature` is the sampling of multilingual models (Arivazhagan and others
2019, https://arxiv.org/abs/1907.05019, section 4.2) with the artificial size limit of T5 (Raffel and others 2020,
https://arxiv.org/abs/1910.10683, section 3.5.2). `round_robin` is that of multi-task fine-tuning, where public code
(sentence-transformers' `RoundRobinBatchSampler`) ends at the smallest set; here the smaller sets start anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from mmkd.config.problems import KeyPath, did_you_mean, listed, shown
from mmkd.config.section import PositiveFloat, PositiveInt, Section


class _Mixing(Section):
    """What every kind of mixing says.

    rows: training rows per epoch, of all sets together; null: as many as the sets have.
    batches: `mixed` puts rows of several sets into one batch, `pure` fills each batch from one set.
    """

    kind: str
    rows: PositiveInt | None = None
    batches: Literal["mixed", "pure"] = "mixed"


class Size(_Mixing):
    """Each set has the share of its rows: with `rows: null`, every row of every set is read once per epoch."""

    kind: Literal["size"] = "size"


class Temperature(_Mixing):
    """Shares follow size^(1/temperature), so that small sets are read more often than their size says.

    temperature: 1 is by size; the higher, the more equal the shares.
    limit: a set counts as if it had at most so many rows; null for no limit.
    """

    kind: Literal["temperature"]
    temperature: Annotated[float, Field(ge=1)]
    limit: PositiveInt | None = None


class Ratio(_Mixing):
    """Fixed shares. shares: data set -> its share, in relation to those of the others; 2 and 1 are 2/3 and 1/3."""

    kind: Literal["ratio"]
    shares: Annotated[dict[str, PositiveFloat], Field(min_length=1)]


class RoundRobin(_Mixing):
    """Batches of one set each, the sets in turn, by name: equal shares, and a small set starts anew when it ends."""

    kind: Literal["round_robin"]
    batches: Literal["pure"] = "pure"


KINDS = ("size", "temperature", "ratio", "round_robin")


def _branch(value: object) -> str | None:
    """A name for errors that cannot be taken for a key: `temperature` is a kind and a key."""
    if isinstance(value, _Mixing):
        return f"kind: {value.kind}"
    return f"kind: {value.get('kind')}" if isinstance(value, dict) else None


def _of_a_known_kind(value: object) -> object:
    """pydantic's own error would list the keys of every kind."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if isinstance(value, dict) and kind not in KINDS:
        text = f"found {shown(kind)} as `kind`; expected one of {listed(KINDS)}{did_you_mean(str(kind), KINDS)}"
        raise PydanticCustomError("unknown_kind", "{text}", {"text": text})
    return value


Mixing = Annotated[
    Annotated[Size, Tag("kind: size")]
    | Annotated[Temperature, Tag("kind: temperature")]
    | Annotated[Ratio, Tag("kind: ratio")]
    | Annotated[RoundRobin, Tag("kind: round_robin")],
    Discriminator(_branch),
    BeforeValidator(_of_a_known_kind),
]
"""The key `mixing` of an experiment; `Size()` where it is not given."""


def weight(mixing: Mixing, name: str, size: int) -> Fraction:
    """What a set of `size` rows counts in relation to the others, exactly. Raises KeyError for a name without share."""
    if isinstance(mixing, Temperature):
        counted = size if mixing.limit is None else min(size, mixing.limit)
        return Fraction(counted ** (1 / mixing.temperature))
    if isinstance(mixing, Ratio):
        return Fraction(str(mixing.shares[name]))  # 0.1 is meant as a tenth
    return Fraction(1) if isinstance(mixing, RoundRobin) else Fraction(size)


def mistakes(mixing: Mixing, sets: Collection[str]) -> Iterator[tuple[KeyPath, str]]:
    """What does not suit the data sets of the experiment: (place below `mixing`, message)."""
    if not isinstance(mixing, Ratio):
        return
    for name in mixing.shares:
        if name not in sets:
            yield (
                ("shares", name),
                f"unknown data set `{name}`; expected one of {listed(sorted(sets))}{did_you_mean(name, sets)}",
            )
    without = sorted(set(sets) - set(mixing.shares))
    if without:
        yield ("shares",), f"found no share for {listed(without)}; expected one for each data set"
