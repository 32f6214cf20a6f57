"""mmkd's own arms do the stated work: the same rows, the workload's own tokens, teachers that count."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ours
from benchmarks.ours import Ours, Pairs, reader
from benchmarks.workload import Workload, make_workload

ROWS = 40
TINY = {**ours.BERT, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def workload() -> Workload:
    return make_workload(ROWS)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same arms with small networks."""
    monkeypatch.setattr(ours, "BASE", {**TINY, "hidden_size": 16})
    monkeypatch.setattr(ours, "SMALL", {**TINY, "hidden_size": 8})
    monkeypatch.setattr(ours, "TEACHER_IMAGE", "test_vit")
    monkeypatch.setattr(ours, "STUDENT_IMAGE", "test_efficientnet")


def test_each_word_is_read_as_its_own_token(workload: Workload):
    own = reader()
    for example, ids in zip(Pairs(workload).read("train"), workload.ids, strict=True):
        assert np.array_equal(own.read(example.words)[0], ids)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("text_only", [False, True])
def test_every_arm_trains_on_every_row_and_cached_teachers_say_what_live_ones_say(
    workload: Workload, tmp_path: Path, text_only: bool
):
    losses = {}
    for teaching in ("none", "live", "cached"):
        marks: list[None] = []
        arm = Ours(workload, teaching, text_only, tmp_path)
        assert math.isnan(arm.first_loss)
        assert arm.run(2, lambda marks=marks: marks.append(None)) == 2 * ROWS
        assert len(marks) == 3
        losses[teaching] = arm.first_loss
    assert losses["cached"] == pytest.approx(losses["live"], rel=1e-3)
    assert losses["live"] > 1.05 * losses["none"]  # the teachers' terms are there


@pytest.mark.usefixtures("tiny")
def test_the_passes_and_the_cache_ask_about_every_row(workload: Workload, tmp_path: Path):
    arm = Ours(workload, "live", False, tmp_path)
    asked = dict.fromkeys(arm._live, 0)
    for name, teacher in arm._live.items():
        teacher.register_forward_pre_hook(
            lambda module, inputs, name=name: asked.update({name: asked[name] + len(inputs[0].ids)})
        )
    assert arm.teacher_forward() == ROWS
    assert asked == {"bert": ROWS, "vit": ROWS}
    assert arm.build_cache() == ROWS
    assert all(ROWS < number - ROWS <= ROWS + 64 for number in asked.values())  # some rows again, to compare


@pytest.mark.usefixtures("tiny")
def test_seeds_share_one_pass_of_the_teachers_and_those_apart_are_alone(workload: Workload, tmp_path: Path):
    for teaching, asked_at_most in (("cached", ROWS + 64), ("live", ROWS)):
        arm = Ours(workload, teaching, False, tmp_path)
        asked: list[int] = []
        arm._live["bert"].register_forward_pre_hook(lambda m, inputs, asked=asked: asked.append(len(inputs[0].ids)))
        assert arm.run_seeds(3, 2) == 3 * 2 * ROWS
        assert ROWS <= sum(asked) <= asked_at_most
        assert ("bert_sentiment" in arm._terms.losses) == (teaching == "cached")
