"""What a check can find in a data set: the reasons by name, and what happens to a row that one of them names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mmkd.config.problems import did_you_mean

Policy = Literal["refuse", "quarantine", "accept"]
"""refuse: nothing runs. quarantine: the row is left out, named and counted. accept: the row is used, and counted."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A sort of finding. policy: what happens where a card says nothing else; meaning: for people, one line.

    usable: there is an example all the same, so that a card may accept it.
    """

    policy: Policy
    meaning: str
    usable: bool = False


REASONS: dict[str, Reason] = {
    # Rows that cannot be read as the card says.
    "row_unreadable": Reason("refuse", "the row is not of the file's format, or has another number of columns"),
    "row_not_utf8": Reason("refuse", "the row has bytes that are not text in the card's encoding"),
    "row_too_long": Reason("refuse", "the row is longer than 1 MiB: a broken line end, or a file in a field"),
    "row_empty": Reason("refuse", "the row has neither words nor an image"),
    "column_missing": Reason("refuse", "the row lacks a column that the card names"),
    "column_type": Reason("refuse", "a column holds something else than the card says: a number for a list, a list"),
    "id_missing": Reason("refuse", "the row has no id, or an empty one"),
    "id_repeated": Reason("refuse", "an earlier row of the split has the same id"),
    "label_unknown": Reason("refuse", "the label is none of the card's, or out of the card's range"),
    "label_not_a_number": Reason("refuse", "the value of a `regress` task is NaN, infinite or no number"),
    "label_count": Reason("refuse", "a `tag` task has not one label for each word"),
    "label_bio": Reason("refuse", "an I- tag continues no entity of its type"),
    # Text.
    "text_nul": Reason("refuse", "the text holds a NUL character"),
    "text_surrogate": Reason("refuse", "the text holds half of a UTF-16 pair, which no UTF-8 file can hold"),
    "word_empty": Reason("refuse", "a word of a list of words is empty or holds white space alone"),
    "text_zero_width": Reason("accept", "a word has no visible character; a tokenizer may drop it", True),
    "text_right_to_left": Reason("accept", "the text holds right-to-left letters or direction marks", True),
    "text_empty": Reason("accept", "the row has no word; its image is used alone", True),
    # Images.
    "image_missing": Reason("refuse", "the archive or folder has no image of that name"),
    "image_empty": Reason("refuse", "the image file has no bytes"),
    "image_not_an_image": Reason("refuse", "the file is no image of a format that is read"),
    "image_truncated": Reason("refuse", "the image file ends before its pixels do"),
    "image_corrupt": Reason("refuse", "the image file cannot be decoded to its end"),
    "image_bomb": Reason("refuse", "the image has more pixels than is safe to decode"),
    "image_animated": Reason("refuse", "the file holds several frames; which one the label is for is unknown", True),
    "image_cmyk": Reason("refuse", "the image has print colours, which become RGB only with its colour profile", True),
    "image_16_bit": Reason("refuse", "the image has more than 8 bits a channel; they are scaled to 8", True),
    "image_palette": Reason("accept", "the image has a palette; its colours are looked up", True),
    "image_alpha": Reason("accept", "the image has transparent pixels; it is laid on white", True),
    # Between rows.
    "row_repeated": Reason("accept", "an earlier row of the split has the same text and the same image", True),
    "text_across_splits": Reason("refuse", "a row of another split has the same text", True),
    "image_across_splits": Reason("refuse", "a row of another split has the same image", True),
    "text_near_across_splits": Reason("accept", "a row of another split has nearly the same text", True),
    "image_near_across_splits": Reason("accept", "a row of another split has nearly the same image", True),
    "group_across_splits": Reason("refuse", "a row of another split belongs to the same group", True),
    # Files and splits: there is no row to leave out.
    "split_empty": Reason("refuse", "a split has no row that can be used"),
    "split_size": Reason("refuse", "a split has another number of rows than the card says"),
}
"""Every reason, in the order in which reports list them."""

WITHOUT_A_ROW = frozenset({"split_empty", "split_size"})
"""Reasons that no row can be left out for: their policy is always to refuse."""


def policy_mistakes(policy: Mapping[str, str]) -> dict[str, str]:
    """Reason -> what is wrong with the policy that a card or an experiment chooses for it."""
    found = {}
    for reason, chosen in policy.items():
        if reason not in REASONS:
            found[reason] = f"found no reason `{reason}`{did_you_mean(reason, REASONS)}"
        elif chosen not in allowed(reason):
            found[reason] = f"found {chosen}; expected {' or '.join(allowed(reason))}"
    return found


def allowed(reason: str) -> tuple[Policy, ...]:
    """The policies that can be chosen for a reason: only what leaves an example behind can be accepted."""
    if reason in WITHOUT_A_ROW:
        return ("refuse",)
    return ("refuse", "quarantine", "accept") if REASONS[reason].usable else ("refuse", "quarantine")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found. reason: a key of REASONS. file: below the data root; row: a line, from 1.

    id, field, row and file are None where there is none. message: what was found, and what was expected.
    """

    reason: str
    split: str
    file: str | None
    row: int | None
    id: str | None
    field: str | None
    message: str

    def __str__(self) -> str:
        """`file:row: field: message (reason)`, without the parts that there are not."""
        place = ":".join(str(part) for part in (self.file or self.split, self.row) if part is not None)
        named = f"row {self.id!r}" if self.id is not None else None
        return ": ".join(part for part in (place, named, self.field, self.message) if part) + f" ({self.reason})"
