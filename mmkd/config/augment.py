"""Augmented views of the training rows: how many each row has, and what happens to its words and its image.

A view is determined by the seed, the row's id and the view's number alone, so that teacher and student see the same
view and teachers' outputs on it can be kept. No torch here.
"""

import re
from typing import Annotated, Self

from pydantic import Field, Strict, field_validator, model_validator

from mmkd.config.section import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Section

NUMBER = r"\d+(?:\.\d+)?"
POLICIES: dict[str, dict[str, str]] = {
    "trivial": {},
    "rand": {
        "m": r"\d\d?",
        "n": "[1-9]",
        "p": r"0(?:\.\d+)?|1(?:\.0+)?",
        "mstd": NUMBER,
        "mmax": r"[1-9]\d?",
        "inc": "[01]",
        "t": "weights|3aw?",
    },
    "augmix": {
        "m": r"\d\d?",
        "w": "[1-9]",
        "d": "[1-9]",
        "b": "[01]",
        "a": r"(?!0+(?:\.0+)?$)" + NUMBER,
        "mstd": NUMBER,
    },
    **{name: {"mstd": NUMBER} for name in ("original", "originalr", "v0", "v0r", "3a")},
}
"""Names of policies, and what may follow each after a dash: a key and the pattern of its value.

timm's own reader takes `rand-mag9` and `rand-m5-m9` without a word; here both are mistakes.
"""

LowAndHigh = Annotated[tuple[PositiveFloat, PositiveFloat], Strict(False)]


class TextAugment(Section):
    """What happens to words; each number is a chance for each word. Words of an entity stay as they are.

    drop: the word is left out; at least one word of a text stays.
    swap: the word and the next one that is left change places.
    mask: `mask_word` stands in the word's place.
    synonym: an alternative from `lexicon` stands in the place of a word that the lexicon knows.
    mask_word: the default is BERT's mask; choose one that the tokenizers of all text encoders know.
    lexicon: a UTF-8 file with a line for each word: the word and its alternatives, separated by tabs; found as a text
        encoder's `model` is.
    """

    drop: Fraction = 0.0
    swap: Fraction = 0.0
    mask: Fraction = 0.0
    synonym: Fraction = 0.0
    mask_word: Annotated[str, Field(pattern=r"^\S+$", description="One word, without white space.")] = "[MASK]"
    lexicon: str | None = None

    @model_validator(mode="after")
    def _synonyms_from_somewhere(self) -> Self:
        if self.synonym and self.lexicon is None:
            raise ValueError("found `synonym` without a `lexicon`; expected the file that its words come from")
        return self


class Crop(Section):
    """A crop of the image at a random place.

    scale: least and largest share of the image's area.
    ratio: least and largest aspect ratio, as a multiple of the image's own: readers make every image square, so that
        1 keeps the proportions that the reader gives the whole image.
    """

    scale: LowAndHigh = (0.8, 1.0)
    ratio: LowAndHigh = (0.9, 1.1)

    @field_validator("scale")
    @classmethod
    def _shares(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not scale[0] <= scale[1] <= 1:
            raise ValueError(f"found {list(scale)}; expected two shares of at most 1, the smaller first")
        return scale

    @field_validator("ratio")
    @classmethod
    def _around_one(cls, ratio: tuple[float, float]) -> tuple[float, float]:
        # Otherwise a large crop may not fit into the image in any place.
        if not ratio[0] <= 1 <= ratio[1]:
            raise ValueError(f"found {list(ratio)}; expected one of at most 1 and then one of at least 1")
        return ratio


class Jitter(Section):
    """Changes of colour. brightness, contrast, saturation: largest change of the factor, which is drawn around 1.

    hue: largest turn of the colour circle, as a fraction of it, either way.
    """

    brightness: NonNegativeFloat = 0.0
    contrast: NonNegativeFloat = 0.0
    saturation: NonNegativeFloat = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0


class ImageAugment(Section):
    """What happens to an image, in this order and at its own size, before any reader resizes it.

    crop: a part of the image; null: all of it.
    flip: chance that left and right change places; writing in the image becomes mirror writing.
    policy: random operations: a name of timm (`rand-m9-mstd0.5-inc1`, `original-mstd0.5`, `3a`, `augmix-m3-w3`), or
        `trivial` (TrivialAugmentWide, arXiv:2103.10158).
    jitter: changes of colour.
    erase: chance that a random rectangle of 2 to 33 percent of the area becomes black (arXiv:1708.04896).
    """

    crop: Crop | None = None
    flip: Fraction = 0.0
    policy: str | None = None
    jitter: Jitter | None = None
    erase: Fraction = 0.0

    @field_validator("policy")
    @classmethod
    def _known(cls, policy: str | None) -> str | None:
        if policy is None:
            return None
        name, *options = policy.split("-")
        if name not in POLICIES:
            raise ValueError(f"expected one of {', '.join(POLICIES)}, then its options, such as rand-m9-mstd0.5")
        patterns = [rf"(?P<{key}>{key}(?:{value}))" for key, value in POLICIES[name].items()]
        found = [re.fullmatch("|".join(patterns) or "(?!)", option) for option in options]
        wrong = [option for option, match in zip(options, found, strict=True) if match is None]
        if wrong:
            known = ", ".join(f"{key}..." for key in POLICIES[name]) or "nothing"
            raise ValueError(f"`{wrong[0]}` is no option of {name}; expected {known} with a value in its range")
        keys = [match.lastgroup for match in found if match is not None]
        if len(keys) > len(set(keys)):
            raise ValueError("an option stands twice; expected each once")
        return policy


class Augment(Section):
    """Views of the training rows; rows that select and rows that are tested are never changed.

    views: views of each row; epoch e reads view e modulo `views`; null gives a new view in each epoch, for which
        teachers run live.
    seed: of the views, shared by all runs of the experiment.
    text: what happens to words; null leaves them as they are. image: likewise of images.
    """

    views: PositiveInt | None = 4
    seed: Annotated[int, Field(ge=0)] = 0
    text: TextAugment | None = None
    image: ImageAugment | None = None

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if self.text is None and self.image is None:
            raise ValueError("expected `text`, `image` or both")
        return self

    def view_at(self, epoch: int) -> int:
        """The number of the view that an epoch reads, both from 0."""
        return epoch if self.views is None else epoch % self.views
