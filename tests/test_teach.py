"""Teachers in a run: each kind's way through preparation, cache, training and its own record."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.progress import Progress

import mmkd.teach
from mmkd import checkpoint
from mmkd.cache.store import CachedTeacher
from mmkd.checkpoint import CheckpointError
from mmkd.config.problems import ConfigError
from mmkd.data.base import DataError
from mmkd.data.corpus import Readers
from mmkd.lora import LoraError, add_lora, merge_lora
from mmkd.ready import make_ready
from mmkd.run import run_experiment
from mmkd.teachers.base import Teacher
from tiny_project import experiment, make_project, plain_experiment, same_weights

QUIET = Progress(disable=True)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose tiny experiment has run with one seed. Not to be changed."""
    near = make_project(tmp_path_factory.mktemp("teach") / "project")
    run_experiment(experiment({**plain_experiment(), "seeds": [0]}), near, QUIET, "the command", say=lambda line: None)
    return near


@pytest.fixture
def near(taught: Path, tmp_path: Path) -> Path:
    shutil.copytree(taught.parent, tmp_path / "project")
    return tmp_path / "project" / taught.name


def seed0(near: Path) -> Path:
    (folder,) = (near.parent / "results" / "runs").glob("tiny-*/seed0")
    return folder


def plain_with(**teachers: dict[str, Any]) -> dict[str, Any]:
    """One epoch with these teachers and those of the tiny experiment that they speak for."""
    plain = plain_experiment()
    own = {name for one in teachers.values() for name in one.get("members", {}) if name not in teachers}
    plain["teachers"] = {**teachers, **{name: plain["teachers"][name] for name in own}}
    plain["losses"] = {name: plain["losses"][name] for name in ("sentiment", "ner", "risk")}
    for name, one in teachers.items():
        for task in one["tasks"]:
            plain["losses"][f"{name}_{task}"] = {"kind": "logit_kl", "teacher": name, "task": task}
    plain["seeds"], plain["name"] = [0], "other"
    plain["train"] |= {"epochs": 1}
    return plain


def run(plain: dict[str, Any], near: Path) -> tuple[list[Any], list[str]]:
    said: list[str] = []
    return run_experiment(experiment(plain), near, QUIET, "the command", say=said.append), said


def labels_of(near: Path) -> dict[str, list[str]]:
    ready = make_ready(experiment(plain_experiment()), near, QUIET)
    return {name: list(task.labels) for name, task in ready.workspace.tasks.items()}


def store_said(near: Path, path: Path, splits: tuple[str, ...], tasks: tuple[str, ...] = ("sentiment", "ner")) -> None:
    """What the teacher bert says about these splits, as a file."""
    ready = make_ready(experiment(plain_experiment()), near, QUIET)
    bert, mix = ready.prepared["bert"].teacher, ready.workspace.mix
    rows: list[dict[str, Any]] = []
    for split in splits:
        with mix.test_opened():
            corpus = mix.split(split, bert.readers)
        for number in range(len(corpus)):
            batch = corpus.batch(torch.tensor([number]).numpy())
            said = bert(batch)
            pairs = zip(said.logits["ner"][0].tolist(), said.words[0].tolist(), strict=True)
            words = [logits if kept else None for logits, kept in pairs][: int(batch.word_mask.sum())]
            own = {"sentiment": said.logits["sentiment"][0].tolist(), "ner": words}
            rows.append({"id": batch.ids[0], **{task: own[task] for task in tasks}})
    order = {task: list(bert.tasks[task].labels) for task in tasks}
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata({"labels": json.dumps(order)}), path)


