"""The mistakes that need two sections of an experiment to see."""

from __future__ import annotations

from collections.abc import Iterator

from mmkd.config import plugins
from mmkd.config.check_student import check_student, check_student_needs
from mmkd.config.encoders import ImageEncoder, TextEncoder
from mmkd.config.experiment import Experiment
from mmkd.config.layers import block_of
from mmkd.config.live import Live
from mmkd.config.mixing import mistakes
from mmkd.config.parts import Parts, unknown
from mmkd.config.plugin_base import (
    LogitsForm,
    LossConfig,
    TaskConfig,
    TaskLossConfig,
    TeacherConfig,
    TeacherNeeds,
)
from mmkd.config.problems import KeyPath, Problem, listed
from mmkd.config.schedule import Schedule

LOGITS: dict[LogitsForm, str] = {
    "classes": "classes, one of which holds",
    "labels": "labels, each of which holds or not",
    "value": "one value",
}


def check_experiment(parts: Parts) -> list[Problem]:
    """What the sections expect of one another."""
    return [
        *_check_data(parts),
        *check_student(parts),
        *_check_teachers(parts),
        *_check_losses(parts),
        *_check_tasks(parts),
    ]


def check_whole(parts: Parts, experiment: Experiment) -> list[Problem]:
    """What can be judged only when every section is right by itself."""
    problems = [parts.problem(("mixing", *path), text) for path, text in mistakes(experiment.mixing, experiment.data)]
    augment, distils = experiment.augment, any(loss.teacher_needs() for loss in experiment.losses.values())
    if augment is not None and augment.views is None and experiment.train.cache and distils:
        advice = "expected a number of views, or `train.cache: false` for teachers that run live"
        text = f"each epoch has new views, which no cache holds; {advice}"
        problems.append(parts.problem(("augment", "views"), text))
    if experiment.train.cache and experiment.train.live != Live():
        text = "no teacher runs live: the cache speaks in their place; expected it with `train.cache: false`"
        problems.append(parts.problem(("train", "live"), text))
    problems += _check_inputs(parts, experiment)
    if experiment.train.cache_features is not None:
        for name, loss in experiment.losses.items():
            if any(need.heads for need in loss.teacher_needs()):
                text = f"`losses.{name}` reads features as the teacher's own head does; expected them whole"
                problems.append(parts.problem(("train", "cache_features"), text))
    for name, teacher in experiment.teachers.items():
        if augment is not None and not teacher.sees_views:
            text = f"the teacher `{name}` speaks about rows alone; expected no `augment`, or teachers that read views"
            problems.append(parts.problem(("teachers", name), text))
    return problems


def _check_inputs(parts: Parts, experiment: Experiment) -> Iterator[Problem]:
    """What `train` does with the student's input needs a student that reads it, and a task that learns from it."""
    reads, adversarial, mixup = experiment.student.reads, experiment.train.adversarial, experiment.train.mixup
    moved = {} if adversarial is None else {"text": adversarial.text, "image": adversarial.image}
    for modality, bound in moved.items():
        if bound is not None and modality not in reads:
            text = f"the student reads no {modality}; expected `student.{modality}`, or null"
            yield parts.problem(("train", "adversarial", modality), text)
    if mixup is None:
        return
    if mixup.of != "features" and "image" not in reads:
        text = f"`{mixup.of}` mixes images, and the student reads none; expected `features`, or `student.image`"
        yield parts.problem(("train", "mixup", "of"), text)
    if all(task.level == "word" for task in experiment.tasks.values()):
        text = "every task is over words, which cannot be mixed; expected a task over examples, or no `mixup`"
        yield parts.problem(("train", "mixup"), text)


def _check_data(parts: Parts) -> Iterator[Problem]:
    distils = any(loss.teacher_needs() for loss in parts.losses.values())
    all_losses_known = len(parts.losses) == len(parts.names("losses"))
    for name, use in parts.data.items():
        if "transfer" in use.train and not distils and all_losses_known:
            path = parts.find(("data", name, "train"), "transfer")
            yield parts.problem(path, "transfer rows have no labels, and no loss has a teacher; expected one that has")
        for task in use.tasks or {}:
            if parts.lacks("tasks", task):
                yield unknown(parts, ("data", name, "tasks", task), "task", task)


