"""Terms, their coefficients and their groups."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from mmkd.config.plugin_base import LossConfig, TaskLossConfig, TeacherNeeds
from mmkd.config.schedule import Schedule
from mmkd.losses.base import Loss, Setting
from mmkd.objective import NonFiniteTerm, Terms, groups_of
from mmkd.types import Batch, Outputs, OutputShape
from tiny_project import TASKS

NOWHERE = OutputShape({}, {}, {})
SETTING = Setting(TASKS, NOWHERE, {"one": NOWHERE, "two": NOWHERE})


class OutsideConfig(LossConfig):
    kind: str = "outside"
    value: float


class InsideConfig(TaskLossConfig):
    kind: str = "inside"
    value: float
    asks: tuple[str, ...] = ()

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        return tuple(TeacherNeeds(name) for name in self.asks)


class AnyConfig(InsideConfig):
    """A term of which one teacher is enough."""

    any_teacher = True


class LabelledConfig(InsideConfig):
    """A term that speaks of teachers and still needs labels."""

    @property
    def needs_labels(self) -> bool:
        return True


class Fixed(Loss):
    """A term of a given value, whose gradient tells it apart."""

    def __init__(self, config: LossConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        return self.config.value * self.scale


def outside(value: float, weight: float | Schedule = 1.0) -> Fixed:
    return Fixed(OutsideConfig(value=value, weight=weight), SETTING)


def inside(task: str, value: float, weight: float | Schedule = 1.0, asks: tuple[str, ...] = ()) -> Fixed:
    return Fixed(InsideConfig(task=task, value=value, weight=weight, asks=asks), SETTING)


WORDS = torch.tensor([[True, True], [True, False], [False, False]])
ALL, NO_ROW = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)


def batch_of(**has_label: Tensor) -> Batch:
    labelled = {name: has_label.get(name, ALL) for name in TASKS}
    labels = {name: torch.zeros(3, dtype=torch.long) for name in TASKS}
    return Batch(("a", "b", "c"), "corpus", torch.arange(3), WORDS, {}, {}, ALL, ALL, labels, labelled)


def says(speaks: Tensor = ALL, words: Tensor = WORDS) -> Outputs:
    return Outputs({}, speaks, words)


def objective(terms: dict[str, Loss], batch: Batch | None = None, progress: float = 0.0, **teachers: Outputs):
    everyone = {"one": says(), "two": says(), **teachers}
    student = everyone.pop("student", says())
    return Terms(terms)(student, everyone, batch or batch_of(), progress, step=17)


def test_terms_of_a_task_are_summed_and_the_rest_stands_outside():
    found = objective(
        {
            "a": inside("mood", 2.0),
            "b": inside("mood", 3.0, weight=0.5, asks=("one",)),
            "c": inside("risk", 5.0, weight=2.0),
            "d": outside(7.0),
            "e": outside(11.0, weight=0.1),
        }
    )
    assert found.values == {"a": 2.0, "b": 3.0, "c": 5.0, "d": 7.0, "e": 11.0}  # before their coefficients
    assert {name: value.item() for name, value in found.by_task.items()} == {"mood": 3.5, "risk": 10.0}
    assert found.rest.item() == pytest.approx(8.1)


def test_without_terms_outside_there_is_no_rest():
    assert objective({"a": inside("mood", 2.0)}).rest is None


def test_gradients_reach_each_term_with_its_coefficient():
    terms = {"a": inside("mood", 2.0, weight=3.0), "b": outside(5.0, weight=0.5)}
    found = objective(terms)
    (found.by_task["mood"] + found.rest).backward()
    assert [term.scale.grad.item() for term in terms.values()] == [6.0, 2.5]


@pytest.mark.parametrize(
    ("kind", "progress", "weight"), [("linear", 0.25, 1.5), ("cosine", 0.5, 1.0), ("cosine", 0, 2.0)]
)
def test_schedules_follow_the_progress(kind: str, progress: float, weight: float):
    schedule = Schedule.model_validate({"kind": kind, "from": 2.0, "to": 0.0})
    found = objective({"a": inside("mood", 10.0, schedule), "b": outside(1.0, schedule)}, progress=progress)
    assert found.by_task["mood"].item() == pytest.approx(10 * weight)
    assert found.rest.item() == pytest.approx(weight)
    assert found.values["a"] == 10.0


TASK_LEVEL = pytest.mark.parametrize("task", ["mood", "ner"])


@TASK_LEVEL
def test_a_task_without_a_label_is_absent(task: str):
    found = objective({"a": inside(task, 2.0), "b": inside("risk", 1.0)}, batch_of(**{task: NO_ROW}))
    assert found.by_task.keys() == {"risk"}
    one_row = objective({"a": inside(task, 2.0)}, batch_of(**{task: torch.tensor([False, True, False])}))
    assert one_row.by_task.keys() == {task}


def test_a_label_for_words_that_are_not_there_is_no_row():
    found = objective({"a": inside("ner", 2.0)}, batch_of(ner=torch.tensor([False, False, True])))
    assert found.by_task == {}


@TASK_LEVEL
def test_a_distilled_term_needs_no_label_but_a_teacher_that_speaks(task: str):
    silent = says(NO_ROW, torch.zeros_like(WORDS))
    terms = {"a": inside(task, 2.0, asks=("one",))}
    assert objective(terms, batch_of(**{task: NO_ROW})).by_task.keys() == {task}
    assert objective(terms, one=silent).by_task == {}
    assert objective(terms, student=silent).by_task == {}
    assert objective(terms, two=silent).by_task.keys() == {task}  # a teacher that was not asked


@TASK_LEVEL
def test_all_its_teachers_must_speak_on_one_row(task: str):
    first, second = torch.tensor([True, False, False]), torch.tensor([False, True, False])
    teachers = {"one": says(first, WORDS & first[:, None]), "two": says(second, WORDS & second[:, None])}
    assert objective({"a": inside(task, 2.0, asks=("one", "two"))}, **teachers).by_task == {}
    teachers["two"] = teachers["one"]
    assert objective({"a": inside(task, 2.0, asks=("one", "two"))}, **teachers).by_task.keys() == {task}


def test_a_term_without_a_row_does_not_hide_the_others_of_its_task():
    found = objective(
        {"labels": inside("mood", 2.0), "taught": inside("mood", 3.0, asks=("one",))}, batch_of(mood=NO_ROW)
    )
    assert found.by_task["mood"].item() == 3.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_term_that_is_not_finite_is_named_with_step_and_samples(value: float):
    broken = inside("mood", 1.0)
    with torch.no_grad():
        broken.scale.fill_(value)
    with pytest.raises(NonFiniteTerm, match=rf"step 17: losses\.broken is {value}; samples a, b, c"):
        objective({"fine": outside(1.0), "broken": broken})


@TASK_LEVEL
def test_a_taught_term_that_needs_labels_is_absent_without_one(task: str):
    term = Fixed(LabelledConfig(task=task, value=2.0, asks=("one",)), SETTING)
    assert objective({"a": term}, batch_of(**{task: NO_ROW})).by_task == {}
    assert objective({"a": term}).by_task.keys() == {task}
    second = torch.tensor([False, True, False])
    silent = says(~second, WORDS & ~second[:, None])
    assert objective({"a": term}, batch_of(**{task: second}), one=silent).by_task == {}  # labelled where it is silent


def test_over_parts_each_task_has_its_labels_and_its_teachers_apart() -> None:
    terms: dict[str, Loss] = {
        "labels": inside("mood", 2.0),
        "one": inside("mood", 3.0, weight=0.5, asks=("one",)),
        "two": inside("mood", 5.0, asks=("two",)),
        "names": inside("ner", 7.0),
        "apart": outside(11.0),
    }
    found = Terms(terms, "parts")(says(), {"one": says(), "two": says()}, batch_of(), 0.0, step=17)
    values = {name: value.item() for name, value in found.by_task.items()}
    assert values == {"mood.supervised": 2.0, "mood.distilled": 6.5, "ner.supervised": 7.0}
    assert found.rest.item() == 11.0
    configs = [loss.config for loss in terms.values()]
    assert groups_of(configs, ["ner", "mood"], "parts") == ["ner.supervised", "mood.supervised", "mood.distilled"]
    assert groups_of(configs, ["ner", "mood"], "tasks") == ["ner", "mood"]


def test_where_one_teacher_is_enough_a_row_of_each_is_present():
    """One speaks about the first row, the other about the second: no row has both."""
    first, second = (says(torch.tensor(rows)) for rows in ([True, False, False], [False, True, False]))
    both = Fixed(AnyConfig(task="mood", value=3.0, asks=("one", "two")), SETTING)
    assert objective({"both": both}, one=first, two=second).values == {"both": 3.0}
    assert objective({"both": both}, one=says(NO_ROW), two=says(NO_ROW)).values == {}
    all_needed = inside("mood", 3.0, asks=("one", "two"))
    assert objective({"all": all_needed}, one=first, two=second).values == {}
