"""The loop: determined by its seed, selecting by validation, stepping as the settings say."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

import mmkd.train as loop
from mmkd.config.experiment import Student as StudentConfig
from mmkd.config.experiment import Train
from mmkd.data.base import DataError
from mmkd.data.corpus import Corpus, Readers
from mmkd.learning import Learning, decay_groups
from mmkd.losses import logit_kl, supervised
from mmkd.losses.base import Setting
from mmkd.objective import Objective, Terms
from mmkd.student.student import Student
from mmkd.sums import Sums
from mmkd.teachers import hf_text
from mmkd.train import Players, Trained, average_gradients, mix, train, warmup_cosine
from mmkd.weighting import fixed, uncertainty
from mmkd.weighting.base import Weighting
from tiny_project import BERT, IMAGE, TASKS, TEXT, Row, listed_corpus, random_rows, same_weights

STEADY = {**TEXT, "architecture": {**BERT, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}}
SETTINGS = Train(epochs=2, batch_size=6, lr=1e-3)


def corpus_of(folder: Path, rows: list[Row] | None = None) -> Corpus:
    return listed_corpus(rows or random_rows(20), folder, "student", "bert")


def players_of(
    corpus: Corpus, steady: bool = False, taught: bool = False, weighting: Weighting | None = None
) -> Players:
    torch.manual_seed(0)
    text, dropout = (STEADY, 0.0) if steady else (TEXT, 0.1)
    config = StudentConfig.model_validate(
        {"text": text, "image": IMAGE, "width": 8, "dropout": dropout, "modality_dropout": dropout}
    )
    student = Student(config, TASKS, corpus.readers, {})
    teachers = {}
    if taught:
        own = hf_text.Config(**TEXT, tasks=["mood"])
        readers = Readers({"bert": corpus.readers.text["bert"]}, {})
        teachers["bert"] = hf_text.Teacher(own, "bert", {"mood": TASKS["mood"]}, readers)
        teachers["bert"].freeze()
    setting = Setting(TASKS, student.shape, {name: teacher.shape for name, teacher in teachers.items()})
    losses: dict[str, Any] = {name: supervised.Loss(supervised.Config(task=name), setting) for name in TASKS}
    if taught:
        losses["bert_mood"] = logit_kl.Loss(logit_kl.Config(task="mood", teacher="bert"), setting)
    return Players(student, teachers, Terms(losses), weighting or fixed.Weighting(fixed.Config(), list(TASKS)), TASKS)


def run(
    players: Players, corpus: Corpus, folder: Path, seed: int = 0, settings: Train = SETTINGS, **more: Any
) -> Trained:
    return train(players, lambda epoch: corpus, corpus, settings, seed, Accelerator(cpu=True), folder / "logs", **more)


def test_the_seed_determines_the_weights_bit_by_bit(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    found = []
    for seed in (0, 0, 1):
        players = players_of(corpus)
        torch.manual_seed(len(found))  # what came before does not matter
        np.random.seed(len(found))
        found.append(run(players, corpus, tmp_path, seed))
    assert same_weights(found[0].weights, found[1].weights)
    assert found[0].history == found[1].history
    assert not same_weights(found[0].weights, found[2].weights)


def test_the_words_of_the_training_texts_learn_as_if_all_did(tmp_path: Path):
    """They are a parameter of their own, with the same result; padding is one of them, and the rest is not trained."""
    corpus = corpus_of(tmp_path, random_rows(4))
    seen = corpus.sub_tokens("student")
    assert seen is not None and corpus.readers.text["student"].padding in seen
    settings, name = SETTINGS.model_copy(update={"weight_decay": 0.0}), "encoders.text.model.embeddings.word_embeddings"
    sizes: list[int] = []
    found = []
    for new_words in (False, True):
        players = players_of(corpus, steady=True)
        start = players.network.state_dict()[f"{name}.weight"].clone()
        watch = players.network.register_forward_pre_hook(
            lambda network, _: sizes.append(next(len(p) for p in network.parameters() if p.requires_grad))
        )
        found.append(run(players, corpus, tmp_path, settings=settings, new_words=new_words).weights)
        watch.remove()
        assert all(p.requires_grad for p in players.network.parameters())
    assert (sizes[0], sizes[-1]) == (len(seen), len(start)) and len(seen) < len(start)
    assert all(torch.allclose(found[0][name], found[1][name], rtol=0, atol=1e-6) for name in found[0])
    changed = (found[0][f"{name}.weight"] != start).any(1).nonzero()[:, 0].tolist()
    assert changed == [row for row in seen.tolist() if row != corpus.readers.text["student"].padding]


def test_losses_are_computed_in_full_precision_whatever_the_network_is(tmp_path: Path):
    corpus, within = corpus_of(tmp_path), []
    players = players_of(corpus)
    for module in (players.network, players.terms):
        module.register_forward_pre_hook(lambda *_: within.append(torch.is_autocast_enabled("cpu")))
    settings = SETTINGS.model_copy(update={"epochs": 1})
    AcceleratorState._reset_state()
    half = Accelerator(cpu=True, mixed_precision="bf16")
    train(players, lambda epoch: corpus, corpus, settings, 0, half, tmp_path / "logs")
    AcceleratorState._reset_state()
    assert within[:4] == [True, False, True, False]


def test_workers_do_not_change_the_weights(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    found = [
        run(players_of(corpus), corpus, tmp_path, settings=SETTINGS.model_copy(update={"workers": workers})).weights
        for workers in (0, 2)
    ]
    assert same_weights(*found)


def test_teachers_are_left_as_they_are(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    players = players_of(corpus, taught=True)
    teacher = players.teachers["bert"]
    before, student = copy.deepcopy(teacher.state_dict()), copy.deepcopy(players.network.state_dict())
    run(players, corpus, tmp_path)
    assert same_weights(teacher.state_dict(), before)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not any(module.training for module in teacher.modules())
    assert not same_weights(players.network.state_dict(), student)


class FakeEvaluation:
    """What one call of the stand-in gives."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.scores: dict[str, Any] = {}

    def mean_score(self) -> float:
        return self.value


