"""One experiment from end to end, in a project of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import mmkd.run
import mmkd.seed
from mmkd import checkpoint
from mmkd.arrays import file_hash
from mmkd.config.load import load
from mmkd.data import market_notes
from mmkd.data.base import Example
from mmkd.data.dataset import DataSet
from mmkd.data.tokens import SPECIAL, _wordpiece
from mmkd.errors import MmkdError
from mmkd.ready import make_ready
from mmkd.record import RecordError, RunRecord, read_record
from mmkd.run import run_experiment
from mmkd.seed import run_seed
from tiny_project import BERT, experiment, make_project, plain_experiment, same_weights, student_alone

QUIET = Progress(disable=True)


def run(plain: dict[str, Any], near: Path, **options: Any) -> tuple[list[RunRecord], list[str]]:
    """The records, and what was said beside the accounts of the rows."""
    said: list[str] = []
    records = run_experiment(experiment(plain), near, QUIET, "the command", say=said.append, **options)
    return records, [line for line in said if " rows = " not in line]


def run_folder(near: Path, name: str = "tiny") -> Path:
    (folder,) = (near.parent / "results" / "runs").glob(f"{name}-*")
    return folder


def weights(folder: Path) -> dict[str, Any]:
    return checkpoint.load(folder / "student")[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RunRecord], list[str]]:
    """The whole tiny experiment, run once: where it lies, its records, and what was said. Not to be changed."""
    near = make_project(tmp_path_factory.mktemp("run") / "project")
    records, said = run(plain_experiment(), near)
    return near, records, said


def test_every_seed_and_teacher_has_a_record_that_reads_back(finished):
    near, records, _ = finished
    assert [(record.role, record.teacher, record.seed) for record in records] == [
        ("student", None, 0),
        ("student", None, 1),
        ("teacher", "bert", 0),
        ("teacher", "net", 0),
    ]
    for record, name in zip(records, ("seed0", "seed1", "teacher-bert", "teacher-net"), strict=True):
        folder = run_folder(near) / name
        assert read_record(folder / "record.json") == record
        assert record.predictions == file_hash(folder / "predictions.parquet")
        assert record.command == "the command"
        assert record.test_openings == 1
        assert record.selection.split == "validation"
        tasks = {"bert": {"sentiment", "ner"}, "net": {"risk"}}.get(record.teacher or "", {"sentiment", "ner", "risk"})
        for split in ("validation", "test"):
            assert record.scores[split].keys() == tasks
        assert record.primary.keys() == tasks
        best = max(record.history, key=lambda entry: entry["mean_score"])
        assert (record.selection.epoch, record.selection.value) == (best["epoch"], best["mean_score"])
        assert record.mean_score("validation") == pytest.approx(best["mean_score"])


def test_students_are_scored_with_each_modality_hidden_too(finished):
    """On the rows of test, and without the words no word is found; teachers and validation are scored as they are."""
    _, records, _ = finished
    for student in records[:2]:
        assert student.scores.keys() == {"validation", "test", "test without text", "test without image"}
        for hidden in ("test without text", "test without image"):
            for task, metric in student.primary.items():
                assert student.scores[hidden][task][metric].n == student.scores["test"][task][metric].n
        assert student.scores["test without text"]["ner"]["entity_f1"].value == 0
        assert student.scores["test without image"]["ner"] == student.scores["test"]["ner"]
        assert student.scores["test without image"] != student.scores["test"]
        assert list(student.labels) == ["sentiment", "ner", "risk"]
        assert student.labels["sentiment"] == ["negative", "neutral", "positive"]
    for teacher in records[2:]:
        assert teacher.scores.keys() == {"validation", "test"}


def test_the_operations_of_a_pass_are_the_networks_own(finished):
    """Of a student, those of its widest layers are a lower bound; every seed has the same network and the same rows."""
    near, records, _ = finished
    one, other, bert, net = records
    assert one.flops == other.flops is not None
    matrices = [w for w in weights(run_folder(near) / "seed0").values() if w.ndim == 2]
    assert one.flops > 2 * sum(w.shape[0] * w.shape[1] for w in matrices if w.shape[0] < 50)  # no embeddings
    assert bert.flops is not None and net.flops is not None and len({one.flops, bert.flops, net.flops}) == 3


def test_every_row_is_accounted_for(finished):
    _, records, _ = finished
    for record in records:
        assert {name: account["rows"] for name, account in record.rows.items()} == {
            "market_notes/train": 16,
            "market_notes/transfer": 8,
            "market_notes/validation": 12,
            "market_notes/test": 16,
        }
        for account in record.rows.values():
            assert account["rows"] == account["used"] + sum(account["quarantined"].values())
    for entry in records[0].history:
        assert entry["rows"] == {"market_notes": 24}
        assert entry["labelled"] == {"sentiment": 16, "ner": 16, "risk": 16}


def test_the_record_says_what_made_it(finished):
    _, records, _ = finished
    student = records[0]
    assert student.experiment == experiment(plain_experiment()).dump()
    assert student.data.keys() == {f"market_notes/{split}" for split in ("train", "transfer", "validation", "test")}
    assert student.teachers.keys() == {"bert", "net"}
    assert {"weights", "code", "layers"} <= student.teachers["bert"].keys()
    assert student.packages["torch"]
    assert student.machine.threads == 1
    assert student.seconds.keys() == {"open", "teach", "cache", "train", "evaluate"}
    assert student.parameters > 1000
    losses = plain_experiment()["losses"]
    for entry in student.history:
        assert entry["terms"].keys() == losses.keys()
        assert entry["weights"].keys() == {"sentiment", "ner", "risk"}


def test_the_predictions_file_holds_the_test_split(finished):
    near, _, _ = finished
    rows = pq.read_table(run_folder(near) / "seed0" / "predictions.parquet").to_pylist()
    assert {row["id"].split("/")[1] for row in rows} == {"test"}
    assert sum(row["task"] == "risk" for row in rows) == 16


def test_the_stored_experiment_loads_back_equal(finished):
    near, _, _ = finished
    for name in ("seed0", "teacher-net"):
        assert load(run_folder(near) / name / "experiment.yaml") == experiment(plain_experiment())


def test_seeds_differ_and_the_student_is_kept(finished):
    near, _, _ = finished
    one, other = (weights(run_folder(near) / name) for name in ("seed0", "seed1"))
    assert one.keys() == other.keys()
    assert not same_weights(one, other)
    assert not any("projection" in name or "log_variances" in name for name in one)


@pytest.fixture
def copied(finished, tmp_path: Path) -> tuple[Path, list[RunRecord]]:
    """A copy of the finished project, which a test may run again."""
    near, records, _ = finished
    shutil.copytree(near.parent, tmp_path / "project")
    return tmp_path / "project" / near.name, records


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_training(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("mmkd.seed.train", no_training)
    monkeypatch.setattr("mmkd.teach.train", no_training)


def test_what_is_finished_is_reused(copied, monkeypatch: pytest.MonkeyPatch):
    near, records = copied
    forbid_training(monkeypatch)
    again, said = run(plain_experiment(), near)
    assert again == records
    assert [line.split(":")[0] for line in said[1:]] == ["seed 0", "seed 1"]


def test_new_content_of_the_folder_that_a_student_starts_from_runs_again(project: Path, monkeypatch):
    monkeypatch.chdir(project.parent)
    folder = project.parent / "small_bert"
    save_bert(folder)
    plain = student_alone(epochs=1)
    plain["student"]["text"] = {"model": "small_bert", "max_tokens": 64}
    (first,), _ = run(plain, project)
    (again,), said = run(plain, project)
    assert again == first
    assert said[1].startswith("seed 0: finished")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.1.output.dense.weight"].view(torch.int32)[3, 5] ^= 1  # the last bit of one number
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (other,), said = run(plain, project)
    assert other.start != first.start
    assert len(said) == 1


def save_bert(folder: Path) -> None:
    """A pretrained model with its tokenizer, as a hub holds them."""
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=120, **BERT)).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_wordpiece(["profit", "falls"], 100), **SPECIAL)
    tokenizer.save_pretrained(folder)


def test_more_seeds_run_the_new_ones_alone(copied, monkeypatch: pytest.MonkeyPatch):
    near, records = copied
    monkeypatch.setattr("mmkd.teach.train", None)  # a teacher that trained again would fail
    again, said = run({**plain_experiment(), "seeds": [1, 2]}, near)
    assert again[0] == records[1]
    assert again[1].seed == 2
    assert len(said) == 2


def test_fresh_runs_again_with_the_same_bits(copied):
    near, records = copied
    before = weights(run_folder(near) / "seed0")
    again, said = run({**plain_experiment(), "seeds": [0]}, near, fresh=True)
    assert len(said) == 1
    assert same_weights(weights(run_folder(near) / "seed0"), before)
    assert again[0].scores == records[0].scores
    assert again[0].history == records[0].history
    assert again[0].created >= records[0].created
    assert again[0].seconds != records[0].seconds


def test_what_a_process_runs_has_the_same_scores(copied, tmp_path: Path):
    near, records = copied
    before = weights(run_folder(near) / "seed1")
    mmkd.run._run_one(experiment(plain_experiment()).dump(), near, 1, tmp_path / "seed1", "the command")
    assert read_record(tmp_path / "seed1" / "record.json").scores == records[1].scores
    assert same_weights(weights(tmp_path / "seed1"), before)


@pytest.mark.slow  # each process imports torch and all else anew
def test_seeds_in_processes_have_the_same_scores(copied):
    near, records = copied
    before = [weights(run_folder(near) / f"seed{seed}") for seed in (0, 1)]
    again, _ = run(plain_experiment(), near, fresh=True, jobs=2)
    for seed in (0, 1):
        assert again[seed].scores == records[seed].scores
        assert same_weights(weights(run_folder(near) / f"seed{seed}"), before[seed])


def test_live_teachers_give_what_cached_ones_give(copied):
    near, records = copied
    plain = plain_experiment()
    plain["seeds"], plain["name"] = [0], "live"
    plain["train"] |= {"cache": False}
    live = run(plain, near)[0][0]
    for entry, cached_entry in zip(live.history, records[0].history, strict=True):
        for name, value in cached_entry["terms"].items():
            assert entry["terms"][name] == pytest.approx(value, rel=2e-2, abs=2e-3)  # the cache rounds to fp16


def test_a_changed_record_is_refused_not_reused(copied):
    near, _ = copied
    path = run_folder(near) / "seed0" / "record.json"
    path.write_text(path.read_text("utf-8").replace('"seed": 0', '"seed": 5'), "utf-8")
    with pytest.raises(RecordError, match="does not match its own sha256"):
        run(plain_experiment(), near)


def test_another_teacher_makes_another_record(copied, monkeypatch: pytest.MonkeyPatch):
    near, records = copied
    (folder,) = (near.parent / "results" / "teachers").glob("net-*")
    found, facts, sha256 = checkpoint.load(folder)
    name = next(iter(found))
    checkpoint.save(folder, found | {name: found[name] * 1.01}, facts)
    again, said = run({**plain_experiment(), "seeds": [0]}, near)
    assert len(said) == 1  # nothing is called finished
    assert again[0].teachers["net"]["weights"] != records[0].teachers["net"]["weights"] == sha256
    assert again[0].teachers["bert"] == records[0].teachers["bert"]


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens, in order: `read SPLIT` by anything but the check of the data, `trained`."""
    events: list[str] = []
    read, train = DataSet.read, mmkd.seed.train

    def spy(self: DataSet, split: str) -> Iterator[Example]:
        events.append(f"read {split}")
        return read(self, split)

    def trained(*arguments: Any, **options: Any) -> Any:
        result = train(*arguments, **options)
        events.append("trained")
        return result

    monkeypatch.setattr(DataSet, "read", spy)
    monkeypatch.setattr(mmkd.seed, "train", trained)
    return events