def test_a_cached_network_is_gone_before_the_student_trains(near: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[weakref.ref[Teacher]] = []
    make = mmkd.teach._new

    def spy(*arguments: Any) -> Teacher:
        teacher = make(*arguments)
        seen.append(weakref.ref(teacher))
        return teacher

    monkeypatch.setattr(mmkd.teach, "_new", spy)
    ready = make_ready(experiment(plain_experiment()), near, QUIET)
    gc.collect()
    assert len(seen) >= 2
    assert [one() for one in seen] == [None] * len(seen)
    assert all(isinstance(one, CachedTeacher) for one in ready.teachers.values())
    live = make_ready(experiment(plain_experiment() | {"train": {"cache": False}}), near, QUIET)
    gc.collect()
    assert {one() for one in seen} - {None} == set(live.teachers.values())  # the control
    state = torch.get_rng_state()
    again = ready.prepared["bert"].teacher  # for its record
    assert torch.equal(torch.get_rng_state(), state)
    assert same_weights(again.state_dict(), live.teachers["bert"].state_dict())


def test_a_student_teaches_the_next_one(near: Path):
    again = {"kind": "run", "run": str(seed0(near)), "reads": ["text", "image"], "tasks": ["sentiment", "ner", "risk"]}
    records, _ = run(plain_with(last={**again, "layers": {"text": [1]}}), near)
    student, teacher = records
    _, _, sha256 = checkpoint.load(seed0(near) / "student")
    assert teacher.teacher == "last"
    before = json.loads((seed0(near) / "record.json").read_text("utf-8"))
    for task, metrics in before["scores"]["test"].items():
        for metric, score in metrics.items():
            assert teacher.scores["test"][task][metric].value == pytest.approx(score["value"], abs=1e-6)
    assert {"last_sentiment", "last_ner", "last_risk"} <= student.history[0]["terms"].keys()
    assert student.teachers["last"].keys() >= {"weights", "code", "layers"}
    assert teacher.parameters == before["parameters"]
    by_record = again | {"run": str(seed0(near) / "record.json")}
    ready = make_ready(experiment(plain_with(last=by_record)), near, QUIET)
    assert ready.prepared["last"].identity["weights"] == student.teachers["last"]["weights"]
    assert sha256


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"reads": ["text"]}, r"last.reads: found \['text'\]; the student of .* reads \['text', 'image'\]"),
        ({"run": "gone/seed0"}, "found no gone/seed0"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(near: Path, keys: dict[str, Any], message: str):
    again = {"kind": "run", "run": str(seed0(near)), "reads": ["text", "image"], "tasks": ["sentiment"]}
    with pytest.raises(CheckpointError, match=message):
        make_ready(experiment(plain_with(last=again | keys)), near, QUIET)


def test_a_run_with_labels_in_another_order_is_refused(near: Path):
    again = {"kind": "run", "run": str(seed0(near)), "reads": ["text", "image"], "tasks": ["sentiment"]}
    plain = plain_with(last=again)
    labels = labels_of(near)["sentiment"]
    plain["tasks"]["sentiment"] = {"kind": "classify", "labels": labels}
    make_ready(experiment(plain), near, QUIET)  # the control
    plain["tasks"]["sentiment"] = {"kind": "classify", "labels": labels[::-1]}
    with pytest.raises(CheckpointError, match="expected the same labels in the same order"):
        make_ready(experiment(plain), near, QUIET)


def test_a_checkpoint_for_labels_in_another_order_is_refused(near: Path):
    (folder,) = (near.parent / "results" / "teachers").glob("net-*")
    found, facts, _ = checkpoint.load(folder)
    assert facts["labels"] == {"risk": labels_of(near)["risk"]}
    checkpoint.save(folder, found, {**facts, "labels": {"risk": labels_of(near)["risk"][::-1]}})
    with pytest.raises(CheckpointError, match=r"net-\w+: trained for the labels .* of risk, in this order"):
        make_ready(experiment(plain_experiment()), near, QUIET)


def test_what_a_file_says_is_what_the_network_says(near: Path, tmp_path: Path):
    path = tmp_path / "said.parquet"
    store_said(near, path, ("train", "transfer", "validation", "test"))
    api = {"kind": "precomputed", "file": str(path), "tasks": ["sentiment", "ner"]}
    records, _ = run(plain_with(api=api), near)
    student, teacher = records
    before = json.loads((seed0(near).parent / "teacher-bert" / "record.json").read_text("utf-8"))
    for task, metrics in before["scores"]["test"].items():
        for metric, score in metrics.items():
            assert teacher.scores["test"][task][metric].value == pytest.approx(score["value"], abs=1e-6)
    assert teacher.parameters == 0
    assert student.teachers["api"].keys() >= {"file", "code"}
    assert not (near.parent / "results" / "cache" / "teachers" / "api").exists()


def test_a_file_of_the_training_rows_teaches_and_has_no_record(near: Path, tmp_path: Path):
    path = tmp_path / "said.parquet"
    store_said(near, path, ("train",), ("sentiment",))
    api = {"kind": "precomputed", "file": str(path), "tasks": ["sentiment"]}
    with pytest.raises(DataError, match="8 of 24 training rows are not there"):
        make_ready(experiment(plain_with(api=api)), near, QUIET)
    records, said = run(plain_with(api=api | {"missing": "silent"}), near)
    assert [record.role for record in records] == ["student"]
    assert any(line.startswith("teacher api: no record of its own: it knows nothing about 28 rows") for line in said)


def test_an_ensemble_costs_its_members_passes_alone(near: Path):
    plain = plain_with(both={"kind": "ensemble", "members": {"bert": 1.0}, "tasks": ["sentiment", "ner"]})
    before = sorted((near.parent / "results" / "cache" / "teachers").rglob("manifest.json"))
    records, _ = run(plain, near)
    assert sorted((near.parent / "results" / "cache" / "teachers").rglob("manifest.json")) == before
    student, both, bert = records
    assert (both.teacher, bert.teacher) == ("both", "bert")
    for task, metrics in bert.scores["test"].items():
        for metric, score in metrics.items():
            assert both.scores["test"][task][metric].value == pytest.approx(score.value, abs=1e-6)
    assert student.teachers["both"].keys() >= {"bert", "code"}


def test_an_ensemble_is_scored_without_the_labels_that_it_weighs_by(near: Path):
    """With the labels of the test split, `confidence` would find the member that is right."""
    own = {"kind": "run", "run": str(seed0(near)), "reads": ["text", "image"], "tasks": ["sentiment"]}
    scores = []
    for combine in ("weighted", "confidence"):
        members = {"last": 1.0, "bert": 0.5}
        plain = plain_with(
            last=own, all={"kind": "ensemble", "members": members, "combine": combine, "tasks": ["sentiment"]}
        )
        (record,) = [each for each in run(plain, near)[0] if each.teacher == "all"]
        scores.append(record.scores)
    assert scores[0] == scores[1]


ENSEMBLE = {"kind": "ensemble", "members": {"bert": 1.0, "net": 1.0}}


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"members": {"bert": 1.0, "nett": 1.0}, "tasks": ["risk"]}, r"all.members.nett: unknown teacher.*mean `net`"),
        ({"tasks": ["sentiment", "risk"]}, r"all.tasks.1: `risk` has the members net and `sentiment` has bert"),
        ({"members": {"net": 1.0}, "tasks": ["sentiment"]}, r"no member has a head for `sentiment`"),
        ({"members": {"all": 1.0}, "tasks": ["risk"]}, r"all.members.all: `all` speaks for others itself"),
    ],
)
def test_an_ensemble_that_does_not_fit_is_refused(teacher: dict[str, Any], message: str):
    plain = plain_experiment()
    plain["teachers"]["all"] = ENSEMBLE | teacher
    with pytest.raises(ConfigError, match=message):
        experiment(plain)


