"""The guard against inf and NaN: each place where one can arise is planted, and named; a healthy run is as it was."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

import mmkd.finite
import mmkd.train
from mmkd.config.experiment import Train
from mmkd.config.plugin_base import LossConfig, TeacherNeeds
from mmkd.data.corpus import Corpus
from mmkd.finite import IN_A_ROW
from mmkd.losses.base import Loss, Setting
from mmkd.objective import NonFinite
from mmkd.teachers.base import Speaker
from mmkd.train import Players, Trained, train
from mmkd.types import Batch, Outputs
from mmkd.weighting import dwa, fixed
from test_processes import in_two_processes
from test_train import corpus_of, players_of
from tiny_project import TASKS, same_weights

VICTIM = "train/7"
SETTINGS = Train(epochs=2, batch_size=6, lr=1e-3)


class PlantedConfig(LossConfig):
    kind: str = "planted"

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        return ()


class Planted(Loss):
    """The mean of the fused features, NaN where one row is in the batch."""

    victims: tuple[str, ...] = (VICTIM,)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        assert student.fused is not None
        rows = torch.tensor([math.nan if name in self.victims else 1.0 for name in batch.ids])
        return (student.fused.mean(-1) * rows).mean()


class Explodes(torch.autograd.Function):
    """Changes nothing on the way there; on the way back, the gradient of one batch is infinite."""

    @staticmethod
    def forward(context: Any, values: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return values.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * context.factor, None


class Steep(nn.Module):
    """A layer around another; its gradient is infinite in training. calls: only those, counted from 0."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *arguments: Any, **named: Any) -> Any:
        found = self.inner(*arguments, **named)
        return Explodes.apply(found, math.inf)