def _check_teachers(parts: Parts) -> Iterator[Problem]:
    for name, teacher in parts.teachers.items():
        if name == "student":
            yield parts.problem(("teachers", name), "`student` is what the student is called; expected another name")
        for number, task in enumerate(teacher.tasks):
            path = ("teachers", name, "tasks", number)
            if parts.lacks("tasks", task):
                yield unknown(parts, path, "task", task)
            elif task in parts.tasks and parts.tasks[task].level == "word" and not teacher.over_words:
                yield parts.problem(path, f"`{task}` is over words; expected tasks over examples of an image teacher")
        section: object = teacher
        if isinstance(section, TextEncoder | ImageEncoder) and (depth := section.blocks()) is not None:
            kept = [layer for modality in teacher.modalities for layer in teacher.layers_of(modality)]
            for layer in kept:
                if (block := block_of(layer)) is not None and block >= depth:
                    text = f"the teacher `{name}` has no layer {layer}; expected blocks from 0 to {depth - 1}"
                    yield parts.problem(parts.find(("teachers", name, "layers"), layer), text)
        yield from _check_members(parts, name, teacher)


def _check_members(parts: Parts, name: str, teacher: TeacherConfig) -> Iterator[Problem]:
    """What a teacher that speaks for others expects of them."""
    for member in teacher.speaks_for:
        path: KeyPath = ("teachers", name, "members", member)
        if parts.lacks("teachers", member):
            yield unknown(parts, path, "teacher", member)
        elif member in parts.teachers and parts.teachers[member].speaks_for:
            text = f"`{member}` speaks for others itself; expected teachers that speak for themselves"
            yield parts.problem(path, text)
    own = {member: parts.teachers[member] for member in teacher.speaks_for if member in parts.teachers}
    if not own or len(own) < len(teacher.speaks_for):
        return
    heard: dict[str, tuple[str, tuple[str, ...]]] = {}
    for number, task in enumerate(teacher.tasks):
        if task not in parts.tasks:
            continue
        path, who = ("teachers", name, "tasks", number), tuple(each for each in own if task in own[each].tasks)
        first, others = heard.setdefault(parts.tasks[task].level, (task, who))
        if not who:
            yield parts.problem(path, f"no member has a head for `{task}`; expected one of {listed(list(own))} to have")
        elif who != others:
            # whether a network speaks about an example is one answer for all tasks
            text = f"`{task}` has the members {listed(list(who))} and `{first}` has {listed(list(others))}"
            yield parts.problem(path, f"{text}; expected the same, or an ensemble for each")


def _check_losses(parts: Parts) -> Iterator[Problem]:
    for name, loss in parts.losses.items():
        path = ("losses", name)
        asked = {*filter(None, [loss.group]), *(task for need in loss.teacher_needs() for task in need.tasks)}
        for task in sorted(task for task in asked if parts.lacks("tasks", task)):
            yield unknown(parts, parts.find(path, task, "task"), "task", task)
        for need in loss.teacher_needs():
            if parts.lacks("teachers", need.teacher):
                yield unknown(parts, _teacher_key(parts, path, need), "teacher", need.teacher)
            elif need.teacher in parts.teachers:
                yield from _check_need(parts, path, need, parts.teachers[need.teacher])
        yield from _check_logits(parts, path, loss)
        yield from check_student_needs(parts, path, loss)


def _teacher_key(parts: Parts, path: KeyPath, need: TeacherNeeds) -> KeyPath:
    return parts.find(path, need.teacher, "teacher", *filter(None, [need.modality]))


