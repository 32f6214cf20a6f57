"""How a loss may ask the student to look at a batch once more, with a part of it hidden. No torch here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """The batch with patches of its images and words of its texts hidden, drawn anew for each batch.

    image, text: the share of an image's patches, and of a text's words, that is hidden. patch: side of a patch, pixels.
    """

    image: float = 0.0
    text: float = 0.0
    patch: int = 16
