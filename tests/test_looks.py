"""What is hidden in a look: how much, where, and that nothing of it reaches the student."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmkd.config.experiment import Student as Config
from mmkd.config.looks import Look
from mmkd.looks import chosen, hidden_pixels, partly_hidden
from mmkd.student.student import READER, Student
from mmkd.types import Batch
from tiny_project import IMAGE, TASKS, TEXT, everything, listed_corpus, random_rows

BAG = {"bag": {"width": 8}, "vocabulary": 120}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.75, 0.99])
def test_a_share_of_each_rows_places_is_chosen_and_one_is_left(share: float) -> None:
    places = torch.arange(8) < torch.tensor([8, 5, 1, 0])[:, None]
    found = chosen(places, share)
    assert found.sum(1).tolist() == [int(share * n) for n in (8, 5, 1, 0)]
    assert not (found & ~places).any()


def test_every_place_can_be_chosen() -> None:
    torch.manual_seed(0)
    assert chosen(torch.ones(200, 4, dtype=torch.bool), 0.25).any(0).all()


def test_whole_patches_are_hidden_narrower_ones_at_the_edges() -> None:
    """20 x 12 pixels in patches of 8: 3 x 2, the last row 4 high, the last column 4 wide."""
    hidden = hidden_pixels(torch.zeros(5, 3, 20, 12), 0.5, 8)
    assert hidden.shape == (5, 20, 12)
    for image in hidden:
        cells = [image[8 * i : 8 * i + 8, 8 * j : 8 * j + 8] for i in range(3) for j in range(2)]
        assert all(cell.all() or not cell.any() for cell in cells)
        assert sum(bool(cell.any()) for cell in cells) == 3


def batch_of(folder: Path) -> Batch:
    found: Batch = everything(listed_corpus(random_rows(8), folder))
    return found


def test_hidden_patches_have_the_mean_colour_and_the_rest_stays(tmp_path: Path) -> None:
    batch = batch_of(tmp_path)
    before = batch.images[READER].clone()
    mean = torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1)
    torch.manual_seed(1)
    seen = partly_hidden(batch, Look(image=0.75, patch=16), mean)
    torch.manual_seed(1)
    hidden = hidden_pixels(before, 0.75, 16)
    assert hidden.float().mean() == pytest.approx(6 / 9)  # 48 pixels: 9 patches, of which 6 are hidden
    for channel, value in enumerate((51, 102, 153)):
        assert (seen.images[READER][:, channel][hidden] == value).all()
        assert torch.equal(seen.images[READER][:, channel][~hidden], before[:, channel][~hidden])
    assert torch.equal(batch.images[READER], before)
    assert seen.tokens is batch.tokens


@pytest.mark.parametrize("text", [TEXT, BAG], ids=["transformer", "bag"])
def test_nothing_of_a_hidden_word_reaches_the_student(tmp_path: Path, text: dict) -> None:
    """Other sub-tokens in its place change no output; the word itself is not kept."""
    corpus = listed_corpus(random_rows(8), tmp_path)
    student = Student(Config.model_validate({"text": text, "image": IMAGE, "width": 8}), TASKS, corpus.readers, {})
    student.eval()
    batch = everything(corpus)
    torch.manual_seed(0)
    seen = partly_hidden(batch, Look(text=0.5), None)
    gone = seen.tokens[READER].mask != batch.tokens[READER].mask
    assert gone.any()
    assert torch.equal(gone, (seen.tokens[READER].word == -1) & (batch.tokens[READER].word >= 0))
    assert seen.images is batch.images

    def said(ids: Tensor) -> dict[str, Tensor]:
        out = student(replace(seen, tokens={READER: replace(seen.tokens[READER], ids=ids)}))
        return {**out.logits, "text": out.pooled["text"], "words": out.words, "ner": out.logits["ner"][out.words]}

    ids = seen.tokens[READER].ids
    changed = torch.where(gone, (ids + 1) % 50, ids)
    first, other = said(ids), said(changed)
    for name, values in first.items():
        torch.testing.assert_close(other[name], values)
    whole = student(batch)
    assert first["words"].sum() < whole.words.sum()
    assert not torch.equal(first["text"], whole.pooled["text"])
