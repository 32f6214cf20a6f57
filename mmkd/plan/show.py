"""A plan in the terminal, and as JSON. No torch here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmkd.plan.facts import ArrayPlan, CachePlan, FinetunePlan, Number, Plan, TeacherPlan

MARKS = {"exact": "", "measured": "m ", "estimated": "≈ "}
LEGEND = "no mark: exact; m: measured in a few steps; ≈: estimated from what was measured"
NONE = "–"


def to_json(plan: Plan) -> str:
    """The plan for machines; every number that is not exact by nature says how it is known."""
    return json.dumps(asdict(plan), indent=1)


def shown(plan: Plan) -> RenderableType:
    """The plan for people."""
    parts: list[RenderableType] = [Text(f"{plan.name} on {plan.device}: what a run computes", style="bold")]
    if plan.teachers:
        parts += [_teachers(plan), _arrays(plan)]
    parts += [_student(plan)]
    if plan.choices:
        parts.append(_choices(plan))
    parts += [Text(line) for line in _notes(plan)]
    return Group(*parts)


def duration(seconds: float) -> str:
    """Seconds for people, to two or three digits."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = seconds / 60
    return f"{minutes:.3g} min" if minutes < 120 else f"{minutes / 60:,.3g} h"


def size(count: float) -> str:
    """Bytes for people."""
    return _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def operations(count: float) -> str:
    """Floating-point operations for people."""
    return _scaled(count, 1000, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"))


def _scaled(count: float, base: int, units: tuple[str, ...]) -> str:
    power = 0
    while count >= base and power < len(units) - 1:
        count, power = count / base, power + 1
    return f"{count:.0f} {units[power]}" if power == 0 or count >= 100 else f"{count:.3g} {units[power]}"


def _number(number: Number | None, text: Callable[[float], str]) -> str:
    return NONE if number is None else MARKS[number.basis] + text(number.value)


def _grid(title: str, *columns: str) -> Table:
    grid = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    grid.add_column("", no_wrap=True)
    for name in columns:
        grid.add_column(name, justify="right", overflow="fold")
    return grid


def _teachers(plan: Plan) -> Table:
    grid = _grid("teachers", "parameters", "a pass", "weights", "", "outputs", "to ask", "", "cache", "own test")
    for each in plan.teachers:
        grid.add_row(
            f"{each.name} ({each.kind})",
            f"{each.parameters:,}",
            _number(each.flops_per_sample, operations),
            *_finetune(each.finetune),
            *_cache(each.cache),
            _number(each.evaluation_seconds, duration),
        )
    return grid


def _finetune(found: FinetunePlan | None) -> tuple[str, str]:
    if found is None:
        return "not trained", NONE
    if found.found:
        return "found", NONE
    return f"to train: {found.epochs} epochs, {found.steps:,} steps", _number(found.seconds, duration)


def _cache(cache: CachePlan | None) -> tuple[str, str, str, str]:
    if cache is None:
        return "no cache", NONE, NONE, NONE
    views = f" x {cache.views} views" if cache.views > 1 else ""
    what = f"{', '.join(cache.splits)}{views}: {cache.rows:,} rows"
    state = "found" if cache.passes == 0 else f"{cache.passes:,} rows"
    return what, state, _number(cache.seconds, duration), _number(cache.bytes, size)


def _arrays(plan: Plan) -> RenderableType:
    found = [(each, array) for each in plan.teachers for array in _stored(each)]
    if not found:
        return Text("")
    grid = _grid("what the cache holds", "type", "shape", "one per", "bytes")
    for teacher, array in found:
        shape = " x ".join(str(n) for n in array.shape) or "1"
        grid.add_row(f"{teacher.name} {array.name}", array.dtype, shape, array.per, size(array.bytes))
    return grid


def _stored(teacher: TeacherPlan) -> tuple[ArrayPlan, ...]:
    return teacher.cache.arrays if teacher.cache is not None else ()


def _student(plan: Plan) -> Table:
    student, memory = plan.student, plan.student.memory
    grid = Table(title="student", box=box.SIMPLE_HEAD, title_justify="left", show_header=False)
    grid.add_column("", no_wrap=True)
    grid.add_column("")
    flops = ", ".join(f"{name} {operations(value)}" for name, value in student.flops_per_sample.items())
    grid.add_row("parameters", f"{student.parameters:,}, of which {student.trained_parameters:,} train")
    grid.add_row("an epoch", f"{student.rows:,} rows, {student.batches:,} batches, {student.steps:,} steps")
    grid.add_row("in all", f"{student.seeds} seeds x {student.epochs} epochs")
    grid.add_row("operations of a sample", f"{operations(sum(student.flops_per_sample.values()))} ({flops})")
    grid.add_row("operations of an epoch", _number(student.flops_per_epoch, operations))
    if student.batch_seconds is not None:
        parts = ", ".join(f"{name} {duration(value)}" for name, value in student.batch_seconds.items())
        grid.add_row("time of a batch", f"m {duration(sum(student.batch_seconds.values()))} ({parts})")
        grid.add_row("time of an epoch", f"{_number(student.epoch_seconds, duration)}, validation included")
    parts = f"parameters {size(memory.parameters)}, gradients {size(memory.gradients)}"
    grid.add_row("memory", f"{parts}, optimizer {size(memory.optimizer)}; peak {_number(memory.peak, size)}")
    grid.add_row("weights on disk", _number(student.disk_bytes, size))
    return grid


def _choices(plan: Plan) -> Table:
    title = "what choices cost, from nothing, all seeds and epochs, fine-tuning left out"
    grid = _grid(title, "disk", "before epoch 1", "an epoch", "in all")
    for each in plan.choices:
        grid.add_row(
            Text(f"{each.name}{' (this file)' if each.chosen else ''}", style="bold" if each.chosen else ""),
            _number(each.disk_bytes, size),
            *(_number(each_time, duration) for each_time in (each.first_seconds, each.epoch_seconds, each.seconds)),
        )
    return grid


def _notes(plan: Plan) -> Iterator[str]:
    if plan.seconds is not None:
        yield f"The run in all: {_number(plan.seconds, duration)}, with what is found left out."
    if plan.break_even is not None:
        yield (
            f"The cache has paid for itself after {_number(plan.break_even, '{:.2g}'.format)} epochs, counted over all "
            f"seeds, of {plan.student.seeds * plan.student.epochs}."
        )
    if plan.measured_batches == 0:
        yield "Nothing was timed (--no-measure)."
    yield f"{LEGEND}."
    yield f"Encoded data and tokenizers, which a run needs too, lie in {plan.encoded}; nothing else was written."