class Script:
    """Stands in for `evaluate`: says the given scores in turn, and keeps the weights that it was shown."""

    def __init__(self, *scores: float) -> None:
        self.scores, self.shown = scores, []

    def __call__(self, network: nn.Module, *_: Any) -> FakeEvaluation:
        self.shown.append({name: value.clone() for name, value in network.state_dict().items()})
        return FakeEvaluation(self.scores[len(self.shown) - 1])


@pytest.mark.parametrize(
    ("scores", "patience", "epochs", "best"),
    [
        ((0.1, 0.5, 0.3), None, 3, 1),
        ((0.5, 0.5, 0.5), None, 3, 0),  # of equals, the first
        ((-0.9, -0.8, -0.7), None, 3, 2),
        ((0.3, 0.2, 0.1, 0.9), 2, 3, 0),  # stopped before the 0.9
        ((0.3, 0.2, 0.4, 0.3, 0.5), 2, 5, 4),  # never two epochs without a better one
        ((0.3, 0.3, 0.9), 1, 2, 0),  # an equal one is no better one
    ],
)
def test_validation_chooses_the_epoch_and_patience_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores: tuple, patience: int | None, epochs: int, best: int
):
    script = Script(*scores)
    monkeypatch.setattr(loop, "evaluate", script)
    corpus = corpus_of(tmp_path)
    players = players_of(corpus)
    settings = SETTINGS.model_copy(update={"epochs": len(scores), "patience": patience})
    trained = run(players, corpus, tmp_path, settings=settings)
    assert len(script.shown) == len(trained.history) == epochs
    assert (trained.epoch, trained.value) == (best, scores[best])
    assert same_weights(trained.weights, script.shown[best])
    assert same_weights(players.network.state_dict(), script.shown[best])
    assert not players.network.training
    assert not same_weights(script.shown[0], script.shown[-1])
    assert [entry["mean_score"] for entry in trained.history] == list(scores[:epochs])


