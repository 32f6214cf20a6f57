"""A run that augments: teacher and student see the same view, each view is cached once, fresh views leave nothing."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

import mmkd.seed
from mmkd.cache.catalogue import entries
from mmkd.data.corpus import Corpus
from mmkd.ready import make_ready
from mmkd.seed import run_seed
from tiny_project import experiment, make_project, plain_experiment

QUIET = Progress(disable=True)
AUGMENT = {"views": 2, "text": {"drop": 0.3, "swap": 0.2}, "image": {"flip": 0.5, "crop": {"scale": [0.5, 0.9]}}}


def augmented(epochs: int = 3, cache: bool = True, **augment: Any) -> dict[str, Any]:
    plain = plain_experiment()
    plain["train"] |= {"epochs": epochs, "cache": cache, "cache_dtype": "fp32"}
    return plain | {"augment": {**AUGMENT, **augment}, "seeds": [0]}


@pytest.fixture
def corpora(monkeypatch: pytest.MonkeyPatch) -> list[Corpus]:
    """The training corpus of each epoch, as the loop read it."""
    found: list[Corpus] = []
    train = mmkd.seed.train

    def spied(players: Any, corpus_of: Any, *arguments: Any, **options: Any) -> Any:
        def seen(epoch: int) -> Corpus:
            found.append(corpus_of(epoch))
            return found[-1]

        return train(players, seen, *arguments, **options)

    monkeypatch.setattr(mmkd.seed, "train", spied)
    return found


def test_epochs_read_the_views_in_turn_and_each_is_cached_once(tmp_path: Path, corpora: list[Corpus]):
    near = make_project(tmp_path / "project")
    ready = make_ready(experiment(augmented()), near, QUIET)
    run_seed(ready, 0, tmp_path / "run", "test")
    assert corpora[0].key == corpora[2].key != corpora[1].key
    assert sum(corpora[0].words()) != sum(corpora[1].words())  # other words were dropped
    folder = near.parent / "results" / "cache" / "teachers"
    said = [(about.teacher, about.split, about.view) for about in (each.start.about for each in entries(folder))]
    assert sorted(said) == list(product(("bert", "net"), ("train", "transfer"), (0, 1)))
    run_seed(make_ready(experiment(augmented()), near, QUIET), 0, tmp_path / "again", "test")
    assert len(entries(folder)) == len(said)


def test_cached_and_live_teachers_see_the_view_that_the_student_sees(tmp_path: Path):
    near = make_project(tmp_path / "project")
    found = [
        run_seed(make_ready(experiment(augmented(2, cache)), near, QUIET), 0, tmp_path / f"{cache}", "test").history
        for cache in (True, False)
    ]
    for cached, live in zip(*found, strict=True):
        assert cached["terms"] == pytest.approx(live["terms"], rel=1e-3)
    plain = run_seed(
        make_ready(experiment(plain_experiment() | {"seeds": [0]}), near, QUIET), 0, tmp_path / "plain", "test"
    ).history
    assert plain[0]["terms"] != pytest.approx(found[0][0]["terms"], rel=1e-2)  # the control: the views are not the rows


def test_selection_and_test_read_the_rows_themselves(tmp_path: Path):
    near = make_project(tmp_path / "project")
    ready = make_ready(experiment(augmented()), near, QUIET)
    plain = make_ready(experiment(plain_experiment()), near, QUIET)
    readers = ready.workspace.reader("student")
    with ready.workspace.mix.test_opened(), plain.workspace.mix.test_opened():
        for split in ("validation", "test"):
            assert ready.workspace.mix.split(split, readers).key == plain.workspace.mix.split(split, readers).key


def test_fresh_views_are_new_in_each_epoch_and_leave_nothing_behind(tmp_path: Path, corpora: list[Corpus]):
    near = make_project(tmp_path / "project")
    own = augmented(views=None, cache=False)
    own["train"]["preflight"] = False  # it looks at the rows themselves, which are encoded for it
    ready = make_ready(experiment(own), near, QUIET)
    before = {path.name for path in (near.parent / "results" / "cache" / "data" / "rows").iterdir()}
    run_seed(ready, 0, tmp_path / "run", "test")
    assert len({corpus.key for corpus in corpora}) == 3
    assert not (tmp_path / "run" / "views").exists()
    after = {path.name for path in (near.parent / "results" / "cache" / "data" / "rows").iterdir()}
    assert len(after - before) <= 1  # test rows; no view
