"""What all seeds of an experiment share: the data, the tasks, who reads what, and the frozen teachers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from accelerate import Accelerator
from rich.progress import Progress

from mmkd.config import plugins
from mmkd.config.encoders import ImageEncoder, Start, TextEncoder
from mmkd.config.experiment import Experiment
from mmkd.config.experiment import Student as StudentConfig
from mmkd.config.layers import Layer
from mmkd.data.corpus import Corpus, Readers
from mmkd.data.mix import Mix
from mmkd.data.pixels import ImageReader
from mmkd.data.tokens import text_reader
from mmkd.encoders.start import shorter_image, shorter_text
from mmkd.heads import TaughtHead
from mmkd.losses.base import Loss, Setting
from mmkd.objective import Terms, groups_of
from mmkd.places import Places
from mmkd.processes import new_accelerator
from mmkd.student.start import earlier_student, with_origin
from mmkd.student.stored import Stored
from mmkd.student.student import READER, Student
from mmkd.tasks.base import Task
from mmkd.teachers.base import Speaker
from mmkd.weighting.base import Weighting


@dataclass(frozen=True)
class Workspace:
    """One experiment, opened. near: the experiment file, or the folder to look for cards from.

    student_config: the student's section, with the architectures of teachers that it starts from.
    taken: tasks whose head the student that it goes on from took from a teacher -> width of what the head reads.
    """

    experiment: Experiment
    near: Path
    places: Places
    mix: Mix
    tasks: dict[str, Task]
    readers: Readers
    student_config: StudentConfig
    taken: dict[str, int]
    accelerator: Accelerator
    progress: Progress

    def student(self, teachers: Mapping[str, Speaker]) -> Student:
        """A new student; its weights come from torch's random state, those too that will start from a teacher's.

        teachers: those whose heads it takes are among them.
        """
        layers: dict[str, tuple[Layer, ...]] = {}
        for loss in self.experiment.losses.values():
            for modality, layer in loss.student_needs().layers:
                if layer is not None:
                    layers[modality] = (*layers.get(modality, ()), layer)
        taken = {task: head.width for task, head in self.taken_heads(teachers).items()}
        return Student(self.student_config, self.tasks, self.readers, layers, {**self.taken, **taken})

    def taken_heads(self, teachers: Mapping[str, Speaker]) -> dict[str, TaughtHead]:
        """Teachers' heads that the student ends in, by task."""
        named = self.experiment.student.heads
        return {task: teachers[own.teacher].taught_heads()[task] for task, own in named.items()}

    def terms(self, student: Student, teachers: Mapping[str, Speaker]) -> Terms:
        """New losses of the experiment, for this student and these teachers."""
        shapes = {name: teacher.shape for name, teacher in teachers.items()}
        heads = {name: teacher.taught_heads() for name, teacher in teachers.items()}
        setting = Setting(self.tasks, student.shape, shapes, heads)
        losses: dict[str, Loss] = {
            name: plugins.load("losses", config.kind).Loss(config, setting)
            for name, config in self.experiment.losses.items()
        }
        return Terms(losses, self.experiment.weighting.over)

    def weighting(self) -> Weighting:
        """A new weighting over the experiment's tasks, or over the parts of each."""
        config = self.experiment.weighting
        groups = groups_of(self.experiment.losses.values(), self.tasks, config.over)
        return plugins.load("weighting", config.kind).Weighting(config, groups)

    def reader(self, name: str) -> Readers:
        """The corpus readers of one network: a teacher, or the student."""
        text = {name: self.readers.text[name]} if name in self.readers.text else {}
        image = {name: self.readers.image[name]} if name in self.readers.image else {}
        return Readers(text, image)

    def follow(self, label: str) -> Callable[[int, int], None]:
        """A new progress bar, as a function of work done and work in all."""
        return follow_in(self.progress, label)

    def say(self, text: str) -> None:
        """Say a line above the progress bars."""
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def training(self, readers: Readers, epoch: int = 0, folder: Path | None = None) -> Corpus:
        """The training rows that an epoch reads: the view of that epoch, where the experiment augments.

        folder: where a view that no other epoch reads is encoded.
        """
        augment = self.experiment.augment
        return self.mix.training(readers, None if augment is None else augment.view_at(epoch), folder)


