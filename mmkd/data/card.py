"""Data cards: a Markdown file for people whose front matter is also the machine's only definition of a data set.

The front matter holds the keys of Hugging Face dataset cards (https://huggingface.co/docs/hub/datasets-cards) and a
block `mmkd:`, which is closed: an unknown key, a wrong type or a doubled key is a mistake. No torch here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, Strict, ValidationInfo, field_validator

from mmkd.config import plugins
from mmkd.config.experiment import Name
from mmkd.config.plain_words import validated
from mmkd.config.problems import ConfigError, KeyPath, Place, Problem, did_you_mean, dotted, listed, shown
from mmkd.config.section import Names, PositiveInt, Section
from mmkd.config.yaml_tree import Node, as_tree
from mmkd.data._front_matter import read
from mmkd.data.base import Source, Split
from mmkd.data.findings import Policy, policy_mistakes
from mmkd.data.integrity import require_files
from mmkd.data.masking import MASKS
from mmkd.data.splitting import Division
from mmkd.errors import MmkdError

FOLDER = "data_cards"
MAX_BYTES = 1_000_000  # a long card has about 20,000


class CardError(ConfigError):
    """All mistakes of one card, sorted by line; `line` is the first's, None for a card that cannot be read at all."""

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        """problems: one or more."""
        super().__init__(problems)
        self.path, self.line = path, self.problems[0].line


class OptionError(MmkdError):
    """Options that a card's source does not take. mistakes: (place below the options, message)."""

    def __init__(self, mistakes: list[tuple[KeyPath, str]]) -> None:
        """mistakes: one or more."""
        super().__init__(mistakes)
        self.mistakes = mistakes

    def __str__(self) -> str:
        """One line per mistake."""
        return "\n".join(f"{dotted(place)}: {text}" for place, text in self.mistakes)


class File(Section):
    """A file of the data set, as it must be."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class CardTask(Section):
    """A task that the rows are labelled for. kind: what its labels are; labels: their names, in order.

    scheme: of a `tag` task's labels. range: least and greatest value of a `regress` task.
    metric: by which the literature compares results on it; for people and tables.
    """

    kind: Literal["classify", "tag", "ordinal", "multilabel", "regress"]
    labels: Names = ()
    scheme: Literal["BIO"] | None = None
    range: Annotated[tuple[float, float], Strict(False)] | None = None
    metric: str | None = None

    @field_validator("labels")
    @classmethod
    def _suit_the_kind(cls, labels: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        kind = info.data.get("kind", "regress")
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"found {', '.join(twice)} twice; expected each label once")
        least = {"regress": 0, "multilabel": 1}.get(kind, 2)
        if len(labels) < least or (kind == "regress" and labels):
            number = "none" if kind == "regress" else f"{least} or more"
            raise ValueError(f"found {len(labels)} labels; expected {number} for the kind {kind}")
        if kind == "tag":
            types = {label[2:] for label in labels if label != "O"}
            expected = {"O", *(f"{place}-{each}" for each in types for place in "BI")}
            wrong = sorted(expected ^ set(labels))
            if wrong:
                raise ValueError(f"{', '.join(wrong)}: expected O and, for each entity type, its B- and I- label")
        return labels


class Pii(Section):
    """Personal data in the rows: whether there is any, of what kinds, and what was done about it.

    mask: kinds that are replaced by a placeholder when the rows are read (`mmkd.data.masking`).
    """

    present: bool
    kinds: Names = ()
    mask: Names = ()
    note: str | None = None

    @field_validator("mask")
    @classmethod
    def _known(cls, mask: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(mask) - set(MASKS))
        if unknown:
            raise ValueError(f"found {listed(unknown)}; expected some of {listed(list(MASKS))}")
        return mask


class HuggingFace(Section):
    """Keys of a Hugging Face dataset card; others than these are kept and not checked."""

    model_config = ConfigDict(extra="allow")

    pretty_name: str
    license: str
    language: Names = ()
    task_categories: Names = ()
    configs: list[dict[str, Any]] | None = None
    dataset_info: dict[str, Any] | None = None


class Definition(Section):
    """The block `mmkd:`: what the machine must know of a data set.

    source: `kind` is a file of `mmkd/data/`, the rest is that file's `Config`.
    files: path below the data root -> File; a name that ends with a slash is a folder with all that is in it.
    obtain: where the files come from and how to get them.
    splits: rows of each split, as read. division: how a part of the source is divided into splits, with a seed.
    modalities: what the rows can have; a row may lack one.
    policy: reason of a finding -> what happens to the row; `mmkd data check --reasons` lists them.
    """

    version: Literal[1]
    source: dict[str, Any]
    files: dict[str, File] = Field(default_factory=dict)
    obtain: str | None = None
    modalities: Annotated[tuple[Literal["text", "image"], ...], Strict(False), Field(min_length=1)]
    tasks: dict[Name, CardTask]
    splits: Annotated[dict[Split, PositiveInt], Field(min_length=1)]
    division: Division | None = None
    policy: dict[str, Policy] = {}
    pii: Pii

    @field_validator("files")
    @classmethod
    def _inside_the_root(cls, files: dict[str, File]) -> dict[str, File]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name.removesuffix("/"):
                raise ValueError(f"found {name!r}; expected a plain path below the data root, like `folder/file`")
        return files

    @field_validator("division")
    @classmethod
    def _of_the_splits(cls, division: Division | None, info: ValidationInfo) -> Division | None:
        if division is None:
            return None
        splits, tasks = info.data.get("splits", division.shares), info.data.get("tasks", {})
        unstated = [split for split in division.shares if split not in splits]
        if unstated:
            raise ValueError(f"found shares for {listed(unstated)}; expected shares for the card's `splits` alone")
        if division.of in splits and division.of not in division.shares:
            raise ValueError(f"found the split {division.of}, whose rows are all given away; expected a share for it")
        if division.stratify is not None and division.stratify not in tasks:
            raise ValueError(f"`stratify`: found no task `{division.stratify}`; expected one of {listed(list(tasks))}")
        return division

    @field_validator("policy")
    @classmethod
    def _possible(cls, policy: dict[str, Policy]) -> dict[str, Policy]:
        for reason, message in policy_mistakes(policy).items():
            raise ValueError(f"{reason}: {message}")
        return policy

    @field_validator("obtain")
    @classmethod
    def _said_when_needed(cls, obtain: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("files") and not (obtain or "").strip():
            raise ValueError("is missing; expected where and how to get the files")
        return obtain


class Card(Definition):
    """A data card: the definition, the Hugging Face keys (`about`), and the text for people (`body`)."""

    path: Path
    about: HuggingFace
    body: str

    @property
    def name(self) -> str:
        """The card's file name without its ending."""
        return self.path.stem


