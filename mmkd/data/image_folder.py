"""`image_folder`: a folder or a zip archive of images for each split, with a folder for each class.

The layout of torchvision's and Hugging Face's image folders: `<split's folder>/<class>/<name>.<ending>`. No torch.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from mmkd.config.section import Names
from mmkd.data._files import FileConfig, FileSource, RowProblem, finding
from mmkd.data._images import FolderImages, Images, ZipImages
from mmkd.data._labels import LabelColumn, label_readers
from mmkd.data.base import DataError, Example, Label
from mmkd.data.findings import Finding

if TYPE_CHECKING:
    from mmkd.data.card import Card

__all__ = ["Config", "Source"]

CLASS = "folder"


class Config(FileConfig):
    """splits: split -> a folder or a zip archive below the data root. task: the card's one task.

    values: name of a class's folder -> label name; null: the folders are called like the labels.
    missing: names of folders whose images are not labelled. endings: of image files; other files are no rows.
    """

    kind: Literal["image_folder"] = "image_folder"
    task: str
    values: dict[str, str] | None = None
    missing: Names = ()
    endings: Names = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class Source(FileSource):
    """Reads the images in the order of their paths, which are also their ids."""

    config: Config

    def __init__(self, config: Config, card: Card, root: Path | None) -> None:
        """Raises DataError when the card does not have the one task, of classes, that the config names."""
        super().__init__(config, card, root)
        column = LabelColumn(column=CLASS, values=config.values, missing=config.missing)
        self._label = label_readers(card, {config.task: column})[config.task]
        if self._label.task.kind not in ("classify", "ordinal"):
            message = f"found {self._label.task.kind}; expected a task of the kind classify or ordinal"
            raise DataError(card.path, None, "mmkd.source.task", message)

    def files(self, split: str) -> tuple[str, ...]:
        """The split's archives, and its folders, whose names end with a slash."""
        return tuple(name if _is_zip(name) else f"{name.rstrip('/')}/" for name in super().files(split))

    def read(self, split: str) -> Iterator[Example | Finding]:
        """Yield the images of a split.

        Raises DataError for an archive or a folder that cannot be read.
        """
        for name in self.own_files(split):
            images: Images = ZipImages(self.path(name)) if _is_zip(name) else FolderImages(self.path(name))
            for member in self._members(name):
                label = None
                try:
                    if split != "transfer":
                        label = self._label.read(PurePosixPath(member).parent.name, ())
                except RowProblem as problem:
                    yield finding(problem, split, f"{name}/{member}", None, member)
                    continue
                labels: dict[str, Label] = {} if label is None else {self.config.task: label}
                yield Example(member, (), partial(images.read, member), labels, None, name, None, member)

    def _members(self, name: str) -> list[str]:
        path = self.path(name)
        try:
            if _is_zip(name):
                with zipfile.ZipFile(path) as file:
                    found = [each.filename for each in file.infolist() if not each.is_dir()]
            else:
                found = [each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file()]
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(path, None, None, f"cannot be read: {error}; get it again") from error
        endings = tuple(ending.lower() for ending in self.config.endings)
        return sorted(member for member in found if member.lower().endswith(endings))


def _is_zip(name: str) -> bool:
    return name.endswith(".zip")