def test_the_test_split_is_read_after_training_alone(project: Path, spied: list[str]):
    run(plain_experiment() | {"seeds": [0]}, project)
    first = spied.index("trained")
    assert "read test" in spied[first:]
    assert "read test" not in spied[:first]
    assert {"read train", "read transfer", "read validation"} <= set(spied[:first])  # the spy does see reads


def test_without_test_the_split_is_never_read(project: Path, spied: list[str], tmp_path: Path):
    ready = make_ready(experiment(student_alone()), project, QUIET)
    record = run_seed(ready, 0, tmp_path / "trial", "trial", test=False)
    assert "read test" not in spied
    assert "trained" in spied
    assert record.test_openings == 0
    assert record.scores.keys() == {"validation"}
    assert record.ceilings == {}
    run_seed(ready, 0, tmp_path / "trial", "trial")
    assert "read test" in spied  # the control


def test_test_labels_reach_neither_selection_nor_weights(project: Path, monkeypatch: pytest.MonkeyPatch):
    plain = student_alone(epochs=3)
    before = run(plain, project)[0][0]
    kept = weights(run_folder(project) / "seed0")
    read = market_notes.Source.read

    def flipped(self: market_notes.Source, split: str) -> Iterator[Example]:
        for example in read(self, split):
            labels = {name: 2 - label if name == "sentiment" else label for name, label in example.labels.items()}
            yield Example(example.id, example.words, example.image, labels if split == "test" else example.labels)

    fingerprint = market_notes.Source.fingerprint
    monkeypatch.setattr(market_notes.Source, "read", flipped)
    monkeypatch.setattr(
        market_notes.Source, "fingerprint", lambda self, split: fingerprint(self, split) + "flipped" * (split == "test")
    )
    after = run(plain, project)[0][0]
    assert after.scores["test"]["sentiment"] != before.scores["test"]["sentiment"]
    assert after.selection == before.selection
    assert after.history == before.history
    assert same_weights(weights(run_folder(project) / "seed0"), kept)