def follow_in(progress: Progress, label: str) -> Callable[[int, int], None]:
    """A new progress bar, which is seen once there is something done."""
    if not progress.disable and not progress.console.is_terminal:
        progress.console.print(f"{label} ...")  # a log file shows bars only when all is done
    bar = progress.add_task(label, total=None, visible=False)
    return lambda done, total: progress.update(bar, completed=min(done, total), total=total, visible=True)


def open_workspace(experiment: Experiment, near: Path, progress: Progress) -> Workspace:
    """Open the experiment's data and make its readers.

    Raises what `Mix` and the tokenizers raise for data or models that are missing or not as they must be.
    """
    places = Places.near(near)
    follow = functools.partial(follow_in, progress)
    accelerator = new_accelerator(experiment.train.precision)
    with accelerator.main_process_first():
        mix = Mix(experiment.data, experiment.tasks, near, places.cache / "data", experiment.augment, follow)
        tasks = {
            name: plugins.load("tasks", config.kind).Task(config, name, mix.labels(name))
            for name, config in experiment.tasks.items()
        }
        earlier = earlier_student(experiment.student)
        readers = _readers(experiment, mix, places.cache / "tokenizers", earlier)
    student = _student_config(experiment, readers, earlier)
    taken = {} if earlier is None else {task: width for task, width in earlier.taken.items() if task in tasks}
    return Workspace(experiment, near, places, mix, tasks, readers, student, taken, accelerator, progress)


def _readers(experiment: Experiment, mix: Mix, folder: Path, earlier: Stored | None) -> Readers:
    """Every network's own tokenizer and image size. Texts are read once, and only for a tokenizer that needs them.

    earlier: the student that this one starts from, and reads as.
    """
    texts = functools.cache(mix.labelled_texts)
    student = experiment.student
    text = {} if earlier is None else dict(earlier.readers.text)
    image = {} if earlier is None else dict(earlier.readers.image)
    if student.text is not None:
        own_text: TextEncoder = student.text
        if student.text.start is not None:
            teacher = start_of(experiment, student.text.start, TextEncoder)
            own_text = teacher.model_copy(update={"max_tokens": student.text.max_tokens})
        text[READER] = text_reader(own_text, texts() if own_text.model is None else (), folder)
    if student.image is not None:
        image[READER] = ImageReader(student.image.size)
    for name, config in experiment.teachers.items():
        own = plugins.load("teachers", config.kind).Teacher.readers_of(config, name, texts, folder)
        text |= own.text
        image |= own.image
    return Readers(text, image)


Section = TypeVar("Section", TextEncoder, ImageEncoder)


def start_of(experiment: Experiment, start: Start, kind: type[Section]) -> Section:
    """The section of the teacher that the student starts from, as an encoder."""
    teacher: object = experiment.teachers[start.teacher]
    assert isinstance(teacher, kind)  # checked by the config
    return teacher


def _student_config(experiment: Experiment, readers: Readers, earlier: Stored | None) -> StudentConfig:
    """The student's section with what it starts from spelled out.

    Raises ValueError for blocks that a teacher does not have.
    """
    student = experiment.student
    if earlier is not None:
        return with_origin(student, earlier)
    text, image = student.text, student.image
    if text is not None and text.start is not None:
        text = shorter_text(text, start_of(experiment, text.start, TextEncoder), readers.text[READER])
    if image is not None and image.start is not None:
        image = shorter_image(image, start_of(experiment, image.start, ImageEncoder))
    return student.model_copy(update={"text": text, "image": image})
