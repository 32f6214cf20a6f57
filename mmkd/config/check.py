"""The mistakes that need two sections of an experiment, or a file beside it, to see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmkd.config import plugins
from mmkd.config.encoders import ImageEncoder, Images, Start, TextEncoder
from mmkd.config.experiment import Experiment, Student
from mmkd.config.layers import Layer, block_of
from mmkd.config.live import Live
from mmkd.config.local import is_local, local_path
from mmkd.config.mixing import mistakes
from mmkd.config.parts import Parts
from mmkd.config.plugin_base import (
    LogitsForm,
    LossConfig,
    Modality,
    TaskConfig,
    TaskLossConfig,
    TeacherConfig,
    TeacherNeeds,
)
from mmkd.config.problems import KeyPath, Problem, did_you_mean, listed
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
        *_check_student(parts),
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


def unknown(parts: Parts, path: KeyPath, word: str, name: str) -> Problem:
    """A name that the section lacks. word: what it should name; with an s, the section's key."""
    known = parts.names(f"{word}s")
    return parts.problem(path, f"unknown {word} `{name}`; expected one of {listed(known)}{did_you_mean(name, known)}")


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


def _check_student(parts: Parts) -> Iterator[Problem]:
    student = parts.student
    if student is None:
        return
    if not student.reads:
        yield parts.problem(("student",), "found no encoder; expected `text`, `image` or both, or `start`")
    elif "text" not in student.reads:
        for name, task in parts.tasks.items():
            if task.level == "word":
                yield parts.problem(("tasks", name), "the task is over words; expected a student with `text`")
    yield from _check_adapted(parts, student)
    yield from _check_taken_heads(parts, student)
    if student.text is not None and student.text.start is not None:
        yield from _check_start(parts, "text", student.text.start, TextEncoder)
    if student.image is not None and student.image.start is not None:
        yield from _check_start(parts, "image", student.image.start, ImageEncoder)
        name, size = student.image.start.teacher, student.image.size
        teacher: object = parts.teachers.get(name)
        if isinstance(teacher, ImageEncoder) and teacher.size != size:
            text = f"found {size}; the teacher `{name}` reads images of {teacher.size}; expected the same"
            yield parts.problem(("student", "image", "size"), text)


def _check_adapted(parts: Parts, student: Student) -> Iterator[Problem]:
    """An adapted encoder has layers that it can be adapted at; an earlier run's is known when it is read."""
    simple = {"text": student.text is not None and student.text.bag is not None and "bag"}
    simple |= {"image": student.image is not None and student.image.pixels is not None and "pixels"}
    for modality in student.adapt.by_modality():
        path: KeyPath = ("student", "adapt", modality)
        if modality not in student.reads:
            yield parts.problem(path, f"the student does not read {modality}; expected `student.{modality}`")
        elif kind := simple[modality]:
            network = "a transformers encoder" if modality == "text" else "a timm model"
            yield parts.problem(path, f"`student.{modality}` is of the kind `{kind}`; expected {network}")


def _check_taken_heads(parts: Parts, student: Student) -> Iterator[Problem]:
    """What a student that takes teachers' heads expects: tasks, teachers, and losses that learn what stands before."""
    taught = [loss.student_needs().head for loss in parts.losses.values()]
    all_losses_known = len(parts.losses) == len(parts.names("losses"))
    for task, own in student.heads.items():
        path: KeyPath = ("student", "heads", task)
        if parts.lacks("tasks", task):
            yield unknown(parts, path, "task", task)
        elif parts.lacks("teachers", own.teacher):
            yield unknown(parts, (*path, "teacher"), "teacher", own.teacher)
        elif (task, own.teacher) not in taught and all_losses_known:
            example = f"`losses.{own.teacher}_{task}: {{kind: simkd, task: {task}, teacher: {own.teacher}}}`"
            text = f"no loss teaches the feature that the head of `{own.teacher}` reads; expected one, for example "
            yield parts.problem(path, text + example)


