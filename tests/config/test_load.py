"""An experiment file loads into an equal, frozen Experiment, or every mistake of it is named at its line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from mmkd.config.document import read_document
from mmkd.config.experiment import Experiment
from mmkd.config.load import from_plain, load
from mmkd.config.problems import ConfigError, Problem, dotted

Write = Callable[..., Path]
EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


def mistakes(path: Path, *overrides: str) -> list[Problem]:
    try:
        load(path, overrides)
    except ConfigError as error:
        return error.problems
    return []


def test_a_good_file_is_typed_and_frozen(write: Write) -> None:
    experiment = load(write())
    assert type(experiment.losses["bert_ner"]).__name__ == "Config"
    assert experiment.losses["bert_ner"].task == "ner"
    assert experiment.losses["vit_sentiment"].weight.at(0) == 0.5
    assert experiment.teachers["vit"].finetune.lr == 3e-5
    assert experiment.train.lr == 3e-4
    assert experiment.data["notes"].train == ("train", "transfer")
    assert list(experiment.losses) == ["sentiment", "ner", "bert_ner", "vit_sentiment", "features"]
    with pytest.raises(ValidationError, match="frozen"):
        experiment.train.lr = 1.0


@pytest.mark.parametrize("path", EXPERIMENTS, ids=[path.stem for path in EXPERIMENTS])
def test_our_own_experiments_are_right_wherever_their_models_lie(path: Path) -> None:
    root, problems = read_document(path)
    assert problems == []
    assert isinstance(from_plain(root.plain()), Experiment)


# Old text, new text (the mistake stands on the line of the mark `#!`), the key named, words of the message.
MUTATIONS = [
    ("width: 96", "widht: 96 #!", "student.widht", "unknown key `widht`; ...; did you mean `width`?"),
    ("seeds: [0, 1]", "seed: [0, 1] #!", "seed", "unknown key `seed`; ...; did you mean `seeds`?"),
    ("train: {epochs: 2", "train: {epoch: 2", "train.epoch", "unknown key ...; did you mean `epochs`?"),
    ("temperature: 2", "temprature: 2", "losses.bert_ner.temprature", "did you mean `temperature`?"),
    ("lr: 3e-5", "learning_rate: 3e-5", "teachers.vit.finetune.learning_rate", "unknown key"),
    ("from: 0.5, to", "start: 0.5, from: 1, to", "losses.vit_sentiment.weight.start", "one of kind, from, to"),
    ("temperature: 2", 'temperature: "2"', "losses.bert_ner.temperature", 'found "2" (text); ...number greater than 0'),
    ("temperature: 2", "temperature: yes", "losses.bert_ner.temperature", 'found "yes" (text); ...number greater'),
    ("temperature: 2", "temperature: true", "losses.bert_ner.temperature", "found true; expected a number"),
    ("temperature: 2", "temperature: 0", "losses.bert_ner.temperature", "found 0; expected a number greater than 0"),
    ("temperature: 2", "temperature: .inf", "losses.bert_ner.temperature", "found inf"),
    ("temperature: 2", "temperature: ~", "losses.bert_ner.temperature", "found nothing (null)"),
    ("temperature: 2", "weight: heavy", "losses.bert_ner.weight", "number of at least 0, or a map with the keys kind"),
    ("temperature: 2", "weight: -1", "losses.bert_ner.weight", "found -1; expected a number of at least 0, or a map"),
    ("temperature: 2", "temperature: 1_000", "losses.bert_ner.temperature", 'found "1_000" (text)'),
    ("epochs: 2", "epochs: 2.5", "train.epochs", "found 2.5; expected an integer greater than 0"),
    ("patience: 3", "patience: 0", "train.patience", "found 0; expected an integer greater than 0, or null"),
    ("patience: 3", "warmup: 1", "train.warmup", "found 1; expected a number of at least 0 and less than 1"),
    ("patience: 3", "cache: 1", "train.cache", "found 1; expected true or false"),
    ("patience: 3", "cache: false, cache_logits_top: 3", "train", "`cache_features` go with `cache: true`"),
    ("patience: 3", "cache_features: {kind: pca}", "train.cache_features.width", "missing; expected an integer"),
    ("patience: 3", "cache_features: {kind: pcs, width: 9}", "train.cache_features.kind", "did you mean `pca`?"),
    ("patience: 3", "cache_logits_top: 0", "train.cache_logits_top", "found 0; expected an integer greater than 0"),
    ("patience: 3", "precision: bf61", "train.precision", 'found "bf61" (text); ...; did you mean `bf16`?'),
    ("patience: 3", "patience: 3, lr: 1", "train.lr", "found the key a second time, first at"),
    ("[0, 1]", "[0, -1]", "seeds.1", "found -1; expected an integer of at least 0"),
    ("[0, 1]", "[]", "seeds", "found an empty list; expected a list of at least 1"),
    ("[0, 1]", "3", "seeds", "found 3; expected a list"),
    ("kind: cosine, from", "kind: cosin, from", "losses.vit_sentiment.weight.kind", "did you mean `cosine`?"),
    ("from: 0.5, to: 0", "to: 0", "losses.vit_sentiment.weight.from", "missing; expected a number of at least 0"),
    ("kind: fixed", "kind: fixd", "weighting.kind", "unknown kind `fixd`; ...; did you mean `fixed`?"),
    ("weighting: {kind: fixed}", "weighting: fixed #!", "weighting", 'found "fixed" (text); expected a map with'),
    ("kind: fixed", "kind: 3", "weighting.kind", "found 3; expected one of"),
    ("kind: fixed", "kind: nowhere.at_all", "weighting.kind", "unknown kind `nowhere.at_all`"),
    ("kind: fixed", "kind: json.decoder", "weighting.kind", "json.decoder: expected a class named Config"),
    ("kind: fixed", "kind: mmkd.losses.hint", "weighting.kind", "does not derive from WeightingConfig"),
    ("{kind: logit_kl, teacher: bert", "{teacher: bert", "losses.bert_ner.kind", "missing; expected one of"),
    ("teacher: bert, ", "", "losses.bert_ner.teacher", "missing; expected text"),
    ("  image: {model: test_resnet, size: 64}", "  image: {size: 64} #!", "student.image",
     "exactly one of `model`, `start`"),
    ("model: bert-base-uncased, max_tokens", "vocabulary: 9, max_tokens", "student.text",
     "exactly one of `model`, `architecture`"),
    ("test_resnet, size", "test_resnet, mean: [0, 1], size", "student.image.mean.2", "missing; expected a number"),
    ("limit: {train: 100}", "limit: {trian: 100}", "data.notes.limit.trian", "did you mean `train`?"),
    ("limit: {train: 100}", "limit: {train: 0}", "data.notes.limit.train", "found 0; expected an integer"),
    ("train: [train, transfer]", "train: [train, test]", "data.notes.train.1", 'found "test" (text); expected one of'),
    ("train: [train, transfer]", "train: train", "data.notes.train", 'found "train" (text); expected a list'),
    ("name: shared", "name: 3 #!", "name", "found 3; expected a letter, then letters"),
    ("name: shared", "name: a b #!", "name", "expected a letter, then letters, digits and underscores"),
    ("losses:", "losses:\n  a-b: {kind: supervised, task: ner} #!", "losses.a-b", "found the name `a-b`; expected"),
    ("losses:", "losses:\n  old: null #!", "losses.old", "null removes an entry"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "key", "words"), MUTATIONS, ids=[f"{m[2]}: {m[3][:20]}" for m in MUTATIONS])
def test_one_mistake_gives_one_message_at_its_line(write: Write, old: str, new: str, key: str, words: str) -> None:
    original = write(name="original.yaml").read_text("utf-8")
    path = write({old: new})
    # The line of the change; of the mark, where the change has more than one line.
    lines = path.read_text("utf-8").splitlines()
    changed = [n for n, line in enumerate(lines, 1) if "#!" in line or line not in original.splitlines()]
    (problem,) = mistakes(path)
    assert dotted(problem.path) == key
    assert (problem.file, problem.line) == (str(path), changed[0])
    message = problem.message
    for piece in words.split("..."):
        assert piece in message
        message = message.partition(piece)[2]


@pytest.mark.parametrize("section", ["name", "data", "tasks", "student", "losses", "weighting"])
def test_a_missing_section_is_reported_at_the_top(write: Write, section: str) -> None:
    plain = YAML(typ="safe").load(write())
    del plain[section]
    path = write(name="less.yaml")
    YAML(typ="safe").dump(plain, path)
    assert (1, section) in [(problem.line, dotted(problem.path)) for problem in mistakes(path)]


VALID = [
    ({"epochs: 2": "epochs: 3"}, []),
    ({"temperature: 2": "temperature: 2e0"}, []),
    ({"temperature: 2": "weight: 0"}, []),  # the task's supervised loss still trains its head
    ({"teacher: vit\n    task": 'teacher: "vit"\n    task'}, []),
    ({"seeds: [0, 1]\n": ""}, []),
    ({"patience: 3": "patience: null"}, []),
    ({"  width: 96\n": ""}, []),
    ({}, ["train.patience=null", "train.clip=null", "losses.features=null"]),
    ({}, ["losses.features=null", "losses.vit_sentiment=null", "student.image=null"]),
    ({}, ["losses.bert_ner.kind=supervised", "losses.bert_ner.task=ner"]),
    ({}, ["weighting.kind=uncertainty"]),
]


@pytest.mark.parametrize(("changes", "overrides"), VALID)
def test_what_is_right_is_accepted(write: Write, changes: dict[str, str], overrides: list[str]) -> None:
    assert mistakes(write(changes), *overrides) == []


def test_all_mistakes_at_once_each_at_its_line(write: Write) -> None:
    write(text="train:\n  epochs: 0\n  lr: 1\nseeds: [x]\n", name="base.yaml")
    path = write(
        text="""\