def test_the_teacher_is_found_again_and_follows_what_made_it(copied, monkeypatch: pytest.MonkeyPatch):
    near, _ = copied
    trained: list[str] = []
    teach = mmkd.teach.train

    def spy(players: Any, *arguments: Any, **options: Any) -> Any:
        trained.append(players.network.name)
        return teach(players, *arguments, **options)

    monkeypatch.setattr("mmkd.teach.train", spy)
    plain = plain_experiment()
    make_ready(experiment(plain), near, QUIET)
    plain["losses"]["bert_ner"] |= {"temperature": 2.0}
    plain["teachers"]["net"]["layers"] = [1, 2]  # what is kept does not change the weights
    make_ready(experiment(plain), near, QUIET)
    assert trained == []
    plain["teachers"]["net"]["finetune"] = {"epochs": 1, "batch_size": 8, "lr": 2e-3}
    make_ready(experiment(plain), near, QUIET)
    assert trained == ["net"]
    plain["data"]["market_notes"]["options"]["seed"] = 1
    make_ready(experiment(plain), near, QUIET)
    assert trained == ["net", "bert", "net"]


def test_a_damaged_teacher_is_named(copied):
    near, _ = copied
    (folder,) = (near.parent / "results" / "teachers").glob("bert-*")
    path = folder / checkpoint.WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match=rf"{folder.name}/weights\.safetensors: sha256"):
        make_ready(experiment(plain_experiment()), near, QUIET)


