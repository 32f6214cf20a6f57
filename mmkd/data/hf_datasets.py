"""`hf_datasets`: Hugging Face `datasets` (https://huggingface.co/docs/datasets): of the hub, or a folder saved to disk.

A data set of the hub is named with the commit that it is read at, so that the same card always means the same rows.
A local one is a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote, listed in the card with its
sha256; tables that lie around as files are read by `csv`, `jsonl` and `parquet`, since `load_dataset` would not notice
a file that was edited to the same size and time. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mmkd.data._columns import ColumnsConfig, ColumnsSource, Row, as_text
from mmkd.data.base import DataError
from mmkd.data.findings import Finding

if TYPE_CHECKING:
    import datasets

    from mmkd.data.card import Card

__all__ = ["Config", "Source"]


class Config(ColumnsConfig):
    """Where the data set is, and its columns by name. splits: split -> the data set's own split, like `train`.

    hub: its name there. revision: the commit that it is read at. subset: the hub's configuration, where there are
    several. folder: of a data set saved to disk, below the data root, instead of `hub`.
    Columns of class labels hold the labels' names. An image column holds the images.
    """

    kind: Literal["hf_datasets"] = "hf_datasets"
    hub: str | None = None
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
        import datasets

        where = self.config.folder or str(self.config.hub)
        number = 0
        for own in self.own_files(split):
            rows = self._open(own)
            features = rows.features
            images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
            plain = rows.remove_columns(images)
            for place in range(len(rows)):
                number += 1
                row = {name: _named(features[name], value) for name, value in plain[place].items()}
                for name in images:
                    has = rows[place][name] is not None
                    row[name] = partial(self._image, own, name, place) if has else None
                yield Row(where, number, row)

    def _image(self, split: str, column: str, place: int) -> bytes:
        value = self._open(split)[place][column]
        return Path(value["path"]).read_bytes() if value["bytes"] is None else value["bytes"]

    def _open(self, split: str) -> datasets.Dataset:
        if split not in self._opened:
            self._opened[split] = self._load(split)
        return self._opened[split]

    def _load(self, split: str) -> datasets.Dataset:
        import datasets

        try:
            if self.config.folder is not None:
                loaded = datasets.load_from_disk(str(self.path(self.config.folder)))
            else:
                loaded = datasets.load_dataset(self.config.hub, self.config.subset, revision=self.config.revision)
        except (OSError, ValueError, RuntimeError) as error:
            message = f"cannot be opened by datasets {datasets.__version__}: {error}"
            raise DataError(self.card.path, None, "mmkd.source", message) from error
        if isinstance(loaded, datasets.DatasetDict):
            if split not in loaded:
                message = f"found no split {split!r}; expected one of {', '.join(map(str, loaded))}"
                raise DataError(self.card.path, None, "mmkd.source.splits", message)
            loaded = loaded[split]
        for name, feature in loaded.features.items():
            if isinstance(feature, datasets.Image):
                loaded = loaded.cast_column(name, datasets.Image(decode=False))
        return loaded


def _named(feature: Any, value: Any) -> Any:
    """Class labels by name, all else as rows hold it."""
    import datasets

    if isinstance(feature, datasets.ClassLabel):
        return None if value is None or value < 0 else feature.int2str(value)
    inner = getattr(feature, "feature", None)
    if isinstance(value, list) and inner is not None:
        return [_named(inner, each) for each in value]
    return as_text(value)
