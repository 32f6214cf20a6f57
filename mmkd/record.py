"""The run record: one JSON file per run and seed, from which every table follows. No torch here.

A record carries the sha256 of its own content, so that an edited digit is noticed, and the sha256 of the
per-example predictions that lie beside it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from mmkd.config.experiment import Experiment
from mmkd.config.section import Section
from mmkd.errors import MmkdError

Direction = Literal["maximize", "minimize"]
Scores = dict[str, dict[str, "Score"]]
"""task -> metric -> Score; the first metric of a task, by `RunRecord.primary`, is the one in tables."""


class RecordError(MmkdError):
    """A record cannot be read or trusted; the message names the file, what was found and what to do."""


class Score(Section):
    """One metric on one split. value: a fraction unless the metric says otherwise; n: examples or words behind it."""

    value: float
    n: int
    direction: Direction = "maximize"


class Code(Section):
    """The code that ran. commit: of the project's repository, None outside one; diff: sha256 of what it changed."""

    version: str
    commit: str | None
    diff: str | None


class Machine(Section):
    """Where the run took place; equal bits are promised for an equal machine, threads and processes only.

    cpu_features: the vector instructions that torch chose. cpu_flags: those that the processor has. libraries: those
    that multiply matrices. threads: within an operation, of each process; interop_threads: between operations; None:
    not known. processes: those that trained together.
    """

    device: str
    cpu: str
    cpu_features: str
    cpu_flags: list[str] = []
    libraries: list[str] = []
    threads: int
    interop_threads: int | None = None
    processes: int = 1
    platform: str
    python: str


class Opening(Section):
    """One opening of the test split. who: `seed0`, or `teacher-<name>`. when: UTC, as text. command: how it was run."""

    who: str
    when: str
    command: str


class Selection(Section):
    """How the kept epoch was chosen. metric: `mean_score` is the mean of the tasks' first metrics."""

    split: Literal["validation"] = "validation"
    metric: str = "mean_score"
    direction: Direction = "maximize"
    epoch: int
    value: float


class Soup(Section):
    """What a mean of students was made of, each by its record's digest, with the record's name in the ledger.

    recipe: `uniform` or `greedy`. asked: all that could take part; used: those that do.
    """

    recipe: Literal["uniform", "greedy"]
    asked: dict[str, str]
    used: dict[str, str]


