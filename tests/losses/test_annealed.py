"""Teacher annealing (1907.04829) by two schedules: the gradient of BAM's one cross-entropy, all through the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from conformance.loops import softmax
from conformance.scene import Scene
from mmkd.config.load import load
from mmkd.losses import logit_kl, supervised
from mmkd.objective import Terms

FILE = Path(__file__).parents[2] / "experiments" / "annealed.yaml"
EXAMPLES = (0, 2, 3)
"""Of the scene, those that have a label of sentiment and on which the text teacher speaks."""


def bam(scene: Scene, share: float) -> torch.Tensor:
    """The cross-entropy to `share` of the label and the rest of the teacher's probabilities, mean over rows."""
    total = torch.zeros((), dtype=torch.float64)
    for n in range(len(EXAMPLES)):
        own = softmax(list(scene.student.logits["sentiment"][n]))
        teacher = softmax(list(scene.teachers["bert"].logits["sentiment"][n].detach()))
        for k in range(3):
            target = share * (k == int(scene.batch.labels["sentiment"][n])) + (1 - share) * teacher[k]
            total = total - target * torch.log(own[k]) / len(EXAMPLES)
    return total


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.9, 1.0])
def test_two_schedules_give_its_gradient(scene: Callable, progress: float) -> None:
    losses = load(FILE).losses
    found, expected = scene(examples=EXAMPLES), scene(examples=EXAMPLES)
    kinds = {"sentiment": supervised, "text_sentiment": logit_kl}
    terms = {name: kind.Loss(own_teacher(losses[name]), found.setting) for name, kind in kinds.items()}
    Terms(terms)(found.student, found.teachers, found.batch, progress, 0).by_task["sentiment"].backward()
    bam(expected, progress).backward()
    torch.testing.assert_close(
        found.leaves["student.sentiment"].grad, expected.leaves["student.sentiment"].grad, rtol=1e-10, atol=1e-12
    )


def own_teacher(config: supervised.Config | logit_kl.Config) -> supervised.Config | logit_kl.Config:
    """The same with the scene's teacher."""
    return config.model_copy(update={"teacher": "bert"}) if isinstance(config, logit_kl.Config) else config


def test_every_task_of_the_file_is_annealed() -> None:
    losses = load(FILE).losses
    for task in ("sentiment", "ner", "risk"):
        labels, teacher = losses[task].weight, losses[f"text_{task}"].weight
        for progress in (0.0, 0.3, 1.0):
            assert labels.at(progress) == pytest.approx(progress)
            assert teacher.at(progress) == pytest.approx(1 - progress)
        assert losses[f"text_{task}"].temperature == 1.0
