"""What an entry depends on: each single change is noticed, and what does not matter re-uses the cache."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from posts import learn, make_card, make_posts, posts_experiment, rows_of, write_rows
from rich.progress import Progress
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from typer.testing import CliRunner

import mmkd.teach
import mmkd.teacher_identity
from mmkd import checkpoint
from mmkd.cache import store
from mmkd.cache.entry import key_of
from mmkd.cache.store import Making, packing_of, parts_of
from mmkd.cli import app
from mmkd.ready import make_ready
from mmkd.teach import prepare
from mmkd.teachers import hf_text, timm
from mmkd.types import Batch, Outputs
from mmkd.workspace import open_workspace
from tiny_project import experiment

QUIET = Progress(disable=True)
PACKAGE = Path(mmkd.teach.__file__).parent
Keys = dict[str, set[str]]


@dataclass
class Ground:
    """A project that a test may change. plain: its experiment; root: of the data."""

    folder: Path
    plain: dict[str, Any]
    patch: pytest.MonkeyPatch

    @property
    def root(self) -> Path:
        return self.folder / "data"

    @property
    def near(self) -> Path:
        return self.folder / "project" / "posts.yaml"

    def keys(self, *teachers: str) -> Keys:
        """Teacher -> keys of its entries, as a run would look for them; nothing is built."""
        found: Keys = {}
        workspace = open_workspace(experiment(self.plain), self.near, QUIET)
        train, augment = workspace.experiment.train, workspace.experiment.augment
        making = Making(
            folder=workspace.places.cache / "teachers",
            dtype=train.cache_dtype,
            device=torch.device("cpu"),
            say=print,
            progress=lambda done, total: None,
            logits_top=train.cache_logits_top,
            features=train.cache_features,
        )
        for name in teachers or workspace.experiment.teachers:
            prepared = prepare(workspace, name, {})
            views = range((augment.views or 1) if augment else 1)
            corpora = [workspace.training(workspace.reader(name), view) for view in views]
            packing = packing_of(prepared.teacher, prepared.identity, corpora[0], making)
            splits = [split for corpus in corpora for split in corpus.splits]
            found[name] = {key_of(parts_of(prepared.identity, split, making, packing)) for split in splits}
        return found

    def built(self) -> set[str]:
        """Keys of the entries that lie in the cache."""
        return {path.parent.name for path in self.near.parent.glob("results/cache/teachers/*/entry.json")}

    def new_card(self) -> None:
        make_card(self.root, self.near.parent / "data_cards")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Keys]]:
    """A project whose cache is built, and the keys of its entries."""
    folder = tmp_path_factory.mktemp("base")
    with pytest.MonkeyPatch.context() as patch:
        ground = Ground(folder, posts_experiment(), patch)
        patch.setenv("MMKD_DATA", str(ground.root))
        patch.setattr(mmkd.teach, "_finetune", learn)
        make_posts(ground.root)
        ground.new_card()
        make_ready(experiment(ground.plain), ground.near, QUIET)
        yield folder, ground.keys()


@pytest.fixture
def ground(base: tuple[Path, Keys], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """A copy of that project, in another place."""
    shutil.copytree(base[0], tmp_path / "copy")
    monkeypatch.setenv("MMKD_DATA", str(tmp_path / "copy" / "data"))
    monkeypatch.setattr(mmkd.teach, "_finetune", learn)
    return Ground(tmp_path / "copy", posts_experiment(), monkeypatch)


def test_the_keys_are_those_of_the_entries_that_a_run_makes(base: tuple[Path, Keys], ground: Ground):
    assert ground.built() == base[1]["bert"] | base[1]["net"]
    assert {name: len(keys) for name, keys in ground.keys().items()} == {"bert": 1, "net": 1}


# Changes of the experiment file.


def put(*path: str, value: Any) -> Callable[[Ground], None]:
    def change(ground: Ground) -> None:
        section = ground.plain
        for name in path[:-1]:
            section = section.setdefault(name, {})
        section[path[-1]] = value

    return change


def both(*changes: Callable[[Ground], None]) -> Callable[[Ground], None]:
    def change(ground: Ground) -> None:
        for each in changes:
            each(ground)

    return change


def augment(**other: Any) -> Callable[[Ground], None]:
    return put("augment", value={"views": 2, "text": {"drop": 0.2}, "image": {"flip": 0.5}, **other})


# Changes of files.


def rows(split: str, change: Callable[[list[dict[str, str]]], None]) -> Callable[[Ground], None]:
    def changed(ground: Ground) -> None:
        found = rows_of(ground.root, split)
        change(found)
        write_rows(ground.root, split, found)
        ground.new_card()

    return changed


def one_word(found: list[dict[str, str]]) -> None:
    found[3]["text"] += " today"


def other_id(found: list[dict[str, str]]) -> None:
    found[3]["id"] = "renamed"


def other_label(found: list[dict[str, str]]) -> None:
    found[3]["mood"] = "flat" if found[3]["mood"] != "flat" else "bad"


def no_image(found: list[dict[str, str]]) -> None:
    found[3]["image"] = found[4]["image"]


def one_pixel(ground: Ground) -> None:
    path = ground.root / "posts" / "images" / "train3.bmp"
    before, pixels = path.stat(), np.asarray(Image.open(path)).copy()
    pixels[5, 7, 0] ^= 1
    Image.fromarray(pixels).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    ground.new_card()


def model_json(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Ground], None]:
    def changed(ground: Ground) -> None:
        path = ground.root / "small_bert" / name
        plain = json.loads(path.read_text("utf-8"))
        change(plain)
        path.write_text(json.dumps(plain), "utf-8")

    return changed


def add_token(ground: Ground) -> None:
    path = ground.root / "small_bert" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    assert tokenizer.add_tokens(["rates bank"]) == 1
    tokenizer.save(str(path))


def flip_model_bit(ground: Ground) -> None:
    path = ground.root / "small_bert" / "model.safetensors"
    weights = load_file(path)
    flip_bit(weights["encoder.layer.1.output.dense.weight"])
    save_file(weights, path, metadata={"format": "pt"})


def flip_bit(weights: torch.Tensor) -> None:
    """The last bit of one number."""
    weights.view(torch.int32)[3, 5] ^= 1


def flip_teacher_bit(name: str) -> Callable[[Ground], None]:
    def change(ground: Ground) -> None:
        (folder,) = (ground.near.parent / "results" / "teachers").glob(f"{name}-*")
        weights, facts, _ = checkpoint.load(folder)
        flip_bit(next(value for value in weights.values() if value.ndim == 2))
        checkpoint.save(folder, weights, facts)

    return change


# Changes of code.


def code(name: str, old: str, new: str) -> Callable[[Ground], None]:
    """One place of a source file of the package."""

    def change(ground: Ground) -> None:
        copy = ground.folder / "mmkd"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        text = (copy / name).read_text("utf-8")
        assert old in text
        (copy / name).write_text(text.replace(old, new, 1), "utf-8")
        ground.patch.setattr(mmkd.teacher_identity, "SOURCE", copy)

    return change


def kind_code(module: ModuleType) -> Callable[[Ground], None]:
    def change(ground: Ground) -> None:
        path = ground.folder / "kind.py"
        path.write_text(Path(str(module.__file__)).read_text("utf-8") + "\n", "utf-8")
        ground.patch.setattr(module, "__file__", str(path))

    return change


def cache_code(ground: Ground) -> None:
    ground.patch.setattr(store, "CODE", "another")


def torch_version(ground: Ground) -> None:
    versions = mmkd.teacher_identity.package_versions()
    ground.patch.setattr(mmkd.teacher_identity, "package_versions", lambda: versions | {"torch": "2.99"})


TRAIN, BERT, NET = ("train",), ("teachers", "bert"), ("teachers", "net")
PCA = {"kind": "pca", "width": 8}
RANDOM = {"kind": "random", "width": 8}
Change = Callable[[Ground], None]
NOTHING: Change = both()

# What is changed -> the teacher that must notice, the change, and what is changed before.
CHANGES: dict[str, tuple[str, Change, Change]] = {
    "one pixel, size and time kept": ("net", one_pixel, NOTHING),
    "one word of a text": ("bert", rows("train", one_word), NOTHING),
    "the id of a row": ("bert", rows("train", other_id), NOTHING),
    "another image of a row": ("net", rows("train", no_image), NOTHING),
    "two rows change places": ("bert", rows("train", lambda found: found.insert(0, found.pop(1))), NOTHING),
    "one row less": ("net", rows("train", lambda found: found.pop() and None), NOTHING),
    "one label, which the teacher learns from": ("bert", rows("train", other_label), NOTHING),
    "fewer rows by limit": ("net", put("data", "posts", "limit", value={"train": 13}), NOTHING),
    "label map": (
        "bert",
        put("data", "posts", "labels", value={"mood": {"bad": "good", "good": "bad"}}),
        put("tasks", "mood", "labels", value=["bad", "flat", "good"]),
    ),
    "class order": ("bert", put("tasks", "mood", "labels", value=["good", "flat", "bad"]), NOTHING),
    "kind of the task": ("net", put("tasks", "risk", "kind", value="classify"), NOTHING),
    "one added token": ("bert", add_token, NOTHING),
    "lower case in the tokenizer": (
        "bert",
        model_json("tokenizer.json", lambda plain: plain.update(normalizer={"type": "Lowercase"})),
        NOTHING,
    ),
    "max_tokens": ("bert", put(*BERT, "max_tokens", value=64), NOTHING),
    "pooling": ("bert", put(*BERT, "pooling", value="mean"), NOTHING),
    "one bit of a pretrained weight": ("bert", flip_model_bit, NOTHING),
    "activation in the model's config": (
        "bert",
        model_json("config.json", lambda plain: plain.update(hidden_act="relu")),
        NOTHING,
    ),
    "attention heads in the model's config": (
        "bert",
        model_json("config.json", lambda plain: plain.update(num_attention_heads=4)),
        NOTHING,
    ),
    "size of the image": ("net", put(*NET, "size", value=64), NOTHING),
    "mean": ("net", put(*NET, "mean", value=[0.5, 0.5, 0.5]), NOTHING),
    "std": ("net", put(*NET, "std", value=[0.5, 0.5, 0.5]), NOTHING),
    "resize filter": ("net", code("data/pixels.py", "Resampling.BICUBIC", "Resampling.BILINEAR"), NOTHING),
    "another vision model": ("net", put(*NET, "model", value="test_resnet"), NOTHING),
    "option of the vision model": ("net", put(*NET, "options", value={"drop_path_rate": 0.1}), NOTHING),
    "layers of the text": ("bert", put(*BERT, "layers", value=[0]), NOTHING),
    "one more layer": ("bert", put(*BERT, "layers", value=[0, 1]), NOTHING),
    "layers of the image": ("net", put(*NET, "layers", value=[1]), NOTHING),
    "tasks of a teacher": ("bert", put(*BERT, "tasks", value=["mood", "risk"]), NOTHING),
    "dropout while it is fine-tuned": ("bert", put(*BERT, "dropout", value=0.2), NOTHING),
    "epochs of fine-tuning": ("net", put(*NET, "finetune", "epochs", value=3), NOTHING),
    "rate of fine-tuning": ("bert", put(*BERT, "finetune", "lr", value=1e-4), NOTHING),
    "seed of fine-tuning": ("net", put(*NET, "finetune", "seed", value=1), NOTHING),
    "one bit of the text teacher": ("bert", flip_teacher_bit("bert"), NOTHING),
    "one bit of the image teacher": ("net", flip_teacher_bit("net"), NOTHING),
    "code of the text encoder": ("bert", code("encoders/text.py", "clamp(min=1)", "clamp(min=2)"), NOTHING),
    "code of the loop": ("net", code("train.py", "warmup", "warm_up"), NOTHING),
    "code of the text teacher": ("bert", kind_code(hf_text), NOTHING),
    "code of the image teacher": ("net", kind_code(timm), NOTHING),
    "code of the cache": ("bert", cache_code, NOTHING),
    "version of torch": ("net", torch_version, NOTHING),
    "dtype": ("bert", put(*TRAIN, "cache_dtype", value="bf16"), NOTHING),
    "top-k logits": ("net", put(*TRAIN, "cache_logits_top", value=2), NOTHING),
    "k": ("net", put(*TRAIN, "cache_logits_top", value=1), put(*TRAIN, "cache_logits_top", value=2)),
    "pca": ("bert", put(*TRAIN, "cache_features", value=PCA), NOTHING),
    "random projection": ("net", put(*TRAIN, "cache_features", value=RANDOM), NOTHING),
    "width of the projection": (
        "bert",
        put(*TRAIN, "cache_features", value=PCA | {"width": 4}),
        put(*TRAIN, "cache_features", value=PCA),
    ),
    "seed of the projection": (
        "net",
        put(*TRAIN, "cache_features", value=RANDOM | {"seed": 1}),
        put(*TRAIN, "cache_features", value=RANDOM),
    ),
    "views": ("bert", augment(), NOTHING),
    "seed of the views": ("bert", augment(seed=1), augment()),
    "chance of a view's words": ("bert", augment(text={"drop": 0.3}), augment()),
    "chance of a view's image": ("net", augment(image={"flip": 0.4}), augment()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_single_change_is_noticed(base: tuple[Path, Keys], ground: Ground, name: str):
    teacher, change, before = CHANGES[name]
    before(ground)
    known = base[1] if before is NOTHING else ground.keys(teacher)
    change(ground)
    found = ground.keys(teacher)
    assert found[teacher]
    assert not found[teacher] & known[teacher]


def test_there_are_forty_changes_and_more():
    assert len(CHANGES) >= 40


# What does not matter.


def touch_all(ground: Ground) -> None:
    for path in ground.folder.rglob("*"):
        os.utime(path, (1e9, 1e9))


def more_in_test(found: list[dict[str, str]]) -> None:
    found[0]["text"] += " today"


IRRELEVANT: dict[str, Change] = {
    "the place of project and data": NOTHING,
    "times of all files": touch_all,
    "name and description": both(put("name", value="other"), put("description", value="another text")),
    "seeds of the runs": put("seeds", value=[3, 4]),
    "batch size": put(*TRAIN, "batch_size", value=4),
    "workers": put(*TRAIN, "workers", value=2),
    "epochs": put(*TRAIN, "epochs", value=7),
    "rate of the student": put(*TRAIN, "lr", value=1e-3),
    "width of the student": put("student", "width", value=24),
    "weight of a loss": put("losses", "bert_mood", "weight", value=0.5),
    "temperature of a loss": put("losses", "net_risk", "temperature", value=2.0),
    "a loss less": both(put("losses", "mood", "weight", value=2.0), lambda g: g.plain["losses"].pop("mood") and None),
    "weighting": put("weighting", value={"kind": "uncertainty"}),
    "mixing": put("mixing", value={"kind": "size", "rows": 10}),
    "precision of the student": put(*TRAIN, "precision", value="bf16"),
    "rows of the test split": rows("test", more_in_test),
}


@pytest.mark.parametrize("name", IRRELEVANT)
def test_what_does_not_matter_uses_the_cache_again(
    base: tuple[Path, Keys], ground: Ground, monkeypatch: pytest.MonkeyPatch, name: str
):
    IRRELEVANT[name](ground)
    asked = {hf_text: [0], timm: [0]}
    for kind, count in asked.items():
        monkeypatch.setattr(kind.Teacher, "forward", counted(kind.Teacher.forward, count))
    ready = make_ready(experiment(ground.plain), ground.near, QUIET)
    assert ground.built() == base[1]["bert"] | base[1]["net"]
    assert set(ready.teachers) == {"bert", "net"}
    assert [count for (count,) in asked.values()] == [8, 8]  # the rows that each use compares


def counted(forward: Callable[..., Outputs], count: list[int]) -> Callable[..., Outputs]:
    def call(self: Any, batch: Batch) -> Outputs:
        count[0] += len(batch.ids)
        return forward(self, batch)

    return call


def test_a_change_makes_the_teacher_speak_again(ground: Ground, monkeypatch: pytest.MonkeyPatch):
    """The control of the test above."""
    count = [0]
    monkeypatch.setattr(hf_text.Teacher, "forward", counted(hf_text.Teacher.forward, count))
    put(*TRAIN, "cache_dtype", value="bf16")(ground)
    make_ready(experiment(ground.plain), ground.near, QUIET)
    assert count == [14 + 8]


# The commands that ask teachers.


@pytest.fixture
def posts_file(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """The project with its experiment as a file, the working folder in it."""
    monkeypatch.chdir(ground.near.parent)
    YAML().dump(ground.plain, ground.near)
    return ground


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["cache", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_build_makes_what_an_experiment_needs_and_says_why(base: tuple[Path, Keys], posts_file: Ground):
    code, output = run("build", "posts.yaml")
    assert code == 0, output
    assert "made anew" not in output
    assert posts_file.built() == base[1]["bert"] | base[1]["net"]
    code, output = run("build", "posts.yaml", "train.cache_logits_top=2", "teachers.net.layers=[1]")
    assert code == 0, output
    assert "cache of bert for posts/train: logits_top differs, made anew" in output
    assert "cache of net for posts/train: layers, logits_top differ, made anew" in output
    assert "logits.mood: KL " in output
    assert len(posts_file.built()) == 4
    assert not (posts_file.near.parent / "results" / "runs").exists()
    code, output = run("build", "posts.yaml", "train.cache=false")
    assert (code, "nothing is stored" in output) == (2, True)


def test_verify_asks_the_live_teachers(posts_file: Ground, monkeypatch: pytest.MonkeyPatch):
    count = [0]
    monkeypatch.setattr(hf_text.Teacher, "forward", counted(hf_text.Teacher.forward, count))
    code, output = run("verify", "--live", "posts.yaml", "--share", "1")
    assert code == 0, output
    assert "the live teachers say the same of 100% of the rows" in output
    assert count == [8 + 14]
    monkeypatch.setattr(hf_text.Teacher, "forward", shifted(hf_text.Teacher.forward))
    code, output = run("verify", "--live", "posts.yaml")
    assert code == 2
    assert "teacher bert: the cached logits.mood of row " in output


def shifted(forward: Callable[..., Outputs]) -> Callable[..., Outputs]:
    def call(self: Any, batch: Batch) -> Outputs:
        said = forward(self, batch)
        return replace(said, logits={task: logits + 1 for task, logits in said.logits.items()})

    return call
