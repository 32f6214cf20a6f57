"""What a student expects of tasks, teachers and losses, and what losses expect of it."""

from __future__ import annotations

from collections.abc import Iterator

from mmkd.config.encoders import ImageEncoder, Start, TextEncoder
from mmkd.config.experiment import Student
from mmkd.config.layers import Layer, block_of
from mmkd.config.parts import Parts, unknown
from mmkd.config.plugin_base import (
    LossConfig,
    Modality,
)
from mmkd.config.problems import KeyPath, Problem, listed


def check_student(parts: Parts) -> Iterator[Problem]:
    """What the student expects of tasks, teachers and losses."""
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


def check_student_needs(parts: Parts, path: KeyPath, loss: LossConfig) -> Iterator[Problem]:
    """What a loss expects of the student. path: of the loss."""
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