class Overflows(nn.Module):
    """A layer whose output has an inf in its first row."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *arguments: Any, **named: Any) -> Any:
        found = self.inner(*arguments, **named).clone()
        found[0] = math.inf
        return found


class Said(Speaker):
    """A cache that says what a teacher says, but for one number about one row."""

    def __init__(self, teacher: Speaker, value: float) -> None:
        super().__init__()
        self.teacher, self.name, self.shape, self.value = teacher, teacher.name, teacher.shape, value

    def forward(self, batch: Batch) -> Outputs:
        return spoilt(self.teacher(batch), batch, self.value)


def spoilt(outputs: Outputs, batch: Batch, value: float) -> Outputs:
    logits = {task: values.clone() for task, values in outputs.logits.items()}
    if VICTIM in batch.ids:
        logits["mood"][batch.ids.index(VICTIM), 0] = value
    return Outputs(logits, outputs.speaks, outputs.words, outputs.pooled, outputs.has, outputs.hidden)


class Weighs(fixed.Weighting):
    """Gives one task the weight NaN from its third batch on."""

    calls = 0

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        self.calls += 1
        found = super().backward(by_task, rest, shared_parameters, representation)
        return {**found, "risk": math.nan} if self.calls > 2 else found


def run(players: Players, corpus: Corpus, folder: Path, **settings: Any) -> tuple[Trained, list[str]]:
    said: list[str] = []
    own = SETTINGS.model_copy(update=settings)
    return (
        train(players, lambda epoch: corpus, corpus, own, 0, Accelerator(cpu=True), folder / "logs", say=said.append),
        said,
    )


def with_term(players: Players, victims: tuple[str, ...] = (VICTIM,)) -> Players:
    planted = Planted(PlantedConfig(), Setting(TASKS, players.network.shape, {}))
    planted.victims = victims
    players.terms.losses["planted"] = planted
    return players


def replace_module(network: nn.Module, name: str, wrapper: type[nn.Module]) -> None:
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, wrapper(network.get_submodule(name)))


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    yield corpus_of(tmp_path)


def test_a_term_that_is_nan_on_one_row_is_named_with_the_row(corpus: Corpus, tmp_path: Path):
    with pytest.raises(NonFinite, match=rf"step \d+: losses\.planted is not finite; samples {VICTIM};"):
        run(with_term(players_of(corpus)), corpus, tmp_path)


@pytest.mark.parametrize("clip", [1.0, None])
def test_an_exploding_layer_is_named(corpus: Corpus, tmp_path: Path, clip: float | None):
    players = players_of(corpus)
    replace_module(players.network, "heads.mood", Steep)
    with pytest.raises(
        NonFinite, match=r"step 0: the gradient of losses\.mood is not finite, first in heads\.mood[ ;]"
    ):
        run(players, corpus, tmp_path, clip=clip)


def test_a_layer_whose_output_is_infinite_is_named(corpus: Corpus, tmp_path: Path):
    players = players_of(corpus)
    replace_module(players.network, "heads.risk", Overflows)
    with pytest.raises(NonFinite, match=r"step 0: student: logits\.risk is not finite, first in heads\.risk;"):
        run(players, corpus, tmp_path)


def test_a_weight_that_is_not_finite_already_is_named(corpus: Corpus, tmp_path: Path):
    players = players_of(corpus)
    with torch.no_grad():
        players.network.get_parameter("heads.mood.bias")[0] = math.nan
    with pytest.raises(NonFinite, match=r"first in heads\.mood, whose bias is not finite already;"):
        run(players, corpus, tmp_path)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_cached_logit_is_named(corpus: Corpus, tmp_path: Path, value: float):
    players = players_of(corpus, taught=True)
    players.teachers["bert"] = Said(players.teachers["bert"], value)
    expected = rf"teacher bert: logits\.mood \(from its cache or file\) is not finite; samples {VICTIM};"
    with pytest.raises(NonFinite, match=expected):
        run(players, corpus, tmp_path)


def test_a_live_teachers_logit_is_named_with_its_layer(corpus: Corpus, tmp_path: Path):
    players = players_of(corpus, taught=True)
    replace_module(players.teachers["bert"], "heads.mood", Overflows)
    with pytest.raises(
        NonFinite, match=r"teacher bert: logits\.mood is not finite, first in heads\.mood; samples train"
    ):
        run(players, corpus, tmp_path)


def test_an_infinite_logit_that_leaves_every_term_finite_is_found(corpus: Corpus, tmp_path: Path):
    """No term reads this teacher, as a term of its sigmoid would not show it."""
    players = players_of(corpus, taught=True)
    del players.terms.losses["bert_mood"]
    players.teachers["bert"] = Said(players.teachers["bert"], math.inf)
    with pytest.raises(NonFinite, match=rf"teacher bert: logits\.mood .*; samples {VICTIM};"):
        run(players, corpus, tmp_path)


def test_what_a_teacher_says_of_a_row_that_it_does_not_read_has_no_meaning(corpus: Corpus, tmp_path: Path):
    class Silent(Said):
        def forward(self, batch: Batch) -> Outputs:
            said = self.teacher(batch)
            return Outputs(
                {t: v.masked_fill(~said.speaks[:, None], math.nan) for t, v in said.logits.items()},
                said.speaks,
                said.words,
                said.pooled,
                said.has,
                said.hidden,
            )

    players = players_of(corpus, taught=True)
    del players.terms.losses["bert_mood"]  # whose own mask is another test's
    teacher = players.teachers["bert"]
    players.teachers["bert"] = Silent(teacher, 0.0)
    assert any(not bool(teacher(corpus.batch([row])).speaks) for row in range(len(corpus)))
    run(players, corpus, tmp_path)


def test_a_weightings_weight_is_named(corpus: Corpus, tmp_path: Path):
    players = players_of(corpus, weighting=Weighs(fixed.Config(), list(TASKS)))
    with pytest.raises(NonFinite, match=r"step 2: weighting fixed: the weight of risk is not finite; samples"):
        run(players, corpus, tmp_path)


def test_a_healthy_run_searches_nothing_and_reads_the_norm_once_a_step(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    searched: list[str] = []
    monkeypatch.setattr("mmkd.culprit.Search.culprit", lambda *_: searched.append("culprit"))
    looks: list[int] = []
    clip = mmkd.finite.clip_grad_norm_
    monkeypatch.setattr(mmkd.finite, "clip_grad_norm_", lambda *a: (looks.append(1), clip(*a))[1])
    monkeypatch.setattr(mmkd.finite, "buffers_of", lambda *_: searched.append("copied"))
    trained, said = run(players_of(corpus), corpus, tmp_path, accumulate=2)
    assert (searched, said, len(looks)) == ([], [], 4)
    assert [entry["skipped_steps"] for entry in trained.history] == [0, 0]


def test_skipping_is_as_if_the_batch_had_not_been_there(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Weights, the weighting's state and the counts are those of a loop that never had the batch."""
    monkeypatch.setattr(mmkd.train, "mix", lambda *numbers: 0)  # which batch it is has no part in the random numbers
    real = mmkd.train.load

    def without(corpus: Corpus, rows: Any, workers: int = 0) -> Any:
        return (batch for batch in real(corpus, rows, workers) if VICTIM not in batch.ids)

    found = []
    for victims in ((VICTIM,), ()):
        players = with_term(players_of(corpus, weighting=dwa.Weighting(dwa.Config(), list(TASKS))), victims)
        monkeypatch.setattr(mmkd.train, "load", real if victims else without)
        found.append((run(players, corpus, tmp_path, non_finite="skip"), players.weighting.state_dict()))
    ((skipped, said), state), ((never, silent), expected) = found
    assert [entry["skipped_steps"] for entry in skipped.history] == [1, 1]
    assert len(said) == 2 and all(f"losses.planted is not finite; samples {VICTIM}" in line for line in said)
    assert silent == []
    assert same_weights(skipped.weights, never.weights)
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    for one, other in zip(skipped.history, never.history, strict=True):
        assert one["terms"] == other["terms"] and one["rows"] == other["rows"] and one["labelled"] == other["labelled"]
        assert math.isfinite(one["mean_score"])


