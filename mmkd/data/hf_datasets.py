"""`hf_datasets`: Hugging Face `datasets` (https://huggingface.co/docs/datasets): of the hub, or a folder saved to disk.

A data set of the hub is named with the commit that it is read at, so that the same card always means the same rows.
A local one is a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote, listed in the card with its
sha256; tables that lie around as files are read by `csv`, `jsonl` and `parquet`, since `load_dataset` would not notice
a file that was edited to the same size and time. No torch here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mmkd.data._columns import ColumnsConfig, ColumnsSource, Row, as_text
from mmkd.data._files import RowProblem, finding
from mmkd.data.base import DataError
from mmkd.data.findings import Finding

if TYPE_CHECKING:
    import datasets

    from mmkd.data.card import Card

__all__ = ["Config", "Source"]

NOT_LABELLED = -1
"""The hub's number for the class of a row whose label is not given."""

ROWS_AT_ONCE = 256
"""Rows that are looked at together, with the images that are among them."""


class Config(ColumnsConfig):
    """Where the data set is, and its columns by name. splits: split -> the data set's own split, like `train`.

    hub: `owner/name`, as it is called there. revision: the commit that it is read at. subset: the hub's configuration,
    where there are several. folder: of a data set saved to disk, below the data root, instead of `hub`.
    Columns of class labels hold the labels' names, null for a row that is not labelled (-1). An image column holds
    the images. A folder that `Dataset.save_to_disk` wrote has the one split that the data set was, else `train`.
    """

    kind: Literal["hf_datasets"] = "hf_datasets"
    hub: Annotated[str, Field(pattern=r"^\w[\w.-]*/\w[\w.-]*$")] | None = None
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None
    subset: str | None = None
    folder: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.hub is None) == (self.folder is None):
            raise ValueError("expected one of `hub` and `folder`")
        if self.hub is not None and self.revision is None:
            raise ValueError("expected the `revision`: without a commit, the hub's rows can change under the card")
        return self


