"""A batch holds what the rows hold, whoever else is in the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mmkd.data.corpus import Corpus, Readers
from mmkd.data.encode import DataSplit
from mmkd.data.relabel import MISSING, same_labels
from mmkd.data.tokens import TextReader
from mmkd.types import Batch
from tiny_project import FORMS, Listed, Row, data_split, everything, listed_corpus, random_rows, readers

NOTES = [Row("Acme falls", 10, {"mood": 2, "ner": (1, 0)}), Row("", 200, {"mood": 0}), Row("all is well", None, {})]
POSTS = [Row("so it goes on", 30, {"feeling": 1, "mood": 2}), Row("yes", 40, {"feeling": 0, "mood": 1})]


def two_sets(folder: Path) -> Corpus:
    """Notes label mood and ner; posts call mood `feeling`, and have another `mood`, which the experiment ignores."""
    notes = data_split(Listed({"train": NOTES}), "train", folder)
    feeling = {"mood": same_labels("feeling", "classify", 3)}
    posts = DataSplit("posts", "train", Listed({"train": POSTS}), folder, feeling)
    tasks = {name: FORMS[name] for name in ("mood", "ner")}
    return Corpus([notes, posts], tasks, readers(folder, NOTES, "student", "other"))


def test_two_data_sets_keep_their_own_labels(tmp_path: Path):
    corpus = two_sets(tmp_path)
    batch = corpus.batch(np.array([3, 0, 4, 2]))
    assert len(corpus) == 5
    assert batch.ids == ("train/0", "train/0", "train/1", "train/2")
    assert batch.rows.tolist() == [3, 0, 4, 2]
    assert batch.labels["mood"].tolist() == [1, 2, 0, MISSING]
    assert batch.has_label["mood"].tolist() == [True, True, True, False]
    assert batch.has_label["ner"].tolist() == [False, True, False, False]
    assert batch.labels["ner"].tolist() == [[-1] * 4, [1, 0, -1, -1], [-1] * 4, [-1] * 4]
    assert [corpus.locate(row) for row in range(5)] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_absence_and_padding(tmp_path: Path):
    corpus = two_sets(tmp_path)
    batch = corpus.batch(np.array([0, 1, 2]))
    assert batch.has_text.tolist() == [True, False, True]
    assert batch.has_image.tolist() == [True, True, False]
    assert batch.word_mask.tolist() == [[True, True, False], [False] * 3, [True] * 3]
    tokens, padding = batch.tokens["student"], corpus.readers.text["student"].padding
    assert (tokens.ids[~tokens.mask] == padding).all()
    assert (tokens.word[~tokens.mask] == -1).all()
    assert tokens.mask[1].tolist() == [True, True] + [False] * (tokens.mask.shape[1] - 2)  # [CLS] [SEP]
    assert tokens.mask.any(0).all()  # no column is padding alone
    assert not batch.images["student"][2].any()


def test_every_reader_has_its_own_inputs(tmp_path: Path):
    batch = everything(two_sets(tmp_path))
    assert batch.tokens.keys() == batch.images.keys() == {"student", "other"}


def content(batch: Batch, place: int) -> dict[str, object]:
    """One row of a batch, without padding."""
    words, tokens = batch.word_mask[place], batch.tokens["student"]
    mask = tokens.mask[place]
    return {
        "id": batch.ids[place],
        "row": int(batch.rows[place]),
        "words": int(words.sum()),
        "tokens": tokens.ids[place][mask].tolist(),
        "word": tokens.word[place][mask].tolist(),
        "image": batch.images["student"][place].flatten().tolist(),
        "has": (bool(batch.has_text[place]), bool(batch.has_image[place])),
        "labels": {
            name: (values[place][words] if values.ndim == 2 else values[place]).tolist()
            for name, values in batch.labels.items()
        },
        "has_label": {name: bool(values[place]) for name, values in batch.has_label.items()},
    }


def test_a_rows_content_is_the_same_in_any_batch(tmp_path: Path):
    corpus = two_sets(tmp_path)
    whole = {int(row): content(everything(corpus), place) for place, row in enumerate(everything(corpus).rows)}
    for rows in ([4], [1], [2, 1], [4, 0, 3], [3, 3, 2]):
        batch = corpus.batch(np.array(rows))
        assert [content(batch, place) for place in range(len(rows))] == [whole[row] for row in rows]


def test_words_and_ids_of_all_rows(tmp_path: Path):
    corpus = two_sets(tmp_path)
    assert corpus.words().tolist() == [2, 0, 3, 4, 1]
    assert corpus.ids() == ["train/0", "train/1", "train/2", "train/0", "train/1"]


def test_transfer_rows_have_no_labels(tmp_path: Path):
    source = Listed({"train": random_rows(4), "transfer": random_rows(4, seed=1, labels=False)})
    splits = [data_split(source, split, tmp_path) for split in ("train", "transfer")]
    batch = everything(Corpus(splits, FORMS, Readers({}, {})))
    for name, labels in batch.labels.items():
        assert batch.has_label[name][:4].any()
        assert not batch.has_label[name][4:].any()
        assert (labels[4:] == MISSING).all()


def test_the_key_follows_the_rows_not_the_readers(tmp_path: Path):
    rows = random_rows(4)
    key = listed_corpus(rows, tmp_path).key
    assert key == listed_corpus(rows, tmp_path, "other").key
    assert key != listed_corpus(rows[:-1], tmp_path).key


def test_a_tokenizer_that_adds_nothing_still_gives_a_column(tmp_path: Path):
    bare = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "yes": 2}, unk_token="[UNK]"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    own = TextReader(PreTrainedTokenizerFast(tokenizer_object=bare, pad_token="[PAD]", unk_token="[UNK]"), 8)
    split = data_split(Listed({"train": [Row("", 10), Row("yes")]}), "train", tmp_path)
    corpus = Corpus([split], {}, Readers({"student": own}, {}))
    tokens = corpus.batch(np.array([0])).tokens["student"]
    assert tokens.ids.tolist() == [[0]]
    assert tokens.mask.tolist() == [[False]]
    assert corpus.batch(np.array([1])).tokens["student"].ids.tolist() == [[2]]


def test_images_are_uint8_channels_first(tmp_path: Path):
    image = everything(two_sets(tmp_path)).images["student"]
    assert image.dtype == torch.uint8
    assert image.shape == (5, 3, 48, 48)
    assert image[0, 0, 5].tolist() == list(range(10, 58))