name: planted
extends: base.yaml
data: {notes: {card: market_notes, limit: {train: many}}}
tasks:
  sentiment: {kind: clasify}
  ner: {kind: tag}
  risk: {kind: classify}
student:
  text: {model: ./no/such/folder}
  widht: 96
teachers:
  bert: {kind: hf_text, model: bert-base-uncased, tasks: [risk], layers: [2]}
  bert: {kind: hf_text}
  vit: {kind: timm, model: test_vit, weights: gone.safetensors, tasks: [ner]}
losses:
  one: {kind: logit_kl, teacher: bert, task: ner}
  two: {kind: hint, teacher: bert, layer: 3, modality: text}
  three: {kind: logit_kl, teacher: brt, task: risk}
  four: {kind: supervised, task: rsk}
  five: {kind: supervised, tsk: ner, task: ner, weight: -2}
weighting: {kind: fixed, temperature: 3}
train: {lr: 3e-4}
"""
    )
    found = [
        (problem.file.removeprefix(f"{path.parent}/"), problem.line, dotted(problem.path))
        for problem in mistakes(path, "train.warmup=7", "nonsense")
    ]
    assert found == [
        ("base.yaml", 2, "train.epochs"),
        ("base.yaml", 4, "seeds.0"),
        ("experiment.yaml", 3, "data.notes.limit.train"),
        ("experiment.yaml", 5, "tasks.sentiment.kind"),
        ("experiment.yaml", 10, "student.widht"),
        ("experiment.yaml", 13, "teachers.bert"),
        ("experiment.yaml", 14, "teachers.vit.tasks.0"),
        ("experiment.yaml", 14, "teachers.vit.weights"),
        ("experiment.yaml", 16, "losses.one.task"),
        ("experiment.yaml", 17, "losses.two.layer"),
        ("experiment.yaml", 18, "losses.three.teacher"),
        ("experiment.yaml", 19, "losses.four.task"),
        ("experiment.yaml", 20, "losses.five.tsk"),
        ("experiment.yaml", 20, "losses.five.weight"),
        ("experiment.yaml", 21, "weighting.temperature"),
        ("command line: nonsense", None, ""),
        ("command line: train.warmup=7", None, "train.warmup"),
    ]


def test_the_text_of_an_error_has_one_sorted_line_for_each(write: Write) -> None:
    path = write({"epochs: 2": "epochs: 0", "width: 96": "widht: 96"})
    with pytest.raises(ConfigError) as caught:
        load(path)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{path}:10: student.widht: unknown key `widht`; expected one of start, text, image, ")
    assert second == f"{path}:30: train.epochs: found 0; expected an integer greater than 0"


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    temperature=st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False),
    lr=st.floats(min_value=1e-12, max_value=10),
    epochs=st.integers(1, 10**9),
    patience=st.none() | st.integers(1, 100),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5),
    description=st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    weight=st.floats(0, 1e6) | st.just("{kind: linear, from: 1, to: 0.25}"),
)
def test_dump_and_load_give_an_equal_experiment(
    write: Write,
    temperature: float,
    lr: float,
    epochs: int,
    patience: int | None,
    seeds: list[int],
    description: str,
    weight: float | str,
) -> None:
    overrides = [
        f"losses.bert_ner.temperature={temperature!r}",
        f"losses.features.weight={weight}",
        f"train.lr={lr!r}",
        f"train.epochs={epochs}",
        f"train.patience={'null' if patience is None else patience}",
        f"seeds={seeds}",
    ]
    experiment = load(write(), overrides).model_copy(update={"description": description})
    assert experiment.losses["bert_ner"].temperature == temperature
    assert (experiment.train.lr, experiment.train.epochs, experiment.train.patience) == (lr, epochs, patience)
    path = write(name="dumped.yaml")
    YAML(typ="safe").dump(experiment.dump(), path)
    assert load(path) == experiment
    assert from_plain(experiment.dump()) == experiment
    assert from_plain(experiment.dump()).dump() == experiment.dump()


def test_plain_data_names_its_source() -> None:
    with pytest.raises(ConfigError, match=r"^run 7: data: missing"):
        from_plain({"name": "x"}, "run 7")


def test_reading_and_checking_an_experiment_imports_no_torch(write: Write) -> None:
    code = (
        "import sys; from mmkd.config.load import load, from_plain; from mmkd.config.schema import json_schema\n"
        f"experiment = load({str(write())!r}); from_plain(experiment.dump()); json_schema()\n"
        "print([name for name in ('torch', 'transformers', 'timm', 'ray', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