def test_a_report_stops_a_run_early(project: Path, tmp_path: Path):
    ready = make_ready(experiment(student_alone(epochs=4)), project, QUIET)
    record = run_seed(ready, 0, tmp_path / "trial", "trial", report=lambda entry: entry["epoch"] == 1, test=False)
    assert len(record.history) == 2


def test_seeds_side_by_side_are_refused_under_a_launcher(tmp_path: Path, monkeypatch) -> None:
    near = make_project(tmp_path / "project")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(MmkdError, match="--jobs: found 2 under a launcher; expected 1"):
        mmkd.run.run_experiment(experiment(plain_experiment()), near, Progress(disable=True), "the command", jobs=2)
    assert not (tmp_path / "project" / "results").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_compiled_student_learns_what_it_learns_uncompiled(project: Path, tmp_path: Path):
    records, weights = [], []
    for compile in (False, True):
        ready = make_ready(experiment(student_alone(epochs=2, compile=compile)), project, QUIET)
        records.append(run_seed(ready, 0, tmp_path / str(compile), "trial"))
        weights.append(checkpoint.load(tmp_path / str(compile) / "student")[0])
    one, other = records
    assert one.start == other.start  # the same names and first weights
    assert other.history[-1]["terms"] == pytest.approx(one.history[-1]["terms"], rel=1e-3)
    assert weights[0].keys() == weights[1].keys()


def test_compiling_is_asked_of_the_networks_of_both_encoders(project: Path, tmp_path: Path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(torch, "compile", lambda made, **how: asked.append(how) or made)
    ready = make_ready(experiment(student_alone(epochs=1, compile=True)), project, QUIET)
    run_seed(ready, 0, tmp_path / "trial", "trial", test=False)
    assert len(asked) == 2 and all(how["dynamic"] for how in asked)
