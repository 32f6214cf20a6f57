"""Tasks and rows that the tests of sheets and pages are made of."""

import io

from PIL import Image

from mmkd.data.base import Example
from mmkd.data.card import CardTask

MOOD = CardTask(kind="classify", labels=("bad", "good"))
RISK = CardTask(kind="ordinal", labels=("low", "middle", "high"))
NER = CardTask(kind="tag", labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
TOPICS = CardTask(kind="multilabel", labels=("a", "b"))
SCORE = CardTask(kind="regress")


def png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height)).save(stream, "PNG")
    return stream.getvalue()


def row(words: str, image: bytes | None = None, **labels) -> Example:
    return Example("id", tuple(words.split()), None if image is None else lambda: image, labels)
