"""Masks personal data that has a form: addresses, numbers, handles. Names of people have none and are NOT found.

The patterns and checksums are those of Presidio (https://github.com/microsoft/presidio, pattern recognizers only: no
model, no network) and of phonenumbers; handles follow twitter-text's rule for mentions
(https://github.com/twitter/twitter-text), links and the check of domains are this file's own. No torch here.
"""

from __future__ import annotations

import hashlib
import re
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from mmkd.config.problems import did_you_mean
from mmkd.data.base import DataError

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

__all__ = ["MASKS", "TAGS", "Mask", "masker", "masker_identity"]

Mask = Literal["email", "link", "handle", "iban", "credit_card", "us_ssn", "ip_address", "phone"]
"""What can be masked."""

MASKS: tuple[Mask, ...] = get_args(Mask)

TAGS: dict[Mask, str] = {kind: f"[{kind.upper()}]" for kind in MASKS}
"""What stands in a masked word's place."""

LEAST_SCORE = 0.3
"""Drops what Presidio calls very weak: any nine digits as a `us_ssn`, and `::` as an address."""

PHONE_REGIONS = ("US", "GB")
"""Whose numbers are found without a country code; with one (`+49 ...`) those of all countries are. More regions read
`1644`, `3.30 - 5.30` and `0287 0.1204` as numbers."""

PHONE_LENIENCY = 2
"""phonenumbers' STRICT_GROUPING: digits must be grouped as in that country, so `2017 - 01 - 25 01` is no number."""

EMAIL = r"\b[!#$%&'*+\-/=?^_`{|}~.\w]{1,64}@\w+(?:-+\w+)*(?:\.\w+(?:-+\w+)*)+\b"
"""Presidio's, but at most 64 characters before the @ (RFC 5321): its own takes minutes over a long word."""

HANDLE = (
    r"(?:(?<![\w!#$%&*@＠])|(?<=\b[RM]T))[@＠]"  # not inside a word, as in sh@t, unless after RT or MT
    r"(?!\d+(?:am|pm|k|m|x|st|nd|rd|th)?\b)"  # a time, a price or a count: @2pm, @150
    r"\w{2,32}(?:@[\w-]+(?:\.[\w-]+)+)?(?![\w@＠])"  # or Mastodon's @user@server; @_@ is a face
)
CARD = r"\b(?:3\d|4\d|5[0-5]|2[2-7]|6\d)\d{2}[- ]?\d{3,4}[- ]?\d{3,4}[- ]?\d{3,5}\b"
"""Presidio's, with Mastercard's newer range and without numbers that start with 1: `1980 2000 2010 2016` has the right
checksum."""

LINK = r"(?:https?|ftp)://\S+|\bwww\.[\w-]+\.\w\S*"
LINK_WITHOUT_SCHEME = r"(?<![\w@.-])(?:[\w-]+\.)+[a-z]{2,}/\S*"

HINTS: dict[Mask, re.Pattern[str]] = {
    "email": re.compile(r"\S@\w"),
    "link": re.compile(r"://|www\.|\.[a-z]{2,}/", re.IGNORECASE),
    "handle": re.compile(r"[@＠]\w"),
    "iban": re.compile(r"[A-Z]{2}[0-9]{2}"),
    "credit_card": re.compile(r"(?:\d\D?){12}"),
    "us_ssn": re.compile(r"\d{3}[- .]\d{2}[- .]\d{4}"),
    "ip_address": re.compile(r"\d\.\d{1,3}\.\d|:[0-9a-f]{0,4}:", re.IGNORECASE),
    "phone": re.compile(r"(?:\d\D*){7}"),
}
"""A text without it holds nothing of the kind: most texts are done in microseconds."""


def masker(kinds: Sequence[str]) -> Callable[[Sequence[str]], tuple[tuple[str, ...], dict[str, int]]]:
    """A function from words to as many words, and the number of spans masked per kind (kinds without one left out).

    The words are searched as one text, joined by single spaces. A word that any span touches is replaced wholly by
    the tag of the span with the higher score, then the longer one; a span counts when it masked a word. What is left
    is searched again, so that masking twice changes nothing.

    Raises DataError for a kind that is none of `MASKS`, and when Presidio is not installed.
    """
    finders = _finders(_known(kinds))

    def mask(words: Sequence[str]) -> tuple[tuple[str, ...], dict[str, int]]:
        masked, counts = list(words), Counter[str]()
        while found := _mask_found(masked, finders):
            counts += found
        return tuple(masked), dict(counts)

    return mask


