"""Scores and predictions of every labelled row, however the rows are batched."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import mmkd.evaluate as module
from mmkd.arrays import file_hash
from mmkd.config.experiment import Student as StudentConfig
from mmkd.data.corpus import Corpus
from mmkd.evaluate import Evaluation, evaluate, primary_metrics, write_predictions
from mmkd.record import Score
from mmkd.student.student import Student
from mmkd.tasks import multilabel, regress
from mmkd.tasks.base import Task
from mmkd.types import Batch, Outputs
from tiny_project import IMAGE, TASKS, TEXT, Row, listed_corpus, random_rows

CPU = torch.device("cpu")
MAX_TOKENS = 6  # [CLS], four words of one sub-token each, [SEP]


def corpus_of(folder: Path) -> Corpus:
    return listed_corpus([*random_rows(30), *random_rows(4, seed=3, labels=False)], folder, max_tokens=MAX_TOKENS)


def student_of(corpus: Corpus) -> Student:
    torch.manual_seed(0)
    text = {**TEXT, "max_tokens": MAX_TOKENS}
    config = StudentConfig.model_validate({"text": text, "image": IMAGE, "width": 8})
    student = Student(config, TASKS, corpus.readers, {})
    with torch.no_grad():  # far from uniform, so that predictions differ from row to row
        for parameter in student.heads.parameters():
            parameter.mul_(20)
    return student


def by_key(evaluation: Evaluation) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["task"], row["id"]): row for row in evaluation.predictions}


def test_batches_do_not_change_scores_or_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    corpus = corpus_of(tmp_path)
    student = student_of(corpus)
    whole = evaluate(student, corpus, TASKS, CPU)
    for size in (1, 7):
        monkeypatch.setattr(module, "BATCH", size)
        parts = evaluate(student, corpus, TASKS, CPU)
        assert parts.scores.keys() == whole.scores.keys()
        for task, metrics in whole.scores.items():
            assert {name: score.value for name, score in parts.scores[task].items()} == pytest.approx(
                {name: score.value for name, score in metrics.items()}, abs=1e-5
            )
        assert [(row["task"], row["id"]) for row in parts.predictions] == [
            (row["task"], row["id"]) for row in whole.predictions
        ]
        for one, other in zip(parts.predictions, whole.predictions, strict=True):
            assert np.array_equal(one["predictions"], other["predictions"])
            np.testing.assert_allclose(one["estimates"], other["estimates"], rtol=0, atol=1e-4)


def test_every_labelled_row_is_there_once_and_no_other(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    rows = random_rows(30)
    found = by_key(evaluate(student_of(corpus), corpus, TASKS, CPU))
    expected = {(task, f"train/{n}") for n, row in enumerate(rows) for task in row.labels}
    assert found.keys() == expected
    for (task, name), row in found.items():
        assert np.array_equal(row["labels"], rows[int(name.split("/")[1])].labels[task])


def test_probabilities_are_the_networks_own_and_cut_words_count_as_outside(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    student = student_of(corpus)
    found = by_key(evaluate(student, corpus, TASKS, CPU))
    cut = 0
    for row, name in enumerate(corpus.ids()[:30]):
        with torch.no_grad():
            out = student(corpus.batch(np.array([row])))
        expected = out.logits["mood"][0].softmax(-1).numpy()
        np.testing.assert_allclose(found["mood", name]["estimates"], expected, rtol=0, atol=1e-4)
        if ("ner", name) not in found:
            continue
        ner = found["ner", name]
        words = int(corpus.words()[row])
        assert ner["estimates"].shape == (words, 3)
        assert np.isnan(ner["estimates"][4:]).all()
        assert not np.isnan(ner["estimates"][:4]).any()
        assert not ner["predictions"][4:].any()
        np.testing.assert_array_equal(ner["predictions"][:4], ner["estimates"][:4].argmax(-1))
        cut += max(0, words - 4)
    assert cut > 20


def test_scores_are_the_tasks_own(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    evaluation = evaluate(student_of(corpus), corpus, TASKS, CPU)
    moods = [row for row in evaluation.predictions if row["task"] == "mood"]
    right = sum(int(row["labels"] == row["predictions"]) for row in moods)
    assert evaluation.scores["mood"]["accuracy"].value == pytest.approx(right / 30)
    words = [
        (gold, guess)
        for row in evaluation.predictions
        if row["task"] == "ner"
        for gold, guess in zip(row["labels"], row["predictions"], strict=True)
    ]
    assert evaluation.scores["ner"]["accuracy"].value == pytest.approx(sum(a == b for a, b in words) / len(words))
    firsts = [evaluation.scores[task][metric].value for task, metric in primary_metrics(evaluation.scores).items()]
    assert evaluation.mean_score() == pytest.approx(sum(firsts) / 3)
    assert primary_metrics(evaluation.scores) == {"mood": "macro_f1", "risk": "qwk", "ner": "entity_f1"}


class Spy(nn.Module):
    """Passes batches on, and keeps what it was shown."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.seen = inner, []

    def forward(self, batch: Batch) -> Outputs:
        self.seen.append((batch.has_text.any().item(), batch.has_image.any().item(), self.inner.training))
        return self.inner(batch)


