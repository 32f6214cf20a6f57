"""Writes the note of a `market_notes` row: words, their entity tags, and what the best reader would tag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmkd.data import _market_words as words
from mmkd.data._market_model import NO_CUE, NOT_MENTIONED

ENTITIES = ("COMPANY", "TICKER", "MONEY", "DATE", "PERSON")
TAGS = ("O", *(f"{place}-{entity}" for entity in ENTITIES for place in "BI"))

COMPANY_SHARE = 0.6
"""Chance that a doubtful name is a company; else it is a person."""

NEGATED = 0.2
TURNED = 0.35
MARKED = 0.5
"""Shares of the cues that carry a negation, that speak of a figure going up or down instead of a target, and, of
the clear ones, that say so with an adverb (faint ones always do)."""

NAMES = words.name_lists()


@dataclass(frozen=True, slots=True)
class Note:
    """One note. `tags` and `best_tags` are indices into TAGS, one per word; they differ only at doubtful names."""

    words: tuple[str, ...]
    tags: tuple[int, ...]
    best_tags: tuple[int, ...]


def write_note(
    generator: np.random.Generator,
    split: str,
    cue: int,
    statement: int,
    mention: int,
    distractor: float,
    ambiguous: float,
) -> Note:
    """Put the three facts (see `_market_model.Rows`) into words, with names of the split and unrelated asides."""
    writer = Writer(generator, split)
    lead = writer.lead(cue, bool(generator.random() < distractor))
    rest = [writer.risk(statement)]
    if mention != NOT_MENTIONED:
        rest.append(f"{writer.pick(words.STOCK)} {writer.pick(words.PACES[mention])}")
    rest += [writer.pick(words.ASIDES) for _ in range(int(generator.integers(1, 3)))]
    if generator.random() < ambiguous:
        rest.append(writer.pick(words.DOUBTFUL))
    generator.shuffle(rest)
    at = 0 if generator.random() < 0.6 else int(generator.integers(len(rest) + 1))
    for sentence in [*rest[:at], *lead.split(" . "), *rest[at:]]:
        writer.sentence(sentence)
    return Note(tuple(writer.words), tuple(writer.tags), tuple(writer.best_tags))


def cue_phrase(generator: np.random.Generator, cue: int) -> str:
    """What a company did, in words that mean `cue`: an index of five strengths, or NO_CUE."""

    def pick(options: tuple[str, ...]) -> str:
        return options[int(generator.integers(len(options)))]

    if cue == NO_CUE:
        return pick(words.NO_NEWS)
    if cue == 2:
        return pick(words.FLAT)
    negated = bool(generator.random() < NEGATED)
    stated_good = (cue > 2) != negated
    if generator.random() < TURNED:
        rises = bool(generator.random() < 0.5)
        verbs = words.UP if rises else words.DOWN
        figures = words.GOOD_WHEN_UP if rises == stated_good else words.GOOD_WHEN_DOWN
    else:
        verbs, figures = words.ABOVE if stated_good else words.BELOW, words.TARGETS
    base = pick(tuple(verbs))
    negators = words.NEGATORS_OF_GOOD if stated_good else words.NEGATORS_OF_BAD
    verb = f"{pick(negators)} {base}" if negated else verbs[base]
    phrase = f"{verb} {pick(figures)}"
    if cue in (1, 3):
        return f"{phrase} {pick(words.FAINT)}"
    return f"{phrase} {pick(words.CLEAR)}" if generator.random() < MARKED else phrase


class Writer:
    """Collects the words and tags of one note; each name is used for one thing only."""

    def __init__(self, generator: np.random.Generator, split: str) -> None:
        self.generator, self.split = generator, split
        self.words: list[str] = []
        self.tags: list[int] = []
        self.best_tags: list[int] = []
        self._used: set[str] = set()
        self._subject = self._name("company")

    def lead(self, cue: int, with_rival: bool) -> str:
        """The frame that tells of the note's company, and perhaps of a rival that fared in any way."""
        says = cue_phrase(self.generator, cue)
        if not with_rival:
            return self.pick(words.LEADS).format(says=says)
        other = cue_phrase(self.generator, int(self.generator.integers(NO_CUE)))
        return self.pick(words.LEADS_WITH_RIVAL).format(says=says, other=other)

    def risk(self, statement: int) -> str:
        """A sentence that reassures (0), says nothing that matters (1) or warns (2)."""
        frames = (words.REASSURES, words.NO_RISK_NEWS, words.WARNS)[statement]
        return self.pick(frames).format(danger=self.pick(words.DANGERS))

    def sentence(self, frame: str) -> None:
        """Fill the slots of a frame and add it, with a capital and a full stop."""
        start = len(self.words)
        for part in frame.split():
            if part.startswith("<"):
                chosen, entity, best = self._fill(part[1:-1])
                self._add(chosen, entity, best)
            else:
                self._add(part, None, None)
        self.words[start] = self.words[start][0].upper() + self.words[start][1:]
        self._add(".", None, None)

    def pick(self, options: tuple[str, ...] | list[str]) -> str:
        """One of the options, each as likely as the others."""
        return options[int(self.generator.integers(len(options)))]

    def _add(self, text: str, entity: str | None, best: str | None) -> None:
        for place, word in enumerate(text.split()):
            self.words.append(word)
            self.tags.append(_tag(entity, place))
            self.best_tags.append(_tag(best, place))

    def _fill(self, slot: str) -> tuple[str, str | None, str | None]:
        """The words of a slot, their entity, and the entity that the best reader takes them for."""
        match slot:
            case "subject":
                return self._company(self._subject), "COMPANY", "COMPANY"
            case "subject_ticker":
                return words.capitals(self._subject), "TICKER", "TICKER"
            case "company":
                return self._company(self._name("company")), "COMPANY", "COMPANY"
            case "bare":
                return self._name("company"), "COMPANY", "COMPANY"
            case "person":
                return f"{self.pick(words.FIRST_NAMES)} {self._name('person')}", "PERSON", "PERSON"
            case "surname":
                return self._name("person"), "PERSON", "PERSON"
            case "doubtful":
                truth = "COMPANY" if self.generator.random() < COMPANY_SHARE else "PERSON"
                return self._name("any"), truth, "COMPANY"
            case "place":
                return self._name("place"), None, None
            case "ticker":
                return words.capitals(self._name("company")), "TICKER", "TICKER"
            case "code":
                return words.capitals(self._name("place")), None, None
            case "money":
                return self._money(), "MONEY", "MONEY"
            case "count":
                return self._number(), None, None
            case "month":
                return self.pick(words.MONTHS), "DATE", "DATE"
            case "date":
                return self._date(), "DATE", "DATE"
        raise ValueError(f"frame of market_notes: found the slot <{slot}>; expected one that Writer._fill knows")

    def _name(self, use: str) -> str:
        """A name for this use that the note does not have yet, at times from the list that only this split has."""
        if self.generator.random() >= words.HABIT:
            use = "any"
        own = NAMES[self.split, use]
        while True:
            name = self.pick(own if own and self.generator.random() < words.NEW_SHARE else NAMES["", use])
            if name not in self._used:
                self._used.add(name)
                return name

    def _company(self, name: str) -> str:
        shape = self.generator.random()
        if shape < 0.45:
            return name
        if shape < 0.95:
            return f"{name} {self.pick(words.SUFFIXES)}"
        return f"{self.pick(words.FIRST_NAMES)} {name} {self.pick(words.SUFFIXES)}"

    def _number(self) -> str:
        return f"{int(self.generator.integers(2, 60))} {self.pick(words.SCALES)}"

    def _money(self) -> str:
        number = self._number()
        return self.pick((f"${number}", f"€{number}", f"{number} dollars", number))

    def _date(self) -> str:
        month, day = self.pick(words.MONTHS), int(self.generator.integers(1, 29))
        ordinal = "th" if 4 <= day <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
        return self.pick((f"{month} {day}{ordinal}", self.pick(words.WEEKDAYS)))


def _tag(entity: str | None, place: int) -> int:
    return 0 if entity is None else TAGS.index(f"{'I' if place else 'B'}-{entity}")
