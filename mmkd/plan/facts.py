"""What a plan says, as plain dataclasses: `dataclasses.asdict` of a Plan is its JSON. No torch here.

Units are in the names: seconds, bytes, flops (a multiplication and an addition are two).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Basis = Literal["exact", "measured", "estimated"]
"""exact: follows from the file, the data and the networks. measured: seen in a few steps. estimated: computed from
what was measured, for more work than that, or for work that was not tried."""


@dataclass(frozen=True)
class Number:
    """A value, and how it is known."""

    value: float
    basis: Basis


@dataclass(frozen=True)
class FinetunePlan:
    """found: the trained weights are there. epochs, steps: at most, since validation may stop it before."""

    found: bool
    folder: str
    epochs: int
    steps: int
    seconds: Number | None


@dataclass(frozen=True)
class ArrayPlan:
    """One output of a teacher as it is stored. shape: of one value; per: what has one value."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    per: Literal["row", "word"]
    bytes: int


@dataclass(frozen=True)
class CachePlan:
    """What a teacher says about the training rows, over all views.

    splits: `data set/split`. rows, words: of all views. found_rows: those that lie in the cache already; passes: rows
    that the teacher still has to be asked about. bytes: of the arrays; headers and manifests add a few KiB.
    seconds: for the passes.
    """

    splits: tuple[str, ...]
    views: int
    dtype: str
    rows: int
    words: int
    found_rows: int
    passes: int
    arrays: tuple[ArrayPlan, ...]
    bytes: Number
    seconds: Number | None


@dataclass(frozen=True)
class TeacherPlan:
    """What one teacher costs.

    finetune: None for a teacher that is not trained. cache: None when no loss uses it, or when it runs live.
    evaluation_rows: of its own evaluation, on validation and test. flops_per_sample: of a forward pass.
    """

    name: str
    kind: str
    parameters: int
    finetune: FinetunePlan | None
    cache: CachePlan | None
    flops_per_sample: Number | None
    evaluation_rows: int
    evaluation_seconds: Number | None


@dataclass(frozen=True)
class Memory:
    """Bytes that training holds. parameters: of student, losses and weighting, frozen ones too.

    peak: of the accelerator while the student trained, or the largest resident set of this process, teachers included.
    """

    parameters: int
    gradients: int
    optimizer: int
    peak: Number | None


@dataclass(frozen=True)
class StudentPlan:
    """What the student costs, without the teachers.

    parameters: how many the stored student has. trained_parameters: how many learn. rows, batches, steps: of an epoch.
    flops: by phase, of a sample; those of an epoch are of training alone. batch_seconds: by phase. epoch_seconds: with
    its validation; final_seconds: of the last evaluation, on validation and test. disk_bytes: of all seeds' weights.
    """

    parameters: int
    trained_parameters: int
    rows: int
    batches: int
    steps: int
    epochs: int
    seeds: int
    flops_per_sample: dict[str, float]
    flops_per_epoch: Number
    batch_seconds: dict[str, float] | None
    epoch_seconds: Number | None
    final_seconds: Number | None
    memory: Memory
    disk_bytes: Number


@dataclass(frozen=True)
class Choice:
    """What a choice costs when nothing is there yet, over all seeds and epochs; fine-tuning is left out.

    first_seconds: before the first epoch. chosen: the file's own.
    """

    name: str
    chosen: bool
    disk_bytes: Number
    first_seconds: Number | None
    epoch_seconds: Number | None
    seconds: Number | None


@dataclass(frozen=True)
class Plan:
    """What a run will compute. seconds: in all, with what is found already left out.

    break_even: epochs, counted over all seeds, after which building the cache has cost less than live teachers.
    encoded: the folder that encoded data was written to; a run needs it as well.
    """

    name: str
    device: str
    measured_batches: int
    teachers: tuple[TeacherPlan, ...]
    student: StudentPlan
    choices: tuple[Choice, ...]
    break_even: Number | None
    seconds: Number | None
    encoded: str
