"""A linear student: sums of features give sums of logits, and nothing sees its neighbours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from mmkd.config.encoders import StudentImage, StudentText
from mmkd.config.experiment import Student as Config
from mmkd.data.corpus import Corpus
from mmkd.encoders.bag import BagEncoder
from mmkd.encoders.pixels import PixelEncoder
from mmkd.student.stored import read_student, save_student
from mmkd.student.student import Student
from tiny_project import IMAGE, TASKS, TEXT, everything, listed_corpus, random_rows, same_weights

BAG: dict[str, Any] = {"bag": {"width": 6}, "vocabulary": 120, "max_tokens": 64}
PIXELS: dict[str, Any] = {"pixels": {"width": 5, "side": 4}, "size": 48}


def student_of(corpus: Corpus, **changes: Any) -> Student:
    torch.manual_seed(0)
    sections = {"text": BAG, "image": PIXELS, "width": 10, "fusion": "linear"} | changes
    return Student(Config.model_validate(sections), TASKS, corpus.readers, {}).eval()


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return listed_corpus(random_rows(12), tmp_path / "data")


def test_a_bag_is_the_mean_of_its_sub_tokens_vectors(corpus: Corpus):
    own = BagEncoder(Config.model_validate({"text": BAG}).text.bag, corpus.readers.text["student"])
    tokens = everything(corpus).tokens["student"]
    words = int(tokens.word.max()) + 1
    found = own(tokens, words)
    for row in range(12):
        vectors = {
            w: [own.vectors.weight[i] for i, k in zip(tokens.ids[row], tokens.word[row], strict=True) if k == w]
            for w in range(words)
        }
        every = [vector for each in vectors.values() for vector in each]
        expected = torch.stack(every).mean(0) if every else torch.zeros(6)
        torch.testing.assert_close(found.pooled[row], expected)
        for w, each in vectors.items():
            assert bool(found.hidden[0].mask[row, w]) == bool(each)
            if each:
                torch.testing.assert_close(found.hidden[0].values[row, w], torch.stack(each).mean(0))


def test_pixels_are_averaged_to_squares_and_absent_ones_are_zeros():
    section = StudentImage.model_validate(PIXELS)
    assert section.pixels is not None
    own = PixelEncoder(section.pixels, section)
    pixels = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
    found = own(pixels, torch.tensor([True, False]))
    squares = [
        [[pixels[0, c, 12 * y : 12 * y + 12, 12 * x : 12 * x + 12].float().mean() for x in range(4)] for y in range(4)]
        for c in range(3)
    ]
    scaled = (torch.tensor(squares) / 255 - 0.5) / 0.5
    torch.testing.assert_close(found.pooled[0], own.linear(scaled.flatten()))
    assert not found.pooled[1].any()
    assert found.hidden[0].mask.tolist() == [[True], [False]]


def logits_along(student: Student, corpus: Corpus) -> list[torch.Tensor]:
    """Logits of images that lie on a line: dark, half-way, bright."""
    batch = everything(corpus)
    here = torch.ones_like(batch.has_image)
    levels = [torch.full_like(batch.images["student"], level) for level in (0, 100, 200)]
    return [student(replace(batch, images={"student": one}, has_image=here)).logits["mood"] for one in levels]


def test_only_the_linear_student_is_linear(corpus: Corpus):
    dark, middle, bright = logits_along(student_of(corpus), corpus)
    torch.testing.assert_close(middle, (dark + bright) / 2, rtol=0, atol=1e-5)
    assert (bright - dark).abs().max() > 1e-2
    dark, middle, bright = logits_along(student_of(corpus, fusion="mlp"), corpus)
    assert (middle - (dark + bright) / 2).abs().max() > 1e-4


def test_every_weight_of_it_learns(corpus: Corpus):
    student = student_of(corpus)
    said = student(everything(corpus))
    sum(logits.square().sum() for logits in said.logits.values()).backward()
    assert [name for name, p in student.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("text", "image"), [(BAG, PIXELS), (BAG, IMAGE), (TEXT, PIXELS)])
def test_it_is_stored_whole(tmp_path: Path, corpus: Corpus, text: dict[str, Any], image: dict[str, Any]):
    student = student_of(corpus, text=text, image=image)
    save_student(tmp_path / "seed0", student, corpus.readers, {})
    stored = read_student(tmp_path / "seed0")
    again = stored.student({}).eval()
    assert same_weights(again.state_dict(), student.state_dict())
    batch = everything(corpus)
    assert torch.equal(again(batch).logits["mood"], student(batch).logits["mood"])


def test_it_has_the_layer_0_alone(corpus: Corpus):
    config = Config.model_validate({"text": BAG, "image": PIXELS})
    with pytest.raises(ValueError, match=r"layers \[1\]: a bag of words has the layer 0 alone"):
        Student(config, TASKS, corpus.readers, {"text": (0, 1)})
    with pytest.raises(ValueError, match=r"layers \[2\]: a linear map of pixels has the layer 0 alone"):
        Student(config, TASKS, corpus.readers, {"image": (2,)})


@pytest.mark.parametrize(
    ("section", "plain", "expected"),
    [
        (StudentText, {}, "exactly one of `model`, `architecture`, `start` and `bag`"),
        (StudentText, {"model": "m", "bag": {}}, "exactly one of `model`, `architecture`, `start` and `bag`"),
        (StudentText, {"bag": {}}, "`vocabulary` goes with `architecture` or `bag`"),
        (StudentText, {"model": "m", "vocabulary": 9}, "`vocabulary` goes with `architecture` or `bag`"),
        (StudentText, {"start": {"teacher": "t", "layers": [2, 1]}}, "numbers of blocks that rise"),
        (StudentText, {"start": {"teacher": "t", "layers": [-1, 1]}}, "numbers of blocks that rise"),
        (StudentImage, {}, "exactly one of `model`, `start` and `pixels`"),
        (StudentImage, {"model": "m", "pixels": {}}, "exactly one of `model`, `start` and `pixels`"),
        (StudentImage, {"pixels": {}, "weights": "w.safetensors"}, "`pretrained` and `weights` go with `model`"),
    ],
)
def test_a_section_of_several_origins_is_refused(section: type[Any], plain: dict[str, Any], expected: str):
    with pytest.raises(ValidationError, match=expected):
        section.model_validate(plain)
