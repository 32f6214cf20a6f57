"""Shifts against the closed form of a linear model, and what the loop does with them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from mmkd.adversarial import Shift, moved_image, moved_text, shifted, worst_shift
from mmkd.config.adversarial import Adversarial
from mmkd.config.experiment import Train
from mmkd.losses.base import Loss
from mmkd.student.student import READER
from mmkd.train import train
from mmkd.weighting import fixed, gradnorm, pcgrad, uncertainty
from test_train import complete_rows, corpus_of, gradients_at_steps, players_of
from tiny_project import TASKS, everything

pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")
WIDTH = 3
SLOPE = torch.tensor([1.0, -2.0, 2.0])  # of length 3


class Linear(nn.Module):
    """The sum over all sub-tokens, padding too, of slope x embedding, plus that of weight x pixel; for each example."""

    def __init__(self, vocabulary: int, weight: Tensor) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({"text": nn.Module()})
        self.encoders["text"].embedding = nn.Embedding(vocabulary, WIDTH)
        self.weight = nn.Parameter(weight)

    def forward(self, batch: Any) -> Tensor:
        text = (self.encoders["text"].embedding(batch.tokens[READER].ids) * SLOPE).sum((1, 2))
        return text + (batch.images[READER].float() / 255 * self.weight).sum((1, 2, 3))


def scene(folder: Path) -> tuple[Linear, Any, Tensor]:
    """A linear model, a batch, and the sign with which each example's value counts in the objective."""
    batch = everything(corpus_of(folder))
    weight = torch.where(torch.arange(48 * 48 * 3).view(3, 48, 48) % 3 == 0, -0.5, 2.0)
    signs = torch.tensor([(-1.0) ** n * (n + 1) for n in range(len(batch.ids))])
    return Linear(200, weight), batch, signs


def found(folder: Path, **keys: Any) -> tuple[Shift, Linear, Any, Tensor]:
    network, batch, signs = scene(folder)

    def objective(shift: Shift) -> Tensor:
        with shifted(network, batch, shift) as moved:
            return (signs * network(moved)).sum()

    shift = worst_shift(objective, network, batch, Adversarial(**keys))
    return shift, network, batch, signs


@pytest.mark.parametrize(
    ("steps", "step_size", "share"), [(1, 1.0, 1.0), (1, 0.4, 0.4), (2, 0.4, 0.8), (3, 0.4, 1.0), (5, 0.4, 1.0)]
)
def test_embeddings_move_along_the_gradient_to_the_bound(
    tmp_path: Path, steps: int, step_size: float, share: float
) -> None:
    """The gradient at each of n kept sub-tokens is sign x slope: of length 3 sqrt(n) over the text."""
    shift, _, batch, signs = found(tmp_path, text=0.7, steps=steps, step_size=step_size)
    assert shift.image is None
    mask = batch.tokens[READER].mask
    assert not mask.all()
    for example, own in enumerate(mask):
        for place, kept in enumerate(own):
            expected = 0.7 * share * math.copysign(1, signs[example]) * SLOPE / (3 * math.sqrt(int(own.sum())))
            torch.testing.assert_close(shift.text[example, place], expected if kept else torch.zeros(WIDTH))


@pytest.mark.parametrize(("steps", "step_size", "share"), [(1, 1.0, 1.0), (2, 0.25, 0.5), (9, 0.25, 1.0)])
def test_pixels_move_by_the_sign_of_the_gradient_between_black_and_white(
    tmp_path: Path, steps: int, step_size: float, share: float
) -> None:
    shift, network, batch, signs = found(tmp_path, image=0.5, steps=steps, step_size=step_size)
    assert shift.text is None
    pixels = batch.images[READER].float() / 255
    way = (signs.view(-1, 1, 1, 1) * network.weight.detach()).sign()
    torch.testing.assert_close(shift.image, (pixels + 0.5 * share * way).clamp(0, 1) - pixels)
    free = pixels + 0.5 * share * way
    assert (free < 0).any()  # the bound of black and white plays a part
    assert (free > 1).any()


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """No gradient at a parameter, no hook, the batch as it was."""
    shift, network, batch, _ = found(tmp_path, text=1.0, image=0.1, steps=2)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.encoders["text"].embedding._forward_hooks
    assert batch.images[READER].dtype == torch.uint8
    assert not shift.text.requires_grad
    assert not shift.image.requires_grad


def test_the_hook_goes_when_the_pass_breaks_off(tmp_path: Path) -> None:
    network, batch, _ = scene(tmp_path)
    with pytest.raises(ZeroDivisionError), shifted(network, batch, Shift(torch.zeros(1), None)):
        raise ZeroDivisionError
    assert not network.encoders["text"].embedding._forward_hooks


def test_a_batch_without_a_term_is_not_moved(tmp_path: Path) -> None:
    network, batch, _ = scene(tmp_path)
    shift = worst_shift(lambda shift: None, network, batch, Adversarial(text=1.0, image=0.1))
    assert not shift.text.any()
    assert not shift.image.any()