class Source(ColumnsSource):
    """Reads the rows by number. A row's number is its place in the split, from 1."""

    config: Config

    def __init__(self, config: Config, card: Card, root: Path | None) -> None:
        """Raises DataError when the card's tasks and the columns of `labels` do not fit together."""
        super().__init__(config, card, root)
        self._opened: dict[str, datasets.Dataset] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Another process opens the data set anew."""
        return self.__dict__ | {"_opened": {}}

    def files(self, split: str) -> tuple[str, ...]:
        """The folder of a data set on disk, and where else images lie; nothing of the hub is a file of the card."""
        own = super().files(split)
        if not own:
            return ()
        named = {f"{self.config.folder.rstrip('/')}/"} if self.config.folder is not None else set()
        return (*sorted(named), *own[len(self.own_files(split)) :])

    def rows(self, split: str) -> Iterator[Row | Finding]:
        """The rows of a split.

        Raises DataError when the data set or the split cannot be opened.
        """
        where, number = self.config.folder or str(self.config.hub), 0
        for own in self.own_files(split):
            rows = self._open(own)
            self.require(Path(where), rows.column_names, split)
            image = self._embedded(rows)
            named = rows.select_columns([column for column in self.needed(split) if column != image])
            images = None if image is None else rows.select_columns([image]).with_format("arrow")
            for start in range(0, len(rows), ROWS_AT_ONCE):
                places = range(start, min(start + ROWS_AT_ONCE, len(rows)))
                has = None if images is None else self._states(images, places)
                for place, values in zip(places, _values(named, places), strict=True):
                    number += 1
                    if has is None or image is None:
                        yield Row(where, number, values)
                    elif has[place - start] == "elsewhere":
                        message = "found the path of an image without its bytes; expected the bytes"
                        yield finding(RowProblem("image_missing", image, message), split, where, number)
                    else:
                        read = partial(self._bytes_of, own, image, place)
                        values[image] = read if has[place - start] == "here" else None
                        yield Row(where, number, values)

    def _embedded(self, rows: datasets.Dataset) -> str | None:
        """The column with the images. Raises DataError when it is none."""
        import datasets

        column = self.config.image
        if column is None or not column.embedded:
            return None
        feature = rows.features[column.column]
        if not isinstance(feature, datasets.Image):
            message = f"found {feature}; expected the feature Image; or name `archive` or `folder`"
            raise DataError(self.card.path, None, column.column, message)
        return column.column

    def _states(self, images: datasets.Dataset, places: range) -> list[str]:
        """For each row whether its image is `here`, `elsewhere` (what has its path cannot be read), or `none`."""
        return [self._state(value) for value in images[places.start : places.stop].column(0)]

    def _state(self, value: Any) -> str:
        """value: an Arrow scalar, so that the bytes are not copied."""
        if not value.is_valid or not (value["bytes"].is_valid or value["path"].is_valid):
            return "none"
        return "here" if value["bytes"].is_valid or self._is_file(value["path"].as_py()) else "elsewhere"

    def _is_file(self, path: str) -> bool:
        """Images of the hub may lie unpacked in its cache; beside a folder there is nothing that the card names."""
        import datasets
        from huggingface_hub.constants import HF_HUB_CACHE

        caches = (HF_HUB_CACHE, datasets.config.HF_DATASETS_CACHE)
        inside = any(Path(path).resolve().is_relative_to(Path(cache).resolve()) for cache in caches)
        return self.config.hub is not None and inside and Path(path).is_file()

    def _bytes_of(self, split: str, column: str, place: int) -> bytes:
        value = self._open(split)[place][column]
        try:
            return value["bytes"] if value["bytes"] is not None else Path(value["path"]).read_bytes()
        except OSError as error:
            message = f"the image of row {place + 1} cannot be read: {error}; get the data set again"
            raise DataError(self.card.path, None, column, message) from error

    def _open(self, split: str) -> datasets.Dataset:
        if split not in self._opened:
            self._opened[split] = self._load(split)
        return self._opened[split]

    def _load(self, split: str) -> datasets.Dataset:
        import datasets

        failures = (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError)
        try:
            if self.config.folder is not None:
                loaded = datasets.load_from_disk(str(self._own_folder(self.config.folder)))
            elif Path(self.config.hub or "").exists():  # which `load_dataset` would take for the hub's
                message = f"found {self.config.hub} in the working folder; expected the hub's; work in another folder"
                raise DataError(self.card.path, None, "mmkd.source.hub", message)
            else:
                loaded = datasets.load_dataset(self.config.hub, self.config.subset, revision=self.config.revision)
        except failures as error:
            message = f"cannot be opened by datasets {datasets.__version__}: {error}; {self._advice()}"
            raise DataError(self.card.path, None, "mmkd.source", message) from error
        if not isinstance(loaded, datasets.DatasetDict):
            loaded = {str(loaded.split or "train"): loaded}
        if split not in loaded:
            message = f"found no split {split!r}; expected one of {', '.join(map(str, loaded))}"
            raise DataError(self.card.path, None, "mmkd.source.splits", message)
        rows = loaded[split].with_format(None)
        for name, feature in rows.features.items():
            if isinstance(feature, datasets.Image):
                rows = rows.cast_column(name, datasets.Image(decode=False))
        return rows

    def _own_folder(self, name: str) -> Path:
        """The folder of a data set on disk, once the files that it says to read are known to be its own.

        Raises DataError when they are not.
        """
        folder = self.path(name)
        for path in (folder / "dataset_dict.json", folder / "state.json", *folder.glob("*/state.json")):
            try:
                stated = json.loads(path.read_text("utf-8")) if path.is_file() else {}
                named = [*stated.get("splits", []), *(each["filename"] for each in stated.get("_data_files", []))]
                wrong = [each for each in named if PurePosixPath(each).name != each or each == ".."]
            except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise DataError(path, None, None, f"cannot be read: {error!r}; get the folder again") from error
            if wrong:
                message = f"names {wrong[0]!r}, which leads out of the folder; expected files that lie beside it"
                raise DataError(path, None, None, message)
        return folder

    def _advice(self) -> str:
        if self.config.folder is not None:
            return "get the folder again"
        return (
            "connect to the hub once, so that it is kept in the cache (HF_HOME), or save it there with "
            "`save_to_disk` and name the `folder`; check `hub`, `subset` and `revision`"
        )


def _values(rows: datasets.Dataset, places: range) -> list[dict[str, Any]]:
    """The rows at the places."""
    batch, features = rows[places.start : places.stop], rows.features  # which are copied each time they are asked for
    named = {name: [_named(features[name], value) for value in values] for name, values in batch.items()}
    return [{name: values[place] for name, values in named.items()} for place in range(len(places))]


def _named(feature: Any, value: Any) -> Any:
    """Class labels by name, all else as rows hold it. A number that is no class stays a number, which is no label."""
    import datasets

    if isinstance(feature, datasets.ClassLabel) and isinstance(value, int):
        names = feature.names
        return names[value] if 0 <= value < len(names) else None if value == NOT_LABELLED else str(value)
    inner = getattr(feature, "feature", None)
    if isinstance(value, list) and inner is not None:
        return [_named(inner, each) for each in value]
    return as_text(value)
