"""A student on disk: built again without the run's data, models or files, or refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from mmkd import checkpoint
from mmkd.checkpoint import CheckpointError
from mmkd.config.experiment import Student as Config
from mmkd.data.corpus import Corpus
from mmkd.student.stored import FOLDER, TOKENIZER, read_student, save_student
from mmkd.student.student import Student
from tiny_project import IMAGE, TASKS, TEXT, everything, listed_corpus, random_rows, same_weights


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return listed_corpus(random_rows(12), tmp_path / "data")


def student_of(corpus: Corpus, text: object = TEXT, image: object = IMAGE) -> Student:
    torch.manual_seed(0)
    config = Config.model_validate({"text": text, "image": image, "width": 10})
    return Student(config, TASKS, corpus.readers, {}).eval()


def test_it_says_the_same_elsewhere(tmp_path: Path, corpus: Corpus):
    """The text encoder came from a folder that is gone; the run's folder was moved."""
    made = student_of(corpus)
    model = tmp_path / "model"
    made.encoders["text"].model.save_pretrained(model)
    corpus.readers.text["student"].tokenizer.save_pretrained(model)
    student = student_of(corpus, text={"model": str(model), "max_tokens": 64})
    save_student(tmp_path / "seed0", student, corpus.readers, {"epoch": 3})
    shutil.rmtree(model)
    shutil.move(tmp_path / "seed0", tmp_path / "moved")
    stored = read_student(tmp_path / "moved")
    again = stored.student({"text": (0,)}).eval()
    assert same_weights(again.state_dict(), student.state_dict())
    batch = everything(corpus)
    one, other = student(batch), again(batch)
    assert all(torch.equal(one.logits[task], other.logits[task]) for task in TASKS)
    assert other.hidden["text"].keys() == {0, 1}
    assert {name: task.labels for name, task in stored.tasks.items()} == {n: t.labels for n, t in TASKS.items()}
    assert checkpoint.load(tmp_path / "moved" / FOLDER)[1]["epoch"] == 3
    theirs, ours = stored.readers.text["student"], corpus.readers.text["student"]
    for row in random_rows(12):
        assert theirs.read(row.text.split()) == ours.read(row.text.split())
    assert (theirs.padding, theirs.vocabulary, theirs.max_tokens) == (ours.padding, ours.vocabulary, ours.max_tokens)


def test_another_tokenizer_is_refused(tmp_path: Path, corpus: Corpus):
    save_student(tmp_path, student_of(corpus), corpus.readers, {})
    read_student(tmp_path)  # the control
    path = tmp_path / TOKENIZER
    path.write_text(path.read_text("utf-8").replace("falls", "rises"), "utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer.json: sha256 .* not the tokenizer"):
        read_student(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match="sha256 none"):
        read_student(tmp_path)


def test_weights_without_what_builds_them_are_refused(tmp_path: Path, corpus: Corpus):
    checkpoint.save(tmp_path / FOLDER, student_of(corpus).state_dict(), {"epoch": 0, "seed": 0})
    with pytest.raises(CheckpointError, match="stand without student, tasks, labels: an older version"):
        read_student(tmp_path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        read_student(tmp_path / "elsewhere")


def test_an_image_student_needs_no_tokenizer(tmp_path: Path, corpus: Corpus):
    config = Config.model_validate({"image": IMAGE, "width": 10})
    tasks = {"mood": TASKS["mood"]}
    student = Student(config, tasks, corpus.readers, {})
    save_student(tmp_path, student, corpus.readers, {})
    assert not (tmp_path / TOKENIZER).exists()
    again = read_student(tmp_path).student({})
    assert same_weights(again.state_dict(), student.state_dict())