class RunRecord(Section):
    """One run of one seed.

    role: `student` for a distilled or plain student, `teacher` for the fine-tuning of the teacher `teacher`.
    name: the experiment's name. experiment: the resolved experiment, which loads back equal; experiment_hash: of it,
        without its seeds.
    data: data set -> fingerprint. rows: `data set/split` -> rows as read, used, quarantined by reason, accepted by
        reason, and places masked by kind of personal data.
    teachers: teacher -> part of its identity -> hash (weights, cache key ...).
    start: sha256 of the student's weights before its first step, pretrained ones included; None for a teacher.
    soup: what a mean of students was made of, which trained nothing itself.
    weights: sha256 of the student's weights that are kept; None for a teacher.
    primary: task -> the metric that selects and that stands in tables. labels: task -> its classes' names, in the order
        of the logits; empty in records of versions that did not keep them.
    scores: split -> task -> metric -> Score; of a student that reads text and images also `test without text` and
        `test without image`. ceilings: task -> metric -> text, image or both -> best reachable score
        on test, where the data set knows it.
    history: one mapping per epoch. skipped_steps: left out over all epochs, where a number was inf or NaN.
    parameters: weights of the network that is kept. trained_parameters: of them and of low-rank products, how many
        learned; None for a teacher.
    flops: operations of a forward pass, per example of a validation batch of middle length, padding among them; a
        multiply-add is two. None for what is no network, and in records of versions that did not count them.
    seconds: phase -> wall time in s. peak_memory: resident set, in bytes.
    test_openings: how often runs of this experiment opened the test split for this network, this time included.
    openings: all of them, of its other networks too, as the run's folder counts them.
    predictions: sha256 of the predictions file beside the record.
    """

    schema_version: Literal[1] = 1
    name: str
    role: Literal["student", "teacher"]
    teacher: str | None = None
    seed: int
    experiment: dict[str, Any]
    experiment_hash: str
    command: str
    code: Code
    data: dict[str, str]
    rows: dict[str, dict[str, int | dict[str, int]]] = {}
    teachers: dict[str, dict[str, str]]
    start: str | None = None
    soup: Soup | None = None
    weights: str | None = None
    packages: dict[str, str]
    machine: Machine
    selection: Selection
    primary: dict[str, str]
    labels: dict[str, list[str]] = {}
    scores: dict[str, dict[str, dict[str, Score]]]
    ceilings: dict[str, dict[str, dict[str, float]]] = {}
    history: list[dict[str, Any]]
    skipped_steps: int = 0
    parameters: int
    trained_parameters: int | None = None
    flops: float | None = None
    seconds: dict[str, float]
    peak_memory: int
    test_openings: int
    openings: list[Opening] = []
    created: str
    predictions: str | None
    digest: str = ""

    @property
    def file_name(self) -> str:
        """The record's name in the ledger: one per experiment, role and seed."""
        return f"{self.name}/{self.network}-seed{self.seed}.json"

    @property
    def network(self) -> str:
        """Which network of the experiment it is of: `student`, or `teacher-<name>`."""
        return self.role if self.teacher is None else f"{self.role}-{self.teacher}"

    @property
    def predicted_split(self) -> str:
        """The split that its predictions are of: test, where it was scored."""
        return "test" if "test" in self.scores else "validation"

    @property
    def outcome(self) -> str:
        """sha256 of what ran and what came out of it; neither of when and where, nor of the commit.

        A run of the same numbers has the same one, so that a table made again from it is the same to the byte.
        """
        kept = {"name", "role", "teacher", "seed", "experiment_hash", "data", "weights", "selection", "scores"}
        return hash_of(self.model_dump(mode="json", include=kept | {"history", "predictions"}))

    def mean_score(self, split: str) -> float:
        """Mean over tasks of each task's first metric.

        Raises KeyError when the split was not scored.
        """
        scores = self.scores[split]
        return sum(scores[task][metric].value for task, metric in self.primary.items()) / len(self.primary)


def split_without(split: str, modality: str) -> str:
    """What a split is called in `scores` when one modality was hidden from the network."""
    return f"{split} without {modality}"


def digest_of(content: dict[str, Any]) -> str:
    """sha256 of a record's content, its own `digest` left out."""
    plain = {key: value for key, value in content.items() if key != "digest"}
    return hash_of(plain)


def hash_of(plain: Any) -> str:
    """sha256 of plain data, independent of key order."""
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def decisive(experiment: dict[str, Any]) -> dict[str, Any]:
    """A resolved experiment without its seeds, its description and what changes no number."""
    idle = {"checkpoint", "workers"}
    return {
        key: {name: each for name, each in value.items() if name not in idle} if key == "train" else value
        for key, value in experiment.items()
        if key not in {"seeds", "description", "track"} and (key != "changes" or value)
    }


def experiment_hash(experiment: Experiment) -> str:
    """sha256 of all that the experiment says, but for its seeds, its description and what changes no number."""
    return hash_of(decisive(experiment.dump()))


def write_record(record: RunRecord, path: Path) -> None:
    """Write a record, with its digest, so that the file is either whole or absent."""
    content = record.model_dump(mode="json")
    content["digest"] = digest_of(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    temporary.replace(path)


def read_record(path: Path) -> RunRecord:
    """Read a record and check its digest.

    Raises RecordError when the file is not a record, or was changed after it was written.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        record = RunRecord.model_validate(content)
    except (OSError, ValueError, ValidationError) as error:
        raise RecordError(f"{path}: not a run record that this version reads: {error}") from error
    if record.digest != digest_of(content):
        raise RecordError(
            f"{path}: the content does not match its own sha256 (found {digest_of(content)[:12]}, expected "
            f"{record.digest[:12]}): it was changed after the run wrote it; restore it, or run the experiment again"
        )
    return record
