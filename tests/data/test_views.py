"""A view follows from (seed, id, number) alone; labels go with their words, the image is that of the view."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from mmkd.config.augment import Augment
from mmkd.data import views
from mmkd.data.base import Example
from mmkd.data.pixels import ImageReader
from mmkd.data.views import view_identity, view_of, view_seed

TAGS = {"ner": ("B-X", "I-X", "O")}
LEXICON = {"good": ("fine", "sound")}
FULL = {
    "views": 8,
    "seed": 3,
    "text": {"drop": 0.2, "swap": 0.2, "mask": 0.2, "synonym": 0.5, "lexicon": "words.tsv"},
    "image": {"crop": {}, "flip": 0.5, "jitter": {"brightness": 0.4, "hue": 0.1}, "policy": "trivial"},
}
WORDS = (*("the", "good", "bank", "of", "Acme", "Corp", "pays"), *("good", "money", "to", "all", "of", "us"))
LABELS = {"ner": (2, 2, 2, 2, 0, 1, *[2] * 7), "mood": 1, "topics": frozenset({0, 2}), "price": 1.5}


def augment(**changes: Any) -> Augment:
    return Augment.model_validate({**FULL, **changes})


def photo() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((120, 80), Image.Resampling.BICUBIC).save(stream, "PNG")
    return stream.getvalue()


EXAMPLE = Example("train/1", WORDS, photo, LABELS, group="g", file="f", row=2, image_name="i")


def view(number: int = 0, example: Example = EXAMPLE, section: Augment | None = None) -> Example:
    return view_of(example, section or augment(), number, TAGS, LEXICON)


def image(example: Example) -> bytes:
    assert example.image is not None
    return example.image()


@pytest.mark.parametrize(
    ("seed", "sample_id", "number", "expected"),
    [
        # printf '0:0:train-0' | sha256sum, the first 32 digits
        (0, "train-0", 0, "b9f0da05b95d2c71ee9bea41943ef3db"),
        (7, "é:1", 12, "dc47396e4714818a1c3ea5e78a389be6"),
    ],
)
def test_the_seed_of_a_view_is_that_of_any_machine(seed: int, sample_id: str, number: int, expected: str):
    assert f"{view_seed(seed, sample_id, number):032x}" == expected


def test_no_two_triples_share_a_seed():
    ids = ["a", "1:a", "0:1:a", "", "\ud800"]
    assert (
        len({view_seed(seed, one, number) for seed in range(12) for one in ids for number in range(12)}) == 12 * 12 * 5
    )


def test_without_a_section_or_a_view_it_is_the_example_itself():
    assert view_of(EXAMPLE, None, 0, TAGS, {}) is EXAMPLE
    assert view_of(EXAMPLE, augment(), None, TAGS, LEXICON) is EXAMPLE


def test_labels_of_words_follow_their_words_and_others_stay():
    unlike = replace(EXAMPLE, words=tuple(f"{word}{place}" for place, word in enumerate(WORDS)))
    seen = set()
    for number in range(8):
        found = view(number, unlike)
        ner = found.labels["ner"]
        assert isinstance(ner, tuple) and len(ner) == len(found.words)
        labels = dict(zip(unlike.words, LABELS["ner"], strict=True))
        assert [labels.get(word, 2) for word in found.words] == list(ner)
        start = found.words.index("Acme4")
        assert found.words[start : start + 2] == ("Acme4", "Corp5")
        assert {**found.labels, "ner": None} == {**LABELS, "ner": None}
        assert replace(found, words=unlike.words, labels=LABELS, image=photo) == unlike
        seen.add(found.words)
    assert len(seen) == 8


def test_seeds_views_and_ids_each_give_another_view():
    others = [
        *(view(number) for number in range(8)),
        view(0, replace(EXAMPLE, id="train/2")),
        view(0, section=augment(seed=4)),
    ]
    assert len({other.words for other in others}) == 10
    assert len({image(other) for other in others}) == 10


def test_order_and_repetition_do_not_matter():
    forward = [(view(number).words, image(view(number))) for number in range(8)]
    backward = [(view(number).words, image(view(number))) for number in reversed(range(8))]
    assert backward[::-1] == forward
    example = view(5)
    assert image(example) == image(example)


def test_what_happens_to_words_does_not_change_the_image_nor_the_reverse():
    other = {"text": {"drop": 0.9}, "image": {"erase": 1.0}}
    assert image(view(1, section=augment(text=other["text"]))) == image(view(1))
    assert image(view(1, section=augment(text=None))) == image(view(1))
    assert view(1, section=augment(image=other["image"])).words == view(1).words
    assert view(1, section=augment(views=None)).words == view(1).words


def test_the_streams_of_words_and_image_are_not_the_same():
    assert views._generator(5, "text").random() != views._generator(5, "image").random()


def test_a_section_for_one_modality_leaves_the_other():
    assert view(section=augment(text=None)).words == WORDS
    assert view(section=augment(image=None)).image is photo
    assert view(example=replace(EXAMPLE, image=None)).image is None
    empty = replace(EXAMPLE, words=(), labels={"mood": 1})
    assert (view(example=empty).words, view(example=empty).labels) == ((), {"mood": 1})


@pytest.mark.parametrize("batch_size", [1, 3])
def test_workers_and_batches_give_the_same_views(batch_size: int):
    examples = [replace(EXAMPLE, id=str(number)) for number in range(6)]
    expected = [(view(2, example).words, image(view(2, example))) for example in examples]

    class Rows:
        def __len__(self) -> int:
            return len(examples)

        def __getitem__(self, place: int) -> tuple[tuple[str, ...], bytes]:
            found = view(2, examples[place])
            return found.words, image(found)

    loader = DataLoader(Rows(), batch_size, num_workers=2, collate_fn=list)  # type: ignore[arg-type]
    assert [row for batch in loader for row in batch] == expected


SCRIPT = """
import json, sys
from mmkd.config.augment import Augment
from mmkd.data.base import Example
from mmkd.data.views import view_identity, view_of
full, tags, lexicon, words, ner = json.loads(sys.argv[1])
augment = Augment.model_validate(full)
example = Example("train/1", tuple(words), None, {"ner": tuple(ner)})
found = [view_of(example, augment, view, tags, lexicon).words for view in range(8)]
assert "torch" not in sys.modules
print(json.dumps([found, view_identity(augment, 0, "image", lexicon)]))
"""


def test_another_process_gives_the_same_words_and_needs_no_torch():
    given = json.dumps([FULL, TAGS, LEXICON, WORDS, LABELS["ner"]])
    done = subprocess.run([sys.executable, "-c", SCRIPT, given], capture_output=True, text=True, check=True)
    words, identity = json.loads(done.stdout)
    assert [tuple(one) for one in words] == [view(number).words for number in range(8)]
    assert identity == view_identity(augment(), 0, "image", LEXICON)


def test_a_view_can_be_sent_to_another_process():
    assert image(pickle.loads(pickle.dumps(view(3)))) == image(view(3))


def encoded(mode: str, format: str) -> bytes:
    with Image.open(io.BytesIO(photo())) as opened:
        stream = io.BytesIO()
        opened.convert(mode).save(stream, format)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("mode", "format"),
    [("RGB", "PNG"), ("RGB", "JPEG"), ("L", "PNG"), ("P", "PNG"), ("RGBA", "WEBP"), ("CMYK", "JPEG")],
)
def test_a_view_that_changes_nothing_reads_as_the_image_does(mode: str, format: str):
    content = encoded(mode, format)
    found = view(example=replace(EXAMPLE, image=lambda: content), section=augment(image={"flip": 0.0}))
    assert np.array_equal(ImageReader(64).read(image(found)), ImageReader(64).read(content))


def test_transparent_pixels_read_as_the_image_reader_reads_them():
    pixels = np.full((20, 30, 4), 80, np.uint8)
    pixels[:10, :, 3] = 0
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    found = view(example=replace(EXAMPLE, image=stream.getvalue), section=augment(image={"flip": 0.0}))
    assert np.array_equal(ImageReader(16).read(image(found)), ImageReader(16).read(stream.getvalue()))


def test_a_photo_that_was_taken_sideways_is_upright_in_its_view():
    turned = Image.Exif()
    turned[0x0112] = 6
    stream = io.BytesIO()
    Image.open(io.BytesIO(photo())).save(stream, "JPEG", exif=turned)
    found = view(example=replace(EXAMPLE, image=stream.getvalue), section=augment(image={"flip": 0.0}))
    with Image.open(io.BytesIO(image(found))) as opened:
        assert opened.size == (80, 120)


def test_two_readers_see_the_same_view():
    def small(number: int, size: int) -> np.ndarray:
        """The view as a reader of that size sees it, as means of a grid of 8 x 8 fields."""
        seen = ImageReader(size).read(image(view(number))).astype(float)
        return seen.reshape(3, 8, size // 8, 8, size // 8).mean((2, 4))

    for number in range(8):
        assert np.abs(small(number, 224) - small(number, 64)).max() < 6
    assert np.abs(small(0, 224) - small(1, 64)).max() > 20


def test_a_broken_image_raises_oserror_as_the_reader_does():
    broken = view(example=replace(EXAMPLE, image=lambda: photo()[:200]))
    with pytest.raises(OSError):
        image(broken)


def test_misuse_is_named():
    with pytest.raises(ValueError, match=r"found the view 8; expected one from 0, and less than `views` \(8\)"):
        view(8)
    with pytest.raises(ValueError, match="found the view -1"):
        view(-1)
    assert view(1000, section=augment(views=None)).words != WORDS
    with pytest.raises(
        ValueError, match="row 'train/1': found labels of words for `ner`; expected its names in `tags`"
    ):
        view_of(EXAMPLE, augment(), 0, {}, LEXICON)


def test_the_identity_is_none_where_the_row_is_as_it_was():
    assert view_identity(None, 0, "text", {}) is None
    assert view_identity(augment(), None, "text", LEXICON) is None
    assert view_identity(augment(text=None), 0, "text", {}) is None
    assert view_identity(augment(text=None), 0, "image", {}) is not None


def test_the_identity_changes_with_what_changes_the_view_and_with_nothing_else(monkeypatch: pytest.MonkeyPatch):
    def both(section: Augment, number: int = 0, lexicon: Any = LEXICON) -> tuple[str | None, str | None]:
        return view_identity(section, number, "text", lexicon), view_identity(section, number, "image", lexicon)

    text, picture = both(augment())
    assert text != picture
    assert both(augment(views=None)) == (text, picture)
    assert both(augment(text={**FULL["text"], "lexicon": "elsewhere.tsv"})) == (text, picture)
    assert both(augment(text={**FULL["text"], "drop": 0.3}))[1] == picture
    assert both(augment(text={**FULL["text"], "drop": 0.3}))[0] != text
    assert both(augment(image={"flip": 0.1}))[0] == text
    assert both(augment(image={"flip": 0.1}))[1] != picture
    assert both(augment(), lexicon={"good": ("fine",)})[0] != text
    assert not {*both(augment(seed=4)), *both(augment(), 1)} & {text, picture}
    monkeypatch.setattr(views, "version", lambda name: "0")
    assert not {*both(augment())} & {text, picture}
    monkeypatch.undo()
    monkeypatch.setattr(views, "code_hash", lambda *paths: str([Path(path).name for path in paths]))
    assert not {*both(augment())} & {text, picture}