def _check_need(parts: Parts, path: KeyPath, need: TeacherNeeds, teacher: TeacherConfig) -> Iterator[Problem]:
    name = need.teacher
    if need.heads and not teacher.own_heads:
        yield parts.problem(_teacher_key(parts, path, need), _no_own_head(name, teacher))
        return
    for task in need.heads:
        if task in parts.tasks and parts.tasks[task].level == "word":
            text = f"`{task}` is over words; expected a task over examples, whose head reads a pooled feature"
            yield parts.problem(parts.find(path, task, "task"), text)
    for task in dict.fromkeys((*need.tasks, *need.heads)):
        if not parts.lacks("tasks", task) and task not in teacher.tasks:
            key = parts.find(path, task, "task")
            advice = f"expected one of its tasks ({listed(teacher.tasks)}), or `{task}` in teachers.{name}.tasks"
            yield parts.problem(key, f"the teacher `{name}` has no head for `{task}`; {advice}")
    if need.modality is not None and need.modality not in teacher.modalities:
        reads = " and ".join(teacher.modalities)
        found = f"reads {reads}" if reads else "gives logits alone"
        message = f"the teacher `{name}` {found}; expected one that reads {need.modality}"
        yield parts.problem(_teacher_key(parts, path, need), message)
        return
    if need.pooled and not teacher.modalities:
        message = f"the teacher `{name}` gives logits alone; expected one with a pooled feature"
        yield parts.problem(_teacher_key(parts, path, need), message)
    modalities = teacher.modalities if need.modality is None else (need.modality,)
    layers = [each for modality in modalities for each in teacher.layers_of(modality)]
    for layer in need.layers:
        if layer not in layers:
            key = parts.find(path, layer, "layer")
            kept = listed([str(each) for each in layers])
            advice = f"expected one of its layers ({kept}), or {layer} in teachers.{name}.layers"
            yield parts.problem(key, f"the teacher `{name}` does not keep layer {layer}; {advice}")


def _no_own_head(name: str, teacher: TeacherConfig) -> str:
    configs = {kind: plugins.config_class("teachers", kind) for kind in plugins.kinds("teachers")}
    kinds = [kind for kind, one in configs.items() if issubclass(one, TeacherConfig) and one.own_heads]
    found = f"the teacher `{name}` is of the kind {teacher.kind}, which has no head that can be taken from it"
    return f"{found}; expected one of the kinds {listed(kinds)}"


def _check_logits(parts: Parts, path: KeyPath, loss: LossConfig) -> Iterator[Problem]:
    """A softmax over labels that may hold together gives a loss too: nothing after this would show the mistake."""
    if not isinstance(loss, TaskLossConfig) or loss.logits is None or loss.task not in parts.tasks:
        return
    task = parts.tasks[loss.task]
    if loss.logits != task.logits:
        reads = f"`{loss.kind}` reads logits over {LOGITS[loss.logits]}"
        given = f"`{loss.task}` is of the kind {task.kind}, with logits over {LOGITS[task.logits]}"
        advice = f"expected one of {listed(_losses_of(task))}"
        yield parts.problem((*path, "kind"), f"{reads}; {given}; {advice}")
    elif loss.ordered and not task.ordered:
        given = f"`{loss.task}` is of the kind {task.kind}, whose classes have no order"
        text = f"`{loss.kind}` reads classes in their order; {given}; expected one of {listed(_losses_of(task))}"
        yield parts.problem((*path, "kind"), text)


def _losses_of(task: TaskConfig) -> list[str]:
    """The kinds of loss that read logits of the task's form and of no other."""
    configs = {kind: plugins.config_class("losses", kind) for kind in plugins.kinds("losses")}
    return [
        kind
        for kind, one in configs.items()
        if issubclass(one, TaskLossConfig) and one.logits == task.logits and one.ordered <= task.ordered
    ]


def _check_tasks(parts: Parts) -> Iterator[Problem]:
    if len(parts.losses) < len(parts.names("losses")):
        return  # one that is wrong by itself may be the one that trains the task
    in_groups = [loss for loss in parts.losses.values() if isinstance(loss, TaskLossConfig) and loss.trains_head]
    trained = {loss.group for loss in in_groups if not _always_zero(loss)}
    for name in parts.names("tasks"):
        if name not in trained:
            advice = f"expected one, for example `losses.{name}: {{kind: supervised, task: {name}}}`"
            yield parts.problem(("tasks", name), f"no loss trains the head of this task; {advice}")


def _always_zero(loss: LossConfig) -> bool:
    weight = loss.weight
    return weight.start == weight.end == 0 if isinstance(weight, Schedule) else weight == 0
