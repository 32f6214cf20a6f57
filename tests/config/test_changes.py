"""Changes of an experiment: what may change, every mistake with its line, and the stages that they make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mmkd.config.load import from_plain, load
from mmkd.config.problems import ConfigError, dotted
from mmkd.config.stages import stages
from mmkd.record import experiment_hash

Write = Callable[..., Path]
CHANGES = """\
train: {epochs: 6, lr: 3e-4, patience: 3}
changes:
  later:
    epoch: 4
    set: {losses.features.weight: {kind: linear, from: 1, to: 0}, losses.bert_ner.standardize: true}
  second:
    epoch: 2
    set:
      train.lr: 1.0e-4
      losses.features.weight: 2
"""
TRAIN = "train: {epochs: 2, lr: 3e-4, patience: 3}\n"
LAST = "losses.features.weight: 2"


def test_each_stage_is_the_experiment_with_the_values_of_then(write: Write) -> None:
    experiment = load(write({TRAIN: CHANGES}))
    first, second, third = stages(experiment)
    assert [(stage.first, stage.end) for stage in (first, second, third)] == [(0, 2), (2, 4), (4, 6)]
    plain = load(write({TRAIN: TRAIN.replace("2", "6", 1)}))
    assert first.experiment == first.begun == plain

    def by_hand(**values: object) -> dict[str, object]:
        dump = plain.dump()
        dump["train"]["lr"] = 1e-4
        dump["losses"]["features"]["weight"] = values["weight"]
        dump["losses"]["bert_ner"]["standardize"] = values["standardize"]
        return dump

    assert second.experiment == from_plain(by_hand(weight=2, standardize=False))
    assert third.experiment == from_plain(by_hand(weight={"kind": "linear", "from": 1, "to": 0}, standardize=True))
    assert list(second.begun.changes) == ["second"] and third.begun == experiment


def test_without_changes_there_is_one_stage_and_the_hash_of_an_experiment_that_knows_none(write: Write) -> None:
    experiment = load(write())
    (only,) = stages(experiment)
    assert only.experiment == only.begun == experiment and (only.first, only.end) == (0, experiment.train.epochs)
    dump = experiment.dump()
    assert dump.pop("changes") == {}
    assert from_plain(dump) == experiment
    whole, changed = load(write({TRAIN: CHANGES})), load(write({TRAIN: CHANGES.replace("epoch: 4", "epoch: 5")}))
    assert len({experiment_hash(each) for each in (experiment, whole, changed)}) == 3


def test_the_hash_of_what_was_there_before_changes_existed_stays(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []

    def spy(plain: dict[str, object]) -> str:
        seen.append(plain)
        return ""

    monkeypatch.setattr("mmkd.record.hash_of", spy)
    experiment_hash(load(write()))
    experiment_hash(load(write({TRAIN: CHANGES})))
    assert ["changes" in plain for plain in seen] == [False, True]


def test_changes_come_from_a_base_and_are_removed_like_other_named_entries(write: Write) -> None:
    write({TRAIN: CHANGES}, name="base.yaml")
    own = write(text="extends: base.yaml\nchanges:\n  second: null\n  later: {epoch: 5}\n", name="own.yaml")
    changes = load(own, ['changes.last={"epoch": 1, "set": {"train.weight_decay": 0}}']).changes
    assert {name: change.epoch for name, change in changes.items()} == {"later": 5, "last": 1}


# In place of the last line: another one; the key that is named; words of the message.
MISTAKES = [
    ("train.batch_size: 8", "train.batch_size", "cannot change while a run goes on; expected train.lr"),
    ("student.width: 8", "student.width", "cannot change while a run goes on"),
    ("losses.features: 2", "losses.features", "cannot change while a run goes on"),
    ("losses.features.wait: 2", "losses.features.wait", "did you mean `weight`?"),
    ("losses.featres.weight: 2", "losses.featres.weight", "did you mean `features`?"),
    ("losses.features.kind: 2", "losses.features.kind", 'it is "hint" (text), which cannot change'),
    ("losses.features.kind: cosine", "losses.features.kind", 'found "cosine" (text); expected true or false'),
    ("losses.bert_ner.teacher: 1", "losses.bert_ner.teacher", 'it is "bert" (text), which cannot change'),
    ("losses.features.layer: 5", "losses.features.layer", "`vit` does not keep layer 5"),
    ("losses.features.student_layer: 1", "losses.features.student_layer", "it is nothing (null)"),
    ("losses.features.weight: -1", "losses.features.weight", "found -1; expected a number of at least 0"),
    ("losses.features.weight: {kind: step, from: 1, to: 0}", "losses.features.weight", "expected `until` below 1"),
    ("losses.bert_ner.standardize: 2", "losses.bert_ner.standardize", "found 2; expected true or false"),
    ("losses.vit_sentiment.weight.until: 2", "losses.vit_sentiment.weight.until", "found 2; expected a number"),
    ("weighting.over: 1", "weighting.over", 'it is "tasks" (text), which cannot change'),
    ("weighting.alpha: 1", "weighting.alpha", "unknown key `alpha`"),
    ("train.lr: 0", "train.lr", "the key a second time"),
]


@pytest.mark.parametrize(("line", "key", "says"), MISTAKES, ids=[line for line, *_ in MISTAKES])
def test_what_cannot_change_is_named_with_its_line(write: Write, line: str, key: str, says: str) -> None:
    path = write({TRAIN: CHANGES.replace(LAST, line)})
    number = path.read_text("utf-8").splitlines().index(f"      {line}") + 1
    with pytest.raises(ConfigError) as caught:
        load(path)
    place = (str(path), number, f"changes.second.set.{key}")
    said = [p.message for p in caught.value.problems if (p.file, p.line, dotted(p.path)) == place]
    assert any(says in message for message in said), caught.value


def test_a_layer_that_the_teacher_keeps_too_is_refused_for_what_it_would_need(write: Write) -> None:
    """The only mistake: as a file, the stage would be right."""
    path = write({TRAIN: CHANGES.replace(LAST, "losses.features.layer: 5"), "layers: [11]": "layers: [5, 11]"})
    with pytest.raises(ConfigError, match=r"losses\.features\.layer: the loss would need something else") as caught:
        load(path)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("found", "instead", "says"),
    [
        ("epoch: 4", "epoch: 0", "found 0; expected an integer greater than 0"),
        ("epoch: 4", "epoch: 6", "found 6; expected one below `train.epochs`, 6"),
        ("epoch: 4", "epoch: 2", "found 2, as in `"),
    ],
)
def test_an_epoch_is_within_the_run_and_of_one_entry(write: Write, found: str, instead: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write({TRAIN: CHANGES.replace(found, instead)}))
    (problem,) = caught.value.problems
    assert says in problem.message and problem.path[-1] == "epoch" and problem.line is not None


def test_mistakes_of_the_file_and_of_its_changes_come_together_and_once(write: Write) -> None:
    text = CHANGES.replace(LAST, "losses.features.weight: -2")
    path = write({TRAIN: text, "task: ner, temperature": "task: nerr, temperature"})
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert [dotted(p.path) for p in caught.value.problems] == [
        "losses.bert_ner.task",
        "changes.second.set.losses.features.weight",
    ]