def _check_start(
    parts: Parts, modality: Modality, start: Start, kind: type[TextEncoder | ImageEncoder]
) -> Iterator[Problem]:
    """What a student that starts from a teacher's blocks expects of the teacher."""
    path: KeyPath = ("student", modality, "start")
    if parts.lacks("teachers", start.teacher):
        yield unknown(parts, (*path, "teacher"), "teacher", start.teacher)
    elif start.teacher in parts.teachers:
        teacher: object = parts.teachers[start.teacher]
        if not isinstance(teacher, kind):
            network = "a transformers encoder (kind hf_text)" if modality == "text" else "a timm model (kind timm)"
            found = f"`{start.teacher}` is of the kind {parts.teachers[start.teacher].kind}"
            yield parts.problem((*path, "teacher"), f"{found}; expected a teacher that is {network}")
        elif (depth := teacher.blocks()) is not None and max(start.layers) >= depth:
            beyond = listed([str(layer) for layer in start.layers if layer >= depth])
            text = f"the teacher `{start.teacher}` has no block {beyond}; expected blocks from 0 to {depth - 1}"
            yield parts.problem((*path, "layers"), text)


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
        yield from _check_student_needs(parts, path, loss)


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


def _check_student_needs(parts: Parts, path: KeyPath, loss: LossConfig) -> Iterator[Problem]:
    if parts.student is None:
        return
    needs = loss.student_needs()
    for modality in sorted({*needs.modalities, *(modality for modality, _ in needs.layers)}):
        if modality not in parts.student.reads:
            key = parts.find(path, modality, "modality")
            yield parts.problem(key, f"the loss needs a student that reads {modality}; expected `student.{modality}`")
    if needs.head is not None:
        task, teacher = needs.head
        own = parts.student.heads.get(task)
        if own is None or own.teacher != teacher:
            found = "a head of its own" if own is None else f"that of `{own.teacher}`"
            text = f"the student has {found} for `{task}`; expected `student.heads: {{{task}: {{teacher: {teacher}}}}}`"
            yield parts.problem((*path, "kind"), text)
    for modality, layer in needs.layers:
        if layer is not None and (wrong := _lacking(parts.student, modality, layer)) is not None:
            block = block_of(layer)
            yield parts.problem(parts.find(path, layer if block is None else block, "student_layer", "pairs"), wrong)


def _lacking(student: Student, modality: Modality, layer: Layer) -> str | None:
    """Why the student does not have this layer, as far as its section says it."""
    text, image, block = student.text, student.image, block_of(layer)
    linear = (
        (text is not None and text.bag is not None)
        if modality == "text"
        else (image is not None and image.pixels is not None)
    )
    if linear:
        key = "text.bag" if modality == "text" else "image.pixels"
        return None if layer == 0 else f"the student has no layer {layer}; `student.{key}` has the layer 0 alone"
    depth = None
    if modality == "text" and text is not None:
        depth = text.blocks() if text.start is None else len(text.start.layers)
    if modality == "image" and image is not None:
        depth = (
            image.encoder().blocks() if image.model is not None else len(image.start.layers) if image.start else None
        )
    if depth is None or block is None or block < depth:
        return None
    return f"the student has no layer {layer}; expected blocks from 0 to {depth - 1}"


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


def check_files(parts: Parts, folder: Path) -> list[Problem]:
    """Models and weights on this machine that sections name and that are not there. folder: of the experiment."""
    encoders: dict[KeyPath, object] = {("teachers", name): teacher for name, teacher in parts.teachers.items()}
    if parts.student is not None:
        encoders |= {("student", "text"): parts.student.text, ("student", "image"): parts.student.image}
    problems: list[Problem] = []
    if parts.student is not None and parts.student.start is not None:
        problems += _missing(parts, ("student", "start", "run"), parts.student.start.run, folder, True)
    for name, teacher in parts.teachers.items():
        for key, named in teacher.files().items():
            problems += _missing(parts, ("teachers", name, key), named, folder, True)
    for path, encoder in encoders.items():
        if isinstance(encoder, TextEncoder) and encoder.model is not None:
            problems += _missing(parts, (*path, "model"), encoder.model, folder, is_local(encoder.model))
        if isinstance(encoder, Images) and encoder.weights is not None:
            problems += _missing(parts, (*path, "weights"), encoder.weights, folder, True)
    return problems


def _missing(parts: Parts, path: KeyPath, named: str, folder: Path, is_path: bool) -> Iterator[Problem]:
    """Models are not looked for beside the experiment, so what is there under that name is a likely mistake."""
    beside = folder / named
    if local_path(named) is not None or not (is_path or beside.exists()):
        return
    hint = f"; did you mean `{beside}`?" if beside.exists() else ""
    yield parts.problem(path, f"there is no `{named}`; expected a path from the working folder or MMKD_DATA{hint}")