def test_too_many_steps_in_a_row_stop_the_run(corpus: Corpus, tmp_path: Path):
    players = with_term(players_of(corpus), tuple(corpus.ids()))
    with pytest.raises(NonFinite, match=rf"{IN_A_ROW} steps in a row were left out; the last: step 0: losses\.planted"):
        run(players, corpus, tmp_path, non_finite="skip", epochs=9)
    few = with_term(players_of(corpus), tuple(corpus.ids()))
    trained, said = run(few, corpus, tmp_path, non_finite="skip", epochs=1)
    assert len(said) == trained.history[0]["skipped_steps"] == 4


def test_a_step_of_several_batches_is_left_out_whole(corpus: Corpus, tmp_path: Path):
    trained, said = run(with_term(players_of(corpus)), corpus, tmp_path, non_finite="skip", accumulate=2, epochs=1)
    assert len(said) == 1 and trained.history[0]["skipped_steps"] == 1
    assert trained.history[0]["rows"]["listed"] in (8, 12)


def test_half_precision_names_the_same(corpus: Corpus, tmp_path: Path):
    from accelerate.state import AcceleratorState

    players = players_of(corpus)
    replace_module(players.network, "heads.risk", Overflows)
    AcceleratorState._reset_state()
    half = Accelerator(cpu=True, mixed_precision="bf16")
    with pytest.raises(NonFinite, match=r"student: logits\.risk is not finite, first in heads\.risk;"):
        train(players, lambda epoch: corpus, corpus, SETTINGS, 0, half, tmp_path / "logs")
    AcceleratorState._reset_state()


def test_several_processes_leave_out_the_same_step(tmp_path: Path):
    """Only one of them reads the row."""
    printed = in_two_processes("lab.one_that_fails", str(tmp_path))
    one, other = (json.loads(each.splitlines()[-1]) for each in printed)
    assert one["weights"] == other["weights"] and one["skipped"] == other["skipped"] == [1, 1]
    assert len(one["said"]) == 2 and other["said"] == []
    assert all(f"losses.planted is not finite; samples {VICTIM}" in line for line in one["said"])
    assert one["stopped"] == other["stopped"] and f"losses.planted is not finite; samples {VICTIM};" in one["stopped"]
