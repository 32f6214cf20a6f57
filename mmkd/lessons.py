"""Each batch with what the teachers say about it. Live teachers may run ahead, in a process or device of their own.

They say the same there, bit by bit on the same kind of device: a teacher depends on nothing but its weights and the
batch. The process makes each teacher anew from its config and weights, since networks that were used hold hooks that
cannot be sent; then it gets batches, a few before the student needs them. It ends when the run closes it, and by
itself when the run is gone.
"""

from __future__ import annotations

import os
import queue
import signal
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, multiprocessing

from mmkd.config import plugins
from mmkd.config.live import Live
from mmkd.data.batches import to_device
from mmkd.data.corpus import Readers
from mmkd.errors import MmkdError
from mmkd.tasks.base import Task
from mmkd.teachers.base import Speaker, Teacher
from mmkd.types import Batch, Outputs

Lesson = tuple[Batch, dict[str, Outputs]]
POLL = 2.0
"""Seconds between two looks at whether the other process is still there."""


class LiveTeacherError(MmkdError):
    """Teachers in a process of their own could not speak; the message says why."""


class Lessons(Protocol):
    """Gives each batch, on the student's device, with what each teacher says about it, by name."""

    def __call__(self, batches: Iterable[Batch]) -> Iterator[Lesson]:
        """The batches in their order."""
        ...


@contextmanager
def lessons(teachers: Mapping[str, Speaker], live: Live, device: torch.device) -> Iterator[Lessons]:
    """Lessons of these teachers, for as long as the context lasts. device: the student's."""
    own = torch.device(live.device) if live.device is not None else device
    networks = {name: each for name, each in teachers.items() if isinstance(each, Teacher) and each.config.network}
    if live.process and networks:
        here = {name: each for name, each in teachers.items() if name not in networks}
        ahead = Ahead(networks, here, own, device, live.ahead)
        try:
            yield ahead
        finally:
            ahead.close()
    else:
        yield Inline(teachers, own, device)


class Inline:
    """Asks the teachers when the student is there."""

    def __init__(self, teachers: Mapping[str, Speaker], own: torch.device, device: torch.device) -> None:
        """own: the teachers' device, to which they are brought. device: the student's."""
        self._teachers, self._own, self._device = {n: t.to(own) for n, t in teachers.items()}, own, device

    def __call__(self, batches: Iterable[Batch]) -> Iterator[Lesson]:
        """The batches in their order."""
        for batch in batches:
            yield to_device(batch, self._device), to_device(_asked(self._teachers, batch, self._own), self._device)


@dataclass(frozen=True)
class Recipe:
    """What a process needs to make a frozen teacher anew."""

    config: dict[str, Any]
    tasks: Mapping[str, Task]
    readers: Readers
    weights: dict[str, Tensor]

    @classmethod
    def of(cls, teacher: Teacher) -> Recipe:
        """The recipe of this teacher, with its weights as they are."""
        return cls(teacher.config.model_dump(by_alias=True), teacher.tasks, teacher.readers, teacher.state_dict())

    def make(self, name: str) -> Teacher:
        """The teacher of that name."""
        plugin = plugins.load("teachers", self.config["kind"])
        teacher: Teacher = plugin.Teacher(plugin.Config(**self.config), name, self.tasks, self.readers)
        teacher.load_state_dict(self.weights)
        teacher.freeze()
        return teacher


class Ahead:
    """Asks the teachers in another process, up to `ahead` batches before the student needs them."""

    def __init__(
        self,
        teachers: Mapping[str, Teacher],
        here: Mapping[str, Speaker],
        own: torch.device,
        device: torch.device,
        ahead: int,
    ) -> None:
        """Start the process. own: the teachers' device; device: the student's; ahead: batches, 1 or more.

        here: those that are no networks, for instance a file of logits, which are asked when the student is there.
        """
        self._here, self._device, self._ahead = dict(here), device, ahead
        context = multiprocessing.get_context("spawn")
        self._questions, self._answers = context.Queue(), context.Queue()
        settings = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), os.getpid())
        recipes = {name: Recipe.of(teacher) for name, teacher in teachers.items()}
        arguments = (recipes, own, settings, self._questions, self._answers)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()

    def __call__(self, batches: Iterable[Batch]) -> Iterator[Lesson]:
        """The batches in their order. Raises LiveTeacherError when a teacher fails or its process is gone."""
        waiting: deque[Batch] = deque()
        for batch in batches:
            self._questions.put(batch)
            waiting.append(batch)
            if len(waiting) > self._ahead:
                yield self._lesson(waiting.popleft())
        while waiting:
            yield self._lesson(waiting.popleft())

    def _lesson(self, batch: Batch) -> Lesson:
        said = self._answer()
        if isinstance(said, str):
            raise LiveTeacherError(f"a live teacher failed in its own process:\n{said}")
        batch = to_device(batch, self._device)
        return batch, to_device(said, self._device) | _asked(self._here, batch, self._device)

    def _answer(self) -> Any:
        """What the process says next: outputs, or the traceback of what went wrong there."""
        lost: Exception | None = None
        while True:
            try:
                said = self._answers.get(timeout=POLL)
                if lost is None or isinstance(said, str):
                    return said
            except (OSError, EOFError) as error:  # tensors of a process that has ended, which may have said why
                lost = error
            except queue.Empty:
                if not self._process.is_alive():
                    code = self._process.exitcode
                    text = f"the process of the live teachers ended by itself (exit code {code}); it may have run out"
                    raise LiveTeacherError(f"{text} of memory: set `train.live.process: false`, or cache") from lost
                if lost is not None:
                    raise LiveTeacherError(f"what the live teachers said was lost on its way: {lost}") from lost

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.join()
        for each in (self._questions, self._answers):
            each.cancel_join_thread()
            each.close()


@torch.no_grad()
def _asked(teachers: Mapping[str, Speaker], batch: Batch, device: torch.device) -> dict[str, Outputs]:
    on_device = to_device(batch, device) if teachers else batch
    return {name: teacher(on_device) for name, teacher in teachers.items()}


def _serve(
    recipes: dict[str, Recipe], device: torch.device, settings: tuple[int, bool, int], questions: Any, answers: Any
) -> None:
    threads, deterministic, parent = settings
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # they reach the run too, which closes this process
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        teachers = {name: recipe.make(name).to(device) for name, recipe in recipes.items()}
        while os.getppid() == parent:
            try:
                batch = questions.get(timeout=POLL)
            except queue.Empty:
                continue
            answers.put(to_device(_asked(teachers, batch, device), torch.device("cpu")))
    except Exception:  # whatever it is, the run must hear of it
        answers.put(traceback.format_exc())