def masker_identity(kinds: Sequence[str]) -> str:
    """What decides which words are masked: kinds, versions of the packages, and the sha256 of this file.

    The order of the kinds does not matter. Raises DataError as `masker` does.
    """
    known = _known(kinds)
    packages = ", ".join(f"{name} {version(name)}" for name in ("presidio-analyzer", "phonenumbers", "tldextract"))
    return f"{'+'.join(known)}; {packages}; {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}"


def _known(kinds: Sequence[str]) -> tuple[Mask, ...]:
    """The kinds, each once, in the order of `MASKS`."""
    unknown = [kind for kind in kinds if kind not in MASKS]
    if unknown:
        expected = f"expected some of {', '.join(MASKS)} (names of people have no form to find)"
        message = f"found {', '.join(unknown)}; {expected}{did_you_mean(unknown[0], MASKS)}"
        raise DataError(None, None, "masks", message)
    if find_spec("presidio_analyzer") is None:
        raise DataError(None, None, "masks", "masking needs Presidio, which is not here: pip install 'mmkd[pii]'")
    return tuple(kind for kind in MASKS if kind in kinds)


def _mask_found(words: list[str], finders: Mapping[Mask, EntityRecognizer]) -> Counter[str]:
    """Mask, in place, the words that spans touch; the number of spans per kind that masked a word."""
    text = " ".join(words)
    spans = [
        (kind, span)
        for kind, finder in finders.items()
        if HINTS[kind].search(text)
        for span in finder.analyze(text, finder.supported_entities, None)
        if span.score >= LEAST_SCORE
    ]
    starts = list(accumulate((len(word) + 1 for word in words[:-1]), initial=0))
    counts = Counter[str]()
    for kind, span in sorted(spans, key=lambda each: (-each[1].score, each[1].start - each[1].end, each[1].start)):
        touched = range(bisect_right(starts, span.start) - 1, bisect_right(starts, span.end - 1))
        free = [number for number in touched if words[number] not in TAGS.values()]
        for number in free:
            words[number] = TAGS[kind]
        counts[kind] += bool(free)
    return +counts


def _finders(kinds: Sequence[Mask]) -> dict[Mask, EntityRecognizer]:
    """Presidio's recognizer of each kind."""
    with _hidden("torch", "transformers"):
        from presidio_analyzer import Pattern, PatternRecognizer
        from presidio_analyzer import predefined_recognizers as presidio
    from tldextract import TLDExtract

    # The list of domain endings is the one in the package: Presidio's own e-mail recognizer would download it.
    domains = TLDExtract(cache_dir=None, suffix_list_urls=(), fallback_to_snapshot=True)

    class OfDomain(PatternRecognizer):
        """Keeps what holds a domain whose ending exists."""

        def validate_result(self, pattern_text: str) -> bool:
            return bool(domains.extract_str(pattern_text).fqdn)

    class Link(OfDomain):
        def validate_result(self, pattern_text: str) -> bool:
            return re.match(LINK, pattern_text, re.IGNORECASE) is not None or super().validate_result(pattern_text)

    class Address(presidio.IpRecognizer):
        def invalidate_result(self, pattern_text: str) -> bool:
            """`::D` and `a::b` are addresses by their form; one of a person is longer."""
            return sum(map(str.isalnum, pattern_text)) < 4 or bool(super().invalidate_result(pattern_text))

    makers: dict[Mask, Callable[[], EntityRecognizer]] = {
        "email": lambda: OfDomain("email", patterns=[Pattern("email", EMAIL, 0.5)]),
        "link": lambda: Link("link", patterns=[Pattern("link", f"{LINK}|{LINK_WITHOUT_SCHEME}", 0.6)]),
        "handle": lambda: PatternRecognizer("handle", patterns=[Pattern("handle", HANDLE, 1.0)]),
        "iban": presidio.IbanRecognizer,
        "credit_card": lambda: presidio.CreditCardRecognizer(patterns=[Pattern("card", CARD, 0.3)]),
        "us_ssn": presidio.UsSsnRecognizer,
        "ip_address": Address,
        "phone": lambda: presidio.PhoneRecognizer(supported_regions=PHONE_REGIONS, leniency=PHONE_LENIENCY),
    }
    return {kind: makers[kind]() for kind in kinds}


@contextmanager
def _hidden(*modules: str) -> Iterator[None]:
    """Modules that are not loaded yet cannot be imported meanwhile.

    Presidio imports them where they are installed, for engines that are not used here: seconds, and gigabytes.
    """
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is Python's own mark for it
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
