"""The word lists and sentence frames of `market_notes`. All names are put together from invented syllables.

In a frame, `<slot>` stands for words that `_market_text.Writer` chooses. A name of "any" use fills <company>, <bare>,
<person>, <surname>, <place> and <doubtful>, its consonants fill <ticker> and <code>, and the same numbers fill
<money> and <count>: only the words around a slot tell which one it is.
"""

from __future__ import annotations

import numpy as np


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_STARTS = _listed("Bel Bran Cor Dar Ev Fen Gal Hol Jor Kel Lan Mor Nor Os Pel Quin Ros Sel Tor Ul Var Wes Yar Zan")
_ENDS = _listed("bury dale den field gate ham land ley low mere mont ridge rock stead ton ver wick wood worth")

FIRST_NAMES = _listed("Ana Ben Carla Dev Elin Farid Hugo Ines Kira Lena Mira Noor Omar Petra Sven Tara May June August")
SUFFIXES = _listed("Foods Energy Group Bank Motors Labs Holdings Steel Air")
MONTHS = _listed("January February March April May June July August September October November December")
WEEKDAYS = _listed("Monday Tuesday Wednesday Thursday Friday")
SCALES = _listed("million billion thousand")

COMMON, NEW_PER_SPLIT = 160, {"train": 0, "transfer": 160, "validation": 60, "test": 60}
"""Names that every split has, and names that only one split has."""

NEW_SHARE = 0.25
"""Share of the names in a split that come from its own list, where it has one."""

USES = ("company", "person", "place", "any")
HABIT = 0.7
"""Chance that a company, person or place gets a name of that use only; else its name is one of "any" use."""


def name_lists() -> dict[tuple[str, str], tuple[str, ...]]:
    """Names by (split, use). The split "" holds the names that all splits share; no name is in two lists."""
    every = [start + end for start in _STARTS for end in _ENDS]
    order = iter(np.random.default_rng(1).permutation(len(every)))
    lists: dict[tuple[str, str], tuple[str, ...]] = {}
    for split, size in {"": COMMON, **NEW_PER_SPLIT}.items():
        for use in USES:
            lists[split, use] = tuple(every[next(order)] for _ in range(size // len(USES)))
    return lists


def capitals(name: str) -> str:
    """A short code from a name's consonants: the ticker of the company of that name, and codes of other things."""
    return "".join(letter for letter in name.upper() if letter not in "AEIOU")[:4]


# Cues. A target is beaten or missed; a figure goes up or down, which is good or bad as the figure is.
ABOVE = {"beat": "beat", "top": "topped", "exceed": "exceeded"}
BELOW = {"miss": "missed", "trail": "trailed", "undershoot": "undershot"}
TARGETS = ("forecasts", "estimates", "expectations", "the consensus")
UP = {"raise": "raised", "lift": "lifted", "increase": "increased"}
DOWN = {"cut": "cut", "lower": "lowered", "reduce": "reduced"}
GOOD_WHEN_UP = ("its outlook", "its dividend", "its guidance", "its sales")
GOOD_WHEN_DOWN = ("its net loss", "its costs", "its writedowns")
NEGATORS_OF_GOOD = ("failed to", "did not", "was unable to")
NEGATORS_OF_BAD = ("did not", "managed not to", "did not have to")
FAINT = ("by a small margin", "only just", "if only slightly")
CLEAR = ("by a wide margin", "by far", "beyond doubt")
FLAT = (
    "met forecasts",
    "reported results in line with estimates",
    "left its outlook unchanged",
    "kept its dividend as it was",
    "matched the consensus",
    "came in as expected",
)
NO_NEWS = (
    "filed its annual report",
    "opened an office in <place>",
    "named <person> to its board",
    "moved its head office to <place>",
    "hired <person> as an adviser",
    "will hold its meeting on <date>",
    "set out its calendar for the year",
    "changed its auditor on <date>",
)

LEADS = (
    "<subject> {says}",
    "<subject> ( <subject_ticker> ) {says}",
    "<subject> {says} , chief executive <person> said",
    "on <date> , <subject> {says}",
    "<subject> {says} , it said on <date>",
    "according to <person> , <subject> {says}",
    "<subject> held a call on <date> . the company {says}",
    "this note covers <subject> ( <subject_ticker> ) . the group {says}",
)
LEADS_WITH_RIVAL = (
    "<subject> {says} , while rival <company> {other}",
    "while rival <company> {other} , <subject> {says}",
    "<subject> ( <subject_ticker> ) {says} after its rival <company> {other}",
    "competitor <company> {other} . <subject> {says}",
    "on <date> rival <company> {other} , but <subject> {says}",
)

# Risk statements: a danger in a frame that affirms or denies it.
DANGERS = (
    "a covenant breach",
    "a default",
    "a funding gap",
    "a credit downgrade",
    "a product recall",
    "a legal claim",
)
WARNS = (
    "{danger} is likely",
    "{danger} cannot be ruled out",
    "auditors warned of {danger}",
    "there is a threat of {danger}",
    "the board fears {danger}",
)
REASSURES = (
    "{danger} is not likely",
    "{danger} can be ruled out",
    "auditors saw no sign of {danger}",
    "there is no threat of {danger}",
    "the board no longer fears {danger}",
)
NO_RISK_NEWS = (
    "auditors signed the accounts",
    "lenders were told of the plan",
    "the board reviewed its rules",
    "the loan terms are unchanged",
)

STOCK = ("the share price", "the stock", "trading in the shares")
PACES = (
    ("barely moved", "was calm", "stayed quiet", "was not volatile"),
    ("moved at its usual pace", "was as volatile as usual", "was neither calm nor wild"),
    ("swung wildly", "was far from calm", "was volatile", "was hectic"),
)
"""Calm, usual, wild."""

ASIDES = (
    "the deal is worth <money>",
    "it booked a charge of <money>",
    "investors put in <money>",
    "the site makes <count> units a year",
    "the service counts <count> users",
    "a charge of <count> volts damaged the plant",
    "<person> said she would join the board",
    "<surname> said he would retire in <month>",
    "Ms <surname> will chair the meeting on <date>",
    "<bare> said it would publish a survey in <month>",
    "supplier <company> ships parts from <place>",
    "customer <bare> renewed its contract on <date>",
    "a site in <place> reopened on <date>",
    "the <place> office has moved",
    "project <code> is on schedule",
    "the <code> standard applies from <month>",
    "index funds hold <ticker>",
    "brokers added <ticker> to their lists",
    "staff may march over pay",
)
DOUBTFUL = (
    "<doubtful> declined to comment",
    "<doubtful> could not be reached",
    "a call to <doubtful> was not returned",
)
