"""Stored outputs of a teacher: read by id, put in the task's order of labels, refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import feather

from mmkd.arrays import file_hash
from mmkd.data.base import DataError
from mmkd.data.corpus import Corpus, Readers
from mmkd.teachers import precomputed
from tiny_project import TASKS, everything, listed_corpus, random_rows

ROWS = random_rows(12)
LABELS = {name: list(TASKS[name].labels) for name in ("mood", "ner")}


def columns(rows: int = 12) -> dict[str, list[Any]]:
    generator = np.random.default_rng(0)
    return {
        "id": [f"train/{number}" for number in range(rows)],
        "mood": generator.normal(size=(rows, 3)).tolist(),
        "ner": [generator.normal(size=(len(row.text.split()), 3)).tolist() for row in ROWS[:rows]],
        "vector": generator.normal(size=(rows, 5)).tolist(),
    }


def write(folder: Path, values: dict[str, Any], labels: object = LABELS, kind: str = "parquet") -> Path:
    path = folder / f"said.{kind}"
    table = pa.table(values)
    if labels is not None:
        table = table.replace_schema_metadata({"labels": json.dumps(labels)})
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        feather.write_feather(table, path)
    return path


def teacher_of(path: Path, **changes: Any) -> precomputed.Teacher:
    config = precomputed.Config.model_validate({"file": str(path), "tasks": ["mood", "ner"], **changes})
    return precomputed.Teacher(config, "api", {name: TASKS[name] for name in config.tasks}, Readers({}, {}))


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return listed_corpus(ROWS, tmp_path / "data")


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_what_the_file_says_is_said_by_id(tmp_path: Path, corpus: Corpus, kind: str):
    values = columns()
    order = np.random.default_rng(1).permutation(12)
    path = write(tmp_path, {name: [column[i] for i in order] for name, column in values.items()}, kind=kind)
    teacher = teacher_of(path, pooled={"text": "vector"})
    batch = corpus.batch(np.array([7, 2, 9, 1]))
    said = teacher(batch)
    for place, name in enumerate(batch.ids):
        row = values["id"].index(name)
        assert said.logits["mood"][place].tolist() == pytest.approx(values["mood"][row])
        words = int(batch.word_mask[place].sum())
        assert np.allclose(said.logits["ner"][place, :words].numpy(), np.reshape(values["ner"][row], (-1, 3)))
        assert not said.logits["ner"][place, words:].any()
        assert said.pooled["text"][place].tolist() == pytest.approx(values["vector"][row])
    assert said.speaks.all()
    assert torch.equal(said.words, batch.word_mask)
    assert torch.equal(said.has["text"], batch.has_text)
    assert teacher.origin() == {"file": file_hash(path)}


def test_labels_in_another_order_are_put_in_ours(tmp_path: Path, corpus: Corpus):
    values = columns()
    path = write(tmp_path, values, {**LABELS, "mood": ["good", "bad", "flat"]})  # ours: bad, flat, good
    said = teacher_of(path)(everything(corpus))
    for place, name in enumerate(everything(corpus).ids):
        good, bad, flat = values["mood"][values["id"].index(name)]
        assert said.logits["mood"][place].tolist() == pytest.approx([bad, flat, good])
    stated = teacher_of(path, labels={"mood": LABELS["mood"]})(everything(corpus))  # the config overrules the file
    assert not torch.equal(stated.logits["mood"], said.logits["mood"])


def changed(column: str, row: int, value: object) -> dict[str, list[Any]]:
    values = columns()
    values[column][row] = value
    return values


NAN = float("nan")
REFUSED = [
    (changed("id", 5, "train/1"), {}, LABELS, r"said.parquet:6: id: `train/1` stands in row 2 already"),
    (changed("id", 5, None), {}, LABELS, r":6: id: found null"),
    (changed("mood", 4, [0.0, 1.0]), {}, LABELS, r":5: mood: `train/4`: found 2 numbers; expected 3"),
    (changed("mood", 4, [0.0, NAN, 1.0]), {}, LABELS, r":5: mood: `train/4`: found nan or null"),
    (changed("mood", 4, [0.0, None, 1.0]), {}, LABELS, r":5: mood: `train/4`: found nan or null"),
    (changed("mood", 4, [0.0, 1e300, 1.0]), {}, LABELS, r":5: mood: `train/4`: found inf"),
    (changed("mood", 4, None), {}, LABELS, r":5: mood: `train/4`: found null"),
    (changed("ner", 3, [[0.0, 1.0]]), {}, LABELS, r":4: ner: `train/3`: found 2 numbers; expected 3"),
    (changed("ner", 3, None), {}, LABELS, r":4: ner: `train/3`: found null; expected"),
    (changed("vector", 2, [1.0]), {"pooled": {"text": "vector"}}, LABELS, r":3: vector: .*found 1 numbers; expected 5"),
    (columns(), {"id": "key"}, LABELS, r"key: there is no such column; found id, mood, ner, vector"),
    (columns(), {"id": "mood"}, LABELS, r"mood: is a column of list<.*>; expected ids"),
    (columns(), {"logits": {"mood": "id"}}, LABELS, r"id: is a column of string; expected a list of numbers"),
    (columns(), {"logits": {"ner": "mood"}}, LABELS, r"mood: `train/0`: found 1 numbers; expected 3"),
    (columns(), {"logits": {"risk": "mood"}}, LABELS, r"risk are none of its tasks"),
    (columns(), {}, None, r"api.labels.mood: nothing says which label .*\(bad, flat, good\)"),
    (
        columns(),
        {},
        {**LABELS, "mood": ["bad", "fine", "good"]},
        r"found the labels bad, fine, good; .*bad, flat, good",
    ),
    (columns(), {}, {**LABELS, "mood": ["bad", "good"]}, r"found the labels bad, good; expected .*bad, flat, good"),
    (columns(), {}, ["bad"], r"metadata labels: found"),
]


@pytest.mark.parametrize(("values", "keys", "labels", "message"), REFUSED, ids=[case[3] for case in REFUSED])
def test_what_does_not_fit_is_refused_by_row_and_column(
    tmp_path: Path, values: dict[str, Any], keys: dict[str, Any], labels: object, message: str
):
    with pytest.raises(DataError, match=message):
        teacher_of(write(tmp_path, values, labels), **keys)


def test_missing_rows_are_refused_or_silent(tmp_path: Path, corpus: Corpus):
    path = write(tmp_path, columns(9))
    with pytest.raises(DataError, match=r"3 of 12 training rows are not there, the first train/9.*missing: silent"):
        teacher_of(path).require(corpus)
    silent = teacher_of(path, missing="silent")
    silent.require(corpus)
    batch = everything(corpus)
    said = silent(batch)
    there = torch.tensor([int(name.split("/")[1]) < 9 for name in batch.ids])
    assert torch.equal(said.speaks, there)
    assert torch.equal(said.words, batch.word_mask & there[:, None])
    assert silent.unheard(corpus) == ["train/9", "train/10", "train/11"]
    teacher_of(write(tmp_path, columns())).require(corpus)  # the control


def test_a_word_without_logits_was_not_read(tmp_path: Path, corpus: Corpus):
    values = columns()
    row = next(number for number, words in enumerate(values["ner"]) if len(words) > 1)
    values["ner"][row][1] = None
    teacher, batch = teacher_of(write(tmp_path, values)), everything(corpus)
    teacher.require(corpus)
    said = teacher(batch)
    expected = batch.word_mask.clone()
    expected[batch.ids.index(f"train/{row}"), 1] = False
    assert torch.equal(said.words, expected)
    assert not said.logits["ner"][~said.words].any()
    assert said.speaks.all()


def test_another_number_of_words_is_refused(tmp_path: Path, corpus: Corpus):
    values = columns()
    row = next(number for number, words in enumerate(values["ner"]) if len(words) > 1)
    values["ner"][row] = values["ner"][row][:-1]
    teacher = teacher_of(write(tmp_path, values))
    words = len(values["ner"][row])
    message = rf"said.parquet:{row + 1}: ner: `train/{row}` has logits for {words} words; expected {words + 1}"
    with pytest.raises(DataError, match=message):
        teacher.require(corpus)
    with pytest.raises(DataError, match=message):
        teacher(everything(corpus))


def test_two_rows_of_one_id_are_refused(tmp_path: Path, corpus: Corpus):
    doubled = Corpus([*corpus.splits, *corpus.splits], corpus.tasks, Readers({}, {}))
    with pytest.raises(DataError, match="`train/0` is the id of two rows of the experiment"):
        teacher_of(write(tmp_path, columns())).require(doubled)


def test_a_file_of_another_format_is_refused(tmp_path: Path):
    path = tmp_path / "said.parquet"
    path.write_text("id,mood\n", "utf-8")
    with pytest.raises(DataError, match="expected a Parquet or an Arrow"):
        teacher_of(path)
    path.write_bytes(b"PAR1 and nothing after")
    with pytest.raises(DataError, match="cannot be read"):
        teacher_of(path)
    with pytest.raises(DataError, match="is not there"):
        teacher_of(tmp_path / "gone.parquet")