def find_card(name: str, near: Path) -> Path:
    """The path of a card. near: the file that names it, usually an experiment.

    A bare name is looked up in the `data_cards` folder of the nearest folder above `near` that has one; a name with
    a slash or with the ending .md is a path, relative to the folder of `near`.

    Raises CardError when there is no such card.
    """
    folder = near if near.is_dir() else near.parent
    if "/" in name or name.endswith(".md"):
        path, where = folder / name, (folder / name).parent
    else:
        above = (folder.resolve() / "file").parents
        where = next((each / FOLDER for each in above if (each / FOLDER).is_dir()), folder / FOLDER)
        path = where / f"{name}.md"
    if path.is_file():
        return path
    known = sorted(each.stem for each in where.glob("*.md"))
    text = f"found no data card `{name}`; the cards in {where} are: {listed(known)}{did_you_mean(path.stem, known)}"
    raise CardError(path, [Problem(Place(str(path)), (), text)])


def read_card(path: Path) -> Card:
    """Read a card and check all that can be known without its files.

    Raises CardError with all mistakes of the card.
    """
    try:
        size = path.stat().st_size
        text = path.read_text("utf-8") if size <= MAX_BYTES else None
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(path, [Problem(Place(str(path)), (), f"cannot be read: {error}")]) from error
    if text is None:
        message = f"found {size:,} bytes; expected a card of at most {MAX_BYTES:,}"
        raise CardError(path, [Problem(Place(str(path)), (), message)])
    try:
        front = read(text, str(path))
    except ConfigError as error:
        raise CardError(path, error.problems) from error
    problems = list(front.problems)
    about = validated(HuggingFace, _without_block(front.tree), (), problems)
    definition = _definition(front.tree, problems)
    if problems or definition is None or about is None:
        raise CardError(path, problems)
    return Card(**dict(definition), path=path, about=about, body=front.body)


def _without_block(tree: Node) -> Node:
    return Node({key: node for key, node in tree.entries.items() if key != "mmkd"}, tree.place)


def _definition(tree: Node, problems: list[Problem]) -> Definition | None:
    block = tree.child("mmkd") or Node(None, tree.place)
    if not isinstance(block.value, dict):
        message = f"found {shown(block.plain())}; expected the block that defines the data set"
        problems.append(Problem(block.place, ("mmkd",), message))
        return None
    source = block.child("source")
    if source is not None and isinstance(source.value, dict):
        _source_config(tree, ("mmkd", "source"), problems)
    return validated(Definition, tree, ("mmkd",), problems)


def _source_config(root: Node, path: KeyPath, problems: list[Problem]) -> Section | None:
    """The source's keys at the path of the tree; None, and the mistakes in `problems`, when they are wrong."""
    source, known = root.nearest(path), plugins.kinds("data")
    named = source.child("kind") or Node(None, source.place)
    kind, message = named.value, f"found {shown(named.plain())}; expected one of {listed(known)}"
    if isinstance(kind, str):
        try:
            model = plugins.config_class("data", kind)
        except (LookupError, TypeError):
            message = f"found no source of the kind `{kind}`{did_you_mean(kind, known)}"
        else:
            return validated(model, root, path, problems)
    problems.append(Problem(named.place, (*path, "kind"), message))
    return None


def data_root() -> Path | None:
    """The folder of the data sets' files, from the environment variable MMKD_DATA; None when it is not set."""
    root = os.environ.get("MMKD_DATA")
    return Path(root).expanduser() if root else None


def open_source(card: Card, options: Mapping[str, Any], root: Path | None) -> Source:
    """The source that reads the card's rows. options: keys of the card's `source` to set otherwise.

    Raises OptionError for options that the source does not take, CardError when the source would read a file that
    the card does not list, and DataError when files are missing.
    """
    if "kind" in options:
        raise OptionError([(("kind",), "an option cannot change the kind of a card's source; use another card")])
    wrong: list[Problem] = []
    config = _source_config(as_tree(_merged(card.source, options), Place("options")), (), wrong)
    if config is None:
        raise OptionError([(problem.path, problem.message) for problem in wrong])
    require_files(card, root)
    source: Source = plugins.load("data", str(card.source["kind"])).Source(config, card, root)
    unlisted = sorted({name for split in card.splits for name in source.files(split)} - set(card.files))
    if unlisted:
        text = f"{listed(unlisted)} is read but not listed; list it with its sha256"
        raise CardError(card.path, [Problem(Place(str(card.path)), ("mmkd", "files"), text)])
    return source


def _merged(base: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Maps merge by key, all else replaces."""
    merged = dict(base)
    for key, value in options.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
