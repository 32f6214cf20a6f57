"""The data sets of an experiment together."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmkd.config.experiment import DataUse
from mmkd.config.plugin_base import TaskConfig
from mmkd.data.base import DataError
from mmkd.data.card import CardError
from mmkd.data.corpus import Readers
from mmkd.data.mix import Mix, tasks_of
from mmkd.tasks import classify, ordinal, tag

NOBODY = Readers({}, {})
TASKS = {"sentiment": classify.Config(), "ner": tag.Config(), "risk": ordinal.Config()}
OPTIONS = {"train": 6, "transfer": 4, "validation": 3, "test": 5, "pixels": 48}


def mix_of(project: Path, tasks: dict[str, TaskConfig] = TASKS, **uses: DataUse) -> Mix:
    return Mix(uses, tasks, project, project.parent / "encoded")


def use(**changes: object) -> DataUse:
    return DataUse.model_validate({"card": "market_notes", "options": OPTIONS, **changes})


def test_the_training_corpus_joins_the_splits_asked_for(project: Path):
    mix = mix_of(project, notes=use(train=["train", "transfer"]))
    corpus = mix.training(NOBODY)
    assert len(corpus) == 10
    assert [split.split for split in corpus.splits] == ["train", "transfer"]
    assert len(mix_of(project, notes=use()).training(NOBODY)) == 6


def test_limits_hold_for_their_split(project: Path):
    mix = mix_of(project, notes=use(limit={"train": 2}))
    assert len(mix.training(NOBODY)) == 2
    with mix.test_opened():
        assert len(mix.split("test", NOBODY)) == 5


def test_two_uses_of_one_card_with_other_options(project: Path):
    mix = mix_of(project, one=use(), two=use(options={**OPTIONS, "seed": 1}))
    corpus = mix.training(NOBODY)
    assert len(corpus) == 12
    assert corpus.splits[0].fingerprint != corpus.splits[1].fingerprint
    assert mix.fingerprints().keys() == {f"{n}/{s}" for n in ("one", "two") for s in ("train", "validation", "test")}


def test_tasks_are_renamed_and_a_task_that_nothing_labels_has_no_names(project: Path):
    tasks = {"mood": classify.Config(), "ner": tag.Config(), "other": classify.Config()}
    mix = mix_of(project, tasks, notes=use(tasks={"mood": "sentiment", "ner": "ner"}))
    assert mix.labels("mood") == ("negative", "neutral", "positive")
    batch = mix.training(NOBODY).batch([0, 1, 2])
    assert batch.has_label["mood"].all()
    assert not batch.has_label["other"].any()
    with pytest.raises(LookupError, match=r"tasks\.other: no data set"):
        mix.labels("other")
    with mix.test_opened():
        assert mix.ceilings("test").keys() == {"mood", "ner"}


def test_a_split_by_tasks_leaves_out_the_sets_that_label_none_of_them(project: Path):
    mix = mix_of(project, one=use(tasks={"sentiment": "sentiment"}), two=use(tasks={"ner": "ner"}))
    assert len(mix.split("train", NOBODY, ["ner"]).splits) == 1
    assert mix.fingerprint("train", ["sentiment"]).keys() == {"one"}
    assert mix.fingerprint("train").keys() == {"one", "two"}


def test_tokenizers_see_the_labelled_training_texts_in_order(project: Path):
    mix = mix_of(project, notes=use(train=["transfer"]))
    expected = [example.words for example in mix.members[0].data.read("train")]
    assert mix.labelled_texts() == expected


def test_tasks_of_equal_name_are_taken_when_none_are_named():
    assert tasks_of(use(), {"ner": 1, "risk": 1}, TASKS) == {"ner": "ner", "risk": "risk"}
    assert tasks_of(use(tasks={"ner": "risk"}), {"ner": 1, "risk": 1}, TASKS) == {"ner": "risk"}


def test_an_unknown_card_is_refused(project: Path):
    with pytest.raises(CardError):
        mix_of(project, notes=use(card="market_note"))


def test_a_policy_that_cannot_be_is_refused(project: Path):
    with pytest.raises(DataError, match=r"data\.notes\.policy\.text_nul: found accept; expected refuse or quarantine"):
        mix_of(project, notes=use(policy={"text_nul": "accept"}))