@pytest.mark.parametrize("size", [0.0, 1e-36, 1e-30, 1.0, 1e30])
def test_any_slope_gives_a_step_of_one_length(size: float) -> None:
    """And no slope gives none."""
    slope = torch.full((1, 2, 2), size)
    moved = moved_text(torch.zeros(1, 2, 2), slope, torch.ones(1, 2, dtype=torch.bool), 0.8, 1.0)
    assert moved.norm().item() == pytest.approx(0.8 if size else 0.0)
    assert moved_image(torch.zeros(1), torch.tensor([size]), torch.tensor([0.5]), 0.3, 1.0).item() == pytest.approx(
        0.3 if size else 0.0
    )


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_shift_of_almost_nothing_gives_the_gradient_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    """Dropout and hidden modalities are those of the first pass; the inner passes leave nothing at the parameters."""
    corpus = corpus_of(tmp_path)
    settings = {"batch_size": 10, "accumulate": accumulate}
    (plain, *_) = gradients_at_steps(monkeypatch, players_of(corpus), corpus, tmp_path, **settings)
    keys = {"text": 1e-9, "image": 1e-9, "steps": 2}
    (both, *_) = gradients_at_steps(
        monkeypatch, players_of(corpus), corpus, tmp_path, adversarial=Adversarial(**keys), **settings
    )
    assert plain.keys() == both.keys()
    for name in plain:
        torch.testing.assert_close(both[name], 2 * plain[name], rtol=1e-3, atol=1e-5, msg=name)


def test_the_moved_objective_is_larger_and_is_learned_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpus_of(tmp_path, complete_rows(8))
    totals: list[float] = []
    plus = fixed.Weighting.backward

    def listening(self: fixed.Weighting, by_task: dict, *others: Any) -> dict[str, float]:
        totals.append(float(sum(value.detach() for value in by_task.values())))
        return plus(self, by_task, *others)

    monkeypatch.setattr(fixed.Weighting, "backward", listening)
    found = []
    for adversarial in (None, Adversarial(text=0.3, image=0.02)):
        players = players_of(corpus, steady=True)
        found += gradients_at_steps(monkeypatch, players, corpus, tmp_path, batch_size=8, adversarial=adversarial)
    assert totals[1] > 2 * totals[0] + 1e-3
    name = "network.heads.mood.weight"
    assert not torch.allclose(found[1][name], 2 * found[0][name], rtol=1e-3)


class Counting(Loss):
    """A term with a memory: how often it was asked."""

    asked: Tensor

    def __init__(self, inner: Loss) -> None:
        super().__init__(inner.config, inner.setting)
        self.inner = inner
        self.register_buffer("asked", torch.zeros(()))

    def forward(self, *arguments: Any) -> Tensor:
        self.asked += 1
        value: Tensor = self.inner(*arguments)
        return value


def test_memories_and_statistics_change_by_the_batch_as_it_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, found = corpus_of(tmp_path), []
    for adversarial in (None, Adversarial(text=1.0, image=0.1, steps=2)):
        players = players_of(corpus)
        norm = nn.BatchNorm1d(8)
        players.network.project["text"] = nn.Sequential(players.network.project["text"], norm)
        players.terms.losses["mood"] = counting = Counting(players.terms.losses["mood"])
        gradients_at_steps(monkeypatch, players, corpus, tmp_path, batch_size=10, adversarial=adversarial)
        found.append((counting.asked.item(), norm.running_mean.clone(), norm.num_batches_tracked.item()))
    assert found[0][0] == found[1][0] == 2
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][2] == found[1][2] == 2


@pytest.mark.parametrize("kind", [uncertainty, pcgrad, gradnorm], ids=lambda kind: kind.__name__.rpartition(".")[2])
def test_every_sort_of_weighting_balances_the_sums_once(tmp_path: Path, kind: Any) -> None:
    corpus, calls = corpus_of(tmp_path), []

    class Listening(kind.Weighting):
        def backward(self, by_task: Any, rest: Any, shared: Any, representation: Any) -> dict[str, float]:
            calls.append(len(representation))
            found: dict[str, float] = super().backward(by_task, rest, shared, representation)
            return found

    players = players_of(corpus, taught=True, weighting=Listening(kind.Config(), list(TASKS)))
    settings = Train(epochs=1, batch_size=10, adversarial=Adversarial(text=1.0, image=0.05))
    trained = train(players, lambda epoch: corpus, corpus, settings, 0, Accelerator(cpu=True), tmp_path / "logs")
    assert calls == [2, 2]  # one call for each batch, with the fused features of both passes
    assert all(value.isfinite().all() for value in trained.weights.values() if value.is_floating_point())
    assert set(trained.history[0]["weights"]) == set(TASKS)


def test_half_precision_and_diagnostics_go_with_it(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    settings = Train(epochs=1, batch_size=10, adversarial=Adversarial(text=1.0, image=0.05), diagnose_every=1)
    AcceleratorState._reset_state()
    half = Accelerator(cpu=True, mixed_precision="bf16")
    trained = train(players_of(corpus, taught=True), lambda epoch: corpus, corpus, settings, 0, half, tmp_path / "logs")
    AcceleratorState._reset_state()
    assert all(value.isfinite().all() for value in trained.weights.values() if value.is_floating_point())
    assert set(trained.history[0]["diagnostics"]["gradient_norm"]) == {*TASKS, "bert_mood"}


def test_an_absent_modality_is_not_moved(tmp_path: Path) -> None:
    """Nothing of the objective depends on the text or the image that an example does not have."""
    corpus = corpus_of(tmp_path)
    players, batch = players_of(corpus, steady=True), everything(corpus)
    players.network.eval()

    def objective(shift: Shift) -> Tensor:
        with shifted(players.network, batch, shift) as moved:
            total = players.terms(players.network(moved), {}, batch, 0.0, 0).total()
        assert total is not None
        return total

    shift = worst_shift(objective, players.network, batch, Adversarial(text=1.0, image=0.1))
    for has, part in ((batch.has_text, shift.text), (batch.has_image, shift.image)):
        moved = part.flatten(1).abs().sum(1) > 0
        assert torch.equal(moved, has)