def test_features_and_views_are_not_asked_of_those_that_have_none():
    plain = plain_experiment()
    plain["teachers"]["all"] = ENSEMBLE | {"members": {"net": 1.0}, "tasks": ["risk"]}
    plain["losses"]["crossed"] = {"kind": "hint", "teacher": "all", "layer": 1, "modality": "image"}
    with pytest.raises(ConfigError, match="`all` gives logits alone; expected one that reads image"):
        experiment(plain)
    plain = plain_experiment()
    plain["teachers"]["api"] = {"kind": "precomputed", "file": "said.parquet", "tasks": ["risk"]}
    experiment(plain)
    plain["augment"] = {"views": 2, "text": {"drop": 0.1}}
    with pytest.raises(ConfigError, match=r"teachers\.api: the teacher `api` speaks about rows alone"):
        experiment(plain)


def lora_of(plain: dict[str, Any]) -> dict[str, Any]:
    plain["teachers"]["bert"]["finetune"]["lora"] = {"rank": 2, "alpha": 4, "targets": ["query", "value"]}
    return plain


def test_lora_changes_its_targets_and_the_heads_alone(near: Path):
    plain = plain_with(bert=plain_experiment()["teachers"]["bert"])
    plain["teachers"]["bert"]["finetune"] = {"epochs": 1, "batch_size": 8, "lr": 1e-2}
    ready = make_ready(experiment(lora_of(plain)), near, QUIET)
    tuned = ready.prepared["bert"].teacher.state_dict()
    torch.manual_seed(mmkd.teach.mix(0))
    start = mmkd.teach._new(ready.workspace, "bert", {}).state_dict()
    changed = {name for name, value in tuned.items() if not torch.equal(value, start[name])}
    assert tuned.keys() == start.keys()
    names = {
        f"encoder.model.encoder.layer.{n}.attention.self.{end}.weight" for n in (0, 1) for end in ("query", "value")
    }
    assert changed == names | {f"heads.{task}.{end}" for task in ("sentiment", "ner") for end in ("weight", "bias")}
    for name in names:
        assert int(torch.linalg.matrix_rank((tuned[name] - start[name]).double(), rtol=1e-4)) == 2


def test_merging_changes_no_output(near: Path):
    ready = make_ready(experiment(plain_experiment()), near, QUIET)
    bert = ready.prepared["bert"].teacher
    batch = ready.workspace.mix.split("validation", bert.readers).batch(torch.arange(4).numpy())
    before = bert(batch).logits["ner"]
    add_lora(bert, experiment(lora_of(plain_experiment())).teachers["bert"].training.lora)
    with torch.no_grad():
        for name, parameter in bert.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter)
    bert.eval()
    with_products = bert(batch).logits["ner"]
    merge_lora(bert)
    assert not any("lora" in name for name in bert.state_dict())
    assert torch.allclose(bert(batch).logits["ner"], with_products, atol=1e-5)
    assert not torch.allclose(with_products, before, atol=1e-2)


def test_targets_that_are_not_there_are_refused(near: Path):
    ready = make_ready(experiment(plain_experiment()), near, QUIET)
    config = (
        experiment(lora_of(plain_experiment())).teachers["bert"].training.lora.model_copy(update={"targets": ("qury",)})
    )
    with pytest.raises(LoraError, match=r"found `qury`, .*did you mean `query`\?"):
        add_lora(ready.prepared["bert"].teacher, config)


def test_nobody_reads_for_those_that_are_no_networks(near: Path):
    plain = plain_with(both={"kind": "ensemble", "members": {"bert": 1.0}, "tasks": ["sentiment"]})
    ready = make_ready(experiment(plain), near, QUIET)
    assert ready.workspace.reader("both") == Readers({}, {})
    assert ready.workspace.reader("bert").text.keys() == {"bert"}
