"""`image_folder`: a folder or a zip archive of images for each split, with a folder for each class.

The layout of torchvision's and Hugging Face's image folders: `<split's folder>/<class>/<name>.<ending>`. As in the
latter, the class is the folder that an image lies in, however deep, and hidden files are no rows. No torch.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from mmkd.config.section import Names
from mmkd.data._files import FileConfig, FileSource, RowProblem, finding
from mmkd.data._images import DAMAGE, FolderImages, Images, ZipImages
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
    missing: names of folders whose images are not labelled. endings: of image files; other files are no rows, nor is
    what is hidden: a name that starts with a dot, the folder `__MACOSX` of archives.
    """

    kind: Literal["image_folder"] = "image_folder"
    task: str
    values: dict[str, str] | None = None
    missing: Names = ()
    endings: Names = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class Source(FileSource):
    """Reads the images in the order of their paths within the folder or archive, which are also their ids."""

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
        seen: dict[str, str] = {}
        for name in self.own_files(split):
            images: Images = ZipImages(self.path(name)) if _is_zip(name) else FolderImages(self.path(name))
            for member in self._members(name):
                place = f"{name.rstrip('/')}/{member}".encode("utf-8", "backslashreplace").decode()
                try:
                    self._refuse(member, name, images, seen)
                    found: Example | Finding = self._example(member, name, images, split)
                except RowProblem as problem:
                    found = finding(problem, split, place, None, member if member.isprintable() else None)
                yield found

    def _refuse(self, member: str, name: str, images: Images, seen: dict[str, str]) -> None:
        """Raises RowProblem for an image that cannot be a row. seen: id -> where it was found first."""
        try:
            member.encode()
        except UnicodeEncodeError as error:
            message = f"found the name {member!a}; expected UTF-8; name the file anew"
            raise RowProblem("row_not_utf8", None, message) from error
        if ".." in PurePosixPath(member).parts or not images.has(member):
            message = "found a name or a link that leads elsewhere; expected an image that lies in it"
            raise RowProblem("image_missing", None, message)
        if member in seen:
            message = f"found {member!r}, which {seen[member]} has too; expected each name once in a split"
            raise RowProblem("id_repeated", None, message)
        seen[member] = name

    def _example(self, member: str, name: str, images: Images, split: str) -> Example:
        label = None if split == "transfer" else self._label.read(PurePosixPath(member).parent.name, ())
        labels: dict[str, Label] = {} if label is None else {self.config.task: label}
        return Example(member, (), partial(images.read, member), labels, None, name, None, member)

    def _members(self, name: str) -> list[str]:
        """Names of the images. Raises DataError for a folder or an archive that cannot be listed."""
        path = self.path(name)
        try:
            found = _in_zip(path) if _is_zip(name) else list(_in_folder(path))
        except DAMAGE as error:
            raise DataError(path, None, None, f"cannot be read: {error}; get it again") from error
        endings = tuple(ending.lower() for ending in self.config.endings)
        return sorted(member for member in found if member.lower().endswith(endings) and not _is_hidden(member))


def _in_zip(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as file:
        return [each.filename for each in file.infolist() if not each.is_dir()]


def _in_folder(path: Path) -> Iterator[str]:
    """Names of all files. Raises OSError for a folder that cannot be listed, which `rglob` would pass over."""

    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(path, onerror=refuse):
        for folder in folders:
            if Path(parent, folder).is_symlink():
                raise OSError(f"found the link {folder!r} to a folder, expected folders alone")
        yield from (Path(parent, file).relative_to(path).as_posix() for file in files)


def _is_zip(name: str) -> bool:
    return name.endswith(".zip")


def _is_hidden(member: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) and part != ".." for part in PurePosixPath(member).parts)
