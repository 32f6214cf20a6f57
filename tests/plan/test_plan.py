"""Plans against what runs then do: bytes on the disk, rows, steps; and nothing is written that need not be."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.progress import Progress
from torch.optim.optimizer import register_optimizer_step_post_hook

import mmkd.plan.trial as trial
from mmkd.cache.entry import read_manifest
from mmkd.plan.facts import Plan, TeacherPlan
from mmkd.plan.known import Known, taught_views
from mmkd.plan.plan import plan_experiment
from mmkd.plan.show import shown, to_json
from mmkd.plan.teacher import plan_teacher
from mmkd.record import RunRecord
from mmkd.run import run_experiment
from mmkd.teachers.base import Teacher
from mmkd.types import Batch, Outputs, OutputShape
from mmkd.workspace import open_workspace
from tiny_project import experiment, make_project, plain_experiment, student_alone

QUIET = Progress(disable=True)


def file() -> dict[str, Any]:
    """The tiny experiment with views whose number of words differs, two batches a step, and cut logits."""
    plain = plain_experiment()
    plain["augment"] = {"views": 2, "text": {"drop": 0.3}}
    plain["train"] |= {"accumulate": 2, "epochs": 3, "cache_logits_top": 5}
    plain["teachers"]["idle"] = plain["teachers"]["bert"] | {"tasks": ["risk"], "layers": []}
    return plain


def planned(plain: dict[str, Any], near: Path, measure: bool = False) -> Plan:
    return plan_experiment(experiment(plain), near, QUIET, measure)


@contextmanager
def counted_steps() -> Iterator[Counter[int]]:
    """Optimizer -> its steps, in the order of the optimizers; they are kept, so that no two share an id."""
    steps: Counter[int] = Counter()
    kept: list[Any] = []

    def count(optimizer: Any, *_: Any) -> None:
        kept.append(optimizer)
        steps[id(optimizer)] += 1

    hook = register_optimizer_step_post_hook(count)
    try:
        yield steps
    finally:
        hook.remove()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def teacher(plan: Plan, name: str) -> TeacherPlan:
    return next(each for each in plan.teachers if each.name == name)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan, list[RunRecord], list[int], Plan]:
    """Where the tiny experiment lies, its plan before it ran, its records and steps, and its plan after."""
    near = make_project(tmp_path_factory.mktemp("plan") / "project")
    before = planned(file(), near)
    with counted_steps() as steps:
        records = run_experiment(experiment(file()), near, QUIET, "c", say=lambda text: None)
    kept, state = files(near.parent), torch.get_rng_state()
    after = planned(file(), near)
    assert files(near.parent) == kept, "a plan writes nothing where all is encoded"
    assert torch.equal(torch.get_rng_state(), state), "a plan leaves the random state as it is"
    return near, before, records, list(steps.values()), after


def test_rows_and_steps_are_those_of_the_run(done) -> None:
    _, before, records, steps, _ = done
    student = before.student
    fine_tuning = [each.finetune.steps for each in before.teachers if each.finetune is not None]
    assert steps == [*fine_tuning, *[student.epochs * student.steps] * student.seeds]
    assert (student.rows, student.batches, student.steps) == (24, 3, 2)
    assert all(entry["rows"] == {"market_notes": student.rows} for entry in records[0].history)
    assert student.parameters == records[0].parameters
    assert [each.parameters for each in before.teachers] == [record.parameters for record in records[2:]]


def test_the_bytes_of_the_cache_are_those_on_the_disk(done) -> None:
    near, before, _, _, _ = done
    for name in ("bert", "net"):
        cache = teacher(before, name).cache
        assert cache is not None
        assert (cache.rows, cache.passes, cache.found_rows, cache.views) == (48, 48, 0, 2)
        assert cache.splits == ("market_notes/train", "market_notes/transfer")
        entries = [folder.parent for folder in near.parent.glob("results/cache/teachers/*/manifest.json")]
        own = [folder for folder in entries if read_manifest(folder).about.teacher == name]
        assert len(own) == 4  # two views of two splits
        stored = [path for folder in own for path in folder.rglob("*") if path.is_file()]
        values = sum(np.load(path, mmap_mode="r").nbytes for path in stored if path.suffix == ".npy")
        assert values == cache.bytes.value
        found = sum(path.stat().st_size for path in stored)
        assert values <= found <= values + 4 * 16384  # headers of arrays and manifests of entries
        assert sum(array.bytes for array in cache.arrays) == cache.bytes.value
        assert cache.bytes.basis == "exact"
    hidden = {array.name: array for array in teacher(before, "bert").cache.arrays}["hidden.text.1"]
    assert (hidden.dtype, hidden.shape, hidden.per) == ("float16", (16,), "word")
    assert hidden.bytes == 2 * 16 * teacher(before, "bert").cache.words


def test_the_weights_of_the_students_take_the_bytes_that_were_planned(done) -> None:
    near, before, _, _, _ = done
    found = sum(path.stat().st_size for path in (near.parent / "results" / "runs").rglob("student/weights.safetensors"))
    assert before.student.disk_bytes.value <= found <= before.student.disk_bytes.value + 2 * 65536  # names and shapes


def test_what_a_run_left_is_found(done) -> None:
    near, before, _, _, after = done
    assert [each.finetune.found for each in before.teachers] == [False] * 3
    assert [each.finetune.found for each in after.teachers] == [True] * 3
    for name in ("bert", "net"):
        cache = teacher(after, name).cache
        assert (cache.found_rows, cache.passes) == (48, 0)
        assert cache.seconds.value == teacher(after, name).finetune.seconds.value == 0
    assert teacher(before, "idle").cache is teacher(after, "idle").cache is None  # no loss asks it
    plain = file()
    plain["train"]["cache_dtype"] = "fp32"
    plain["teachers"]["net"]["finetune"] = plain["teachers"]["net"]["finetune"] | {"epochs": 2}
    changed = planned(plain, near)
    assert (teacher(changed, "bert").cache.found_rows, teacher(changed, "bert").finetune.found) == (0, True)
    assert (teacher(changed, "net").finetune.found, teacher(changed, "net").finetune.steps) == (False, 4)
    plain = file()
    plain["augment"]["views"] = 3
    assert (teacher(planned(plain, near), "bert").cache.found_rows) == 48  # of 72


def test_before_a_run_only_encoded_data_is_written(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WARM_UP", 1), ("TIMED", 2), ("COUNTED", 1)):
        monkeypatch.setattr(trial, name, value)
    plan = planned(plain_experiment(), project, measure=True)
    results = project.parent / "results"
    assert {path.name for path in results.iterdir()} == {"cache"}
    assert {path.name for path in (results / "cache").iterdir()} == {"data", "tokenizers"}
    times = [each.finetune.seconds for each in plan.teachers] + [each.cache.seconds for each in plan.teachers]
    times += [plan.student.epoch_seconds, plan.student.final_seconds, plan.seconds]
    times += [each.seconds for each in plan.choices]
    assert all(time is not None and time.value > 0 and time.basis == "estimated" for time in times)
    assert plan.student.memory.peak is not None
    text = rendered(plan)
    for expected in (
        "≈",
        "this file",
        "live teachers",
        "hidden.text.1",
        "The run in all",
        "to train: 1 epochs, 2 steps",
    ):
        assert expected in text


def test_a_student_alone_has_no_teachers_and_no_choices(project: Path) -> None:
    plan = planned(student_alone(), project)
    assert (plan.teachers, plan.choices, plan.break_even) == ((), (), None)
    assert (plan.student.rows, plan.student.epoch_seconds, plan.seconds) == (16, None, None)
    assert "Nothing was timed" in rendered(plan)


def test_live_teachers_have_no_cache(project: Path) -> None:
    plain = plain_experiment()
    plain["train"]["cache"] = False
    plain["augment"] = {"views": None, "text": {"drop": 0.1}}
    plan = planned(plain, project)
    assert [each.cache for each in plan.teachers] == [None, None]
    assert [each.name for each in plan.choices if each.chosen] == ["live teachers"]
    assert not list((project.parent / "results").glob("**/views"))


class Constant(Teacher):
    """A teacher without a network: it finds nothing risky."""

    shape = OutputShape({}, {}, {})

    def forward(self, batch: Batch) -> Outputs:
        return Outputs({"risk": torch.zeros(len(batch.ids), 4)}, batch.has_text, batch.word_mask)


def test_a_teacher_without_a_network_is_neither_trained_nor_cached(done, project: Path) -> None:
    described = experiment(plain_experiment())
    workspace = open_workspace(described, project, QUIET)
    tasks = {"risk": workspace.tasks["risk"]}
    constant = Constant(described.teachers["net"], "net", tasks, workspace.reader("net"))
    known = Known(constant, None, None, network=False)
    found = plan_teacher(workspace, known, taught_views(workspace), used=True, measure=True)
    assert (found.plan.parameters, found.plan.finetune, found.plan.cache, found.plan.flops_per_sample) == (
        0,
        *[None] * 3,
    )
    assert found.plan.evaluation_seconds is not None
    assert not found.used  # so that no cache is counted for it
    assert "not trained" in rendered(replace(done[4], teachers=(found.plan,)))


def test_the_json_is_the_plan(done) -> None:
    after = done[4]
    found = json.loads(to_json(after))
    assert found["teachers"][0]["cache"]["bytes"] == {
        "value": teacher(after, "bert").cache.bytes.value,
        "basis": "exact",
    }
    assert found["student"]["steps"] == 2
    assert [each["name"] for each in found["choices"]] == [each.name for each in after.choices]


def rendered(plan: Plan) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(shown(plan))
    return capture.get()