def test_report_sees_each_epoch_and_can_stop(tmp_path: Path):
    corpus = corpus_of(tmp_path)
    seen: list[int] = []
    settings = SETTINGS.model_copy(update={"epochs": 5})

    def report(entry: dict[str, Any]) -> bool:
        seen.append(entry["epoch"])
        return entry["epoch"] == 1

    trained = run(players_of(corpus), corpus, tmp_path, settings=settings, report=report)
    assert seen == [0, 1]
    assert len(trained.history) == 2
    expected = {
        "epoch",
        "mean_score",
        "validation",
        "terms",
        "weights",
        "rows",
        "labelled",
        "diagnostics",
        "skipped_steps",
    }
    assert trained.history[0].keys() == expected
    assert trained.history[0]["terms"].keys() == trained.history[0]["weights"].keys() == TASKS.keys()


def gradients_at_steps(
    monkeypatch: pytest.MonkeyPatch, players: Players, corpus: Corpus, folder: Path, **settings: Any
) -> list[dict[str, torch.Tensor]]:
    """Gradients that the optimizer is given at each step; it does nothing with them."""
    trainees = nn.ModuleDict({"network": players.network, "weighting": players.weighting})
    steps: list[dict[str, torch.Tensor]] = []

    def step(self: torch.optim.Optimizer, closure: None = None) -> None:
        grads = {name: p.grad.clone() for name, p in trainees.named_parameters() if p.grad is not None}
        steps.append(grads)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    chosen = Train(**{"epochs": 1, "lr": 1e-3, "clip": None, **settings})
    run(players, corpus, folder, settings=chosen)
    return steps


def complete_rows(n: int) -> list[Row]:
    """Rows with equally many words, all labelled, so that a mean over 2n rows is the mean of two means."""
    return [Row("Acme falls today", 40 + 8 * k, {"mood": k % 3, "risk": k % 2, "ner": (1, 0, 0)}) for k in range(n)]


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")
@pytest.mark.parametrize("kind", [fixed, uncertainty])
@pytest.mark.parametrize(("rows", "accumulate"), [(8, 2), (8, 4), (4, 2)])
def test_accumulated_batches_are_one_large_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, rows: int, accumulate: int
):
    corpus = corpus_of(tmp_path, complete_rows(rows))
    found = []
    for size, count in ((rows, 1), (8 // accumulate if rows == 8 else 4, accumulate)):
        weighting = kind.Weighting(kind.Config(), list(TASKS))
        players = players_of(corpus, steady=True, weighting=weighting)
        found.append(gradients_at_steps(monkeypatch, players, corpus, tmp_path, batch_size=size, accumulate=count))
    assert [len(steps) for steps in found] == [1, 1]
    (whole,), (parts,) = found
    assert whole.keys() == parts.keys()
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-3, atol=1e-6, msg=name)
    if kind is uncertainty:
        assert any(name.startswith("weighting.") for name in whole)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")
def test_a_step_after_every_accumulated_group_and_at_the_end_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    corpus = corpus_of(tmp_path)  # 20 rows: 5 batches of 4
    totals: list[tuple[int, int]] = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, closure=None: None)
    settings = Train(epochs=2, batch_size=4, accumulate=2)
    run(players_of(corpus), corpus, tmp_path, settings=settings, progress=lambda n, total: totals.append((n, total)))
    assert totals == [*((n, 6) for n in range(1, 7)), (6, 6)]  # and once more, that the run has ended


def test_the_weighting_hears_of_the_end_of_each_epoch(tmp_path: Path):
    """After its last step, and before the next one's first."""

    class Listening(fixed.Weighting):
        def __init__(self) -> None:
            super().__init__(fixed.Config(), list(TASKS))
            self.heard: list[str] = []

        def backward(self, *arguments: Any) -> dict[str, float]:
            self.heard.append("step")
            return super().backward(*arguments)

        def end_epoch(self) -> None:
            self.heard.append("end")

    corpus, weighting = corpus_of(tmp_path), Listening()  # 20 rows: 2 batches of 10
    run(players_of(corpus, weighting=weighting), corpus, tmp_path, settings=Train(epochs=3, batch_size=10))
    assert weighting.heard == ["step", "step", "end"] * 3


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")
def test_gradients_are_clipped_to_the_norm_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    corpus = corpus_of(tmp_path)
    norms = []
    for clip in (None, 0.01):
        (step,) = gradients_at_steps(monkeypatch, players_of(corpus), corpus, tmp_path, batch_size=20, clip=clip)
        norms.append(float(torch.stack([gradient.square().sum() for gradient in step.values()]).sum().sqrt()))
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(0.01, rel=1e-3)