@pytest.mark.parametrize("modality", ["text", "image"])
def test_without_hides_a_modality(tmp_path: Path, modality: str):
    corpus = corpus_of(tmp_path)
    student = student_of(corpus)
    spy = Spy(student)
    whole, hidden = by_key(evaluate(spy, corpus, TASKS, CPU)), by_key(evaluate(spy, corpus, TASKS, CPU, modality))
    count = len(spy.seen) // 2
    assert spy.seen[:count] == [(True, True, False)] * count
    assert spy.seen[count:] == [(modality != "text", modality != "image", False)] * count
    rows = random_rows(30)
    for (task, name), row in hidden.items():
        own = rows[int(name.split("/")[1])]
        has = bool(own.text) if modality == "text" else own.grey is not None
        if task == "ner":
            assert np.isnan(row["estimates"]).all() == (modality == "text")
            assert not (modality == "text" and row["predictions"].any())
        else:
            same = np.allclose(row["estimates"], whole[task, name]["estimates"], atol=1e-5)
            assert same == (not has)


def test_the_network_is_evaluated_and_left_in_evaluation_mode(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    student = student_of(corpus).train()
    one = evaluate(student, corpus, TASKS, CPU)
    assert not student.training
    assert one.mean_score() == evaluate(student, corpus, TASKS, CPU).mean_score()


def test_a_task_without_a_label_has_no_score(tmp_path: Path):
    rows = [Row(row.text, row.grey, {"mood": row.labels["mood"]}) for row in random_rows(10)]
    corpus = listed_corpus(rows, tmp_path, max_tokens=MAX_TOKENS)
    evaluation = evaluate(student_of(corpus), corpus, TASKS, CPU)
    assert evaluation.scores.keys() == {"mood"}


def test_mean_score_is_over_first_metrics():
    scores = {"a": {"x": Score(value=0.5, n=1), "y": Score(value=9.0, n=1)}, "b": {"z": Score(value=0.1, n=1)}}
    assert Evaluation(scores, []).mean_score() == pytest.approx(0.3)


def test_the_predictions_file_holds_every_labelled_example(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    evaluation = evaluate(student_of(corpus), corpus, TASKS, CPU)
    path = tmp_path / "deep" / "predictions.parquet"
    assert write_predictions(evaluation.predictions, path) == file_hash(path)
    table = pq.read_table(path).to_pylist()
    assert len(table) == len(evaluation.predictions)
    for stored, row in zip(table, evaluation.predictions, strict=True):
        assert (stored["id"], stored["task"]) == (row["id"], row["task"])
        assert stored["labels"] == np.atleast_1d(row["labels"]).tolist()
        assert stored["predictions"] == np.atleast_1d(row["predictions"]).tolist()
        expected = [] if row["task"] == "ner" else row["estimates"].tolist()
        assert stored["probabilities"] == expected
        assert (stored["value"], stored["predicted_value"]) == (None, None)


class Given(Dataset[Batch]):
    """A corpus of four rows with labels of two more forms; row 2 has none."""

    def __len__(self) -> int:
        return 4

    def words(self) -> np.ndarray:
        return np.array([2, 1, 1, 1])

    def __getitem__(self, rows: np.ndarray) -> Batch:
        pick, there = torch.from_numpy(rows), torch.ones(len(rows), dtype=torch.bool)
        labels = {"topics": torch.tensor([[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 0]]).float()[pick]}
        labels["stress"] = torch.tensor([0.5, -2.25, 0.0, 1e9])[pick]
        has_label = dict.fromkeys(labels, pick != 2)
        ids, words = tuple(f"row{row}" for row in rows), torch.ones(len(rows), 2, dtype=torch.bool)
        return Batch(ids, "given", pick, words, {}, {}, there, there, labels, has_label)


class Says(nn.Module):
    """Logits by row: labels 0 and 1 at ln 3 and -ln 3, or the other way round; the value is the row's number."""

    def forward(self, batch: Batch) -> Outputs:
        sign = torch.where(batch.rows == 3, -1.0, 1.0)
        topics = torch.stack([sign, -sign, torch.full_like(sign, -30.0)], dim=1) * math.log(3)
        logits = {"topics": topics, "stress": batch.rows[:, None].float()}
        return Outputs(logits, batch.has_text, batch.word_mask)


FORMS: dict[str, Task] = {
    "topics": multilabel.Task(multilabel.Config(), "topics", ["smear", "slogan", "doubt"]),
    "stress": regress.Task(regress.Config(), "stress", ()),
}


def test_labels_that_hold_together_and_values_are_evaluated():
    evaluation = evaluate(Says(), Given(), FORMS, CPU)
    assert primary_metrics(evaluation.scores) == {"topics": "micro_f1", "stress": "pearson"}
    assert evaluation.scores["topics"]["micro_f1"].value == pytest.approx(2 * 2 / (3 + 3))
    assert evaluation.scores["stress"]["mae"].value == pytest.approx((0.5 + 3.25 + 1e9 - 3) / 3)
    found = by_key(evaluation)
    assert found.keys() == {(task, f"row{row}") for task in FORMS for row in (0, 1, 3)}
    np.testing.assert_allclose(found["topics", "row0"]["estimates"], [0.75, 0.25, 0], atol=1e-6)
    np.testing.assert_allclose(found["topics", "row3"]["estimates"], [0.25, 0.75, 0], atol=1e-6)
    assert found["topics", "row0"]["predictions"].tolist() == [1, 0, 0]
    assert (found["stress", "row3"]["labels"], found["stress", "row3"]["predictions"]) == (1e9, 3)


def test_the_predictions_file_names_the_labels_that_hold_and_the_values(tmp_path: Path):
    path = tmp_path / "predictions.parquet"
    write_predictions(evaluate(Says(), Given(), FORMS, CPU).predictions, path)
    table = {(row["task"], row["id"]): row for row in pq.read_table(path).to_pylist()}
    assert len(table) == 6
    columns = ("labels", "predictions", "value", "predicted_value")
    found = {key: tuple(row[column] for column in columns) for key, row in table.items()}
    assert found["topics", "row0"] == ([0, 2], [0], None, None)
    assert found["topics", "row1"] == ([], [0], None, None)  # no label holds, and that is known
    assert found["topics", "row3"] == ([1], [1], None, None)
    assert found["stress", "row1"] == (None, None, -2.25, 1)
    assert table["topics", "row0"]["probabilities"] == pytest.approx([0.75, 0.25, 0], abs=1e-6)
    assert table["stress", "row0"]["probabilities"] is None


def test_the_predictions_file_has_the_same_columns_whatever_the_tasks(tmp_path: Path):
    evaluation = evaluate(Says(), Given(), FORMS, CPU)
    schemas = []
    for task in FORMS:
        path = tmp_path / f"{task}.parquet"
        write_predictions([row for row in evaluation.predictions if row["task"] == task], path)
        schemas.append(pq.read_schema(path))
    assert schemas[0].equals(schemas[1])
    assert schemas[0].names[:5] == ["id", "task", "labels", "predictions", "probabilities"]


def test_control_a_softmax_of_everything(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Task, "estimate", lambda task, logits: logits.softmax(-1))
    with pytest.raises(AssertionError):
        test_labels_that_hold_together_and_values_are_evaluated()