def test_average_gradients():
    with_gradient, without = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    with_gradient.grad = torch.tensor([3.0, -6.0])
    average_gradients([with_gradient, without], 3)
    assert with_gradient.grad.tolist() == [1.0, -2.0]
    assert without.grad is None


@pytest.mark.parametrize(
    ("steps", "warmup", "expected"),
    [
        (6, 0.5, [1 / 3, 2 / 3, 1.0, 1.0, 0.75, 0.25, 0.0]),
        (4, 0.0, [1.0, 1.0, 0.75, 0.25, 0.0]),
        (3, 0.34, [1.0, 1.0, 0.5, 0.0]),
    ],
)
def test_warmup_cosine_by_hand(steps: int, warmup: float, expected: list[float]):
    assert [warmup_cosine(step, steps, warmup) for step in range(steps + 1)] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("of_gradient", [torch.contiguous_format, torch.channels_last])
def test_a_step_is_adamws_whatever_order_of_memory_a_gradient_has(order: Any, of_gradient: Any) -> None:
    """Weightings of gradients set `.grad` themselves, and a fused update reads memory from end to end."""
    torch.manual_seed(0)
    convolution, plain = (nn.Conv2d(4, 8, 3, bias=False) for _ in range(2))
    plain.load_state_dict(convolution.state_dict())
    convolution.to(memory_format=order)
    gradient = torch.randn(8, 4, 3, 3)
    learning = Learning(convolution, nn.Identity(), fixed.Weighting(fixed.Config(), ["mood"]), Train(weight_decay=0.1))
    expected = torch.optim.AdamW(plain.parameters(), lr=0.1, weight_decay=0.1, foreach=False)
    for _ in range(3):
        convolution.weight.grad = gradient.clone().to(memory_format=of_gradient)
        learning.update(0.1, learning.begin_step())
        plain.weight.grad = gradient.clone()
        expected.step()
    assert torch.allclose(convolution.weight, plain.weight, rtol=0, atol=1e-6)


def test_decay_touches_matrices_alone_and_never_the_weighting(tmp_path: Path):
    class Matrices(Weighting):
        def __init__(self) -> None:
            super().__init__(fixed.Config(), ["mood"])
            self.own = nn.Parameter(torch.ones(2, 2))

        def backward(self, *_: Any) -> dict[str, float]:
            return {}

    weighting, network = Matrices(), nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    network[1].weight.requires_grad_(False)
    decayed, others = decay_groups(nn.ModuleList([network, weighting]), weighting, 0.3)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert [id(p) for p in decayed["params"]] == [id(network[0].weight)]
    assert {id(p) for p in others["params"]} == {id(network[0].bias), id(network[1].bias), id(weighting.own)}


def test_every_number_matters_to_mix():
    seeds = [mix(*numbers) for numbers in itertools.product(range(4), repeat=3)]
    assert len(set(seeds)) == 64
    assert mix(3, 5, 7) == mix(3, 5, 7)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_means_are_over_the_batches_in_which_a_name_occurred():
    sums = Sums()
    sums.add(Objective({"a": 1.0, "b": 4.0}, {}, None), {"mood": 2.0})
    sums.add(Objective({"a": 2.0}, {}, None), {})
    sums.add(Objective({"a": 6.0}, {}, None), {"mood": 3.0, "risk": 1.0})
    assert sums.means() == {"terms": {"a": 3.0, "b": 4.0}, "weights": {"mood": 2.5, "risk": 1.0}}


def test_a_task_without_validation_labels_is_refused_before_the_first_step(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    rows = [Row(row.text, row.grey, {k: v for k, v in row.labels.items() if k != "risk"}) for row in random_rows(6)]
    with pytest.raises(DataError, match=r"tasks\.risk"):
        train(
            players_of(corpus),
            lambda epoch: corpus,
            corpus_of(tmp_path, rows),
            SETTINGS,
            0,
            Accelerator(),
            tmp_path / "logs",
        )
    assert not (tmp_path / "logs").exists()
