"""Encoded images by name, out of a zip archive or a folder. Nothing is ever unpacked to disk.

A missing or damaged image is an error: no other image is given in its place.
"""

from __future__ import annotations

import lzma
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Protocol

from mmkd.config.local import is_inside
from mmkd.data.base import DataError

DAMAGE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error)
"""What `zipfile` raises for an archive that is damaged, encrypted (RuntimeError) or packed in an unknown way."""


LARGEST = 2**28
"""Bytes of one image file that are read: 256 MiB. A small zip member can unpack to a thousand times its size."""


class Images(Protocol):
    """where: the archive or the folder."""

    where: Path

    def has(self, name: str) -> bool:
        """Whether there is an image of that name."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of the encoded image."""
        ...


class ZipImages:
    """Members of a zip archive, which is opened when first used, and again in each process that uses it."""

    def __init__(self, archive: Path) -> None:
        """archive: need not be there yet."""
        self.where = archive
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    def __getstate__(self) -> Path:
        """Where the archive lies; another process opens it anew."""
        return self.where

    def __setstate__(self, state: Path) -> None:
        """state: where the archive lies."""
        self.where, self._opened = state, None

    def has(self, name: str) -> bool:
        """Whether the archive has that member. Raises DataError when the archive cannot be read."""
        return is_inside(name) and name in self._zip().NameToInfo

    def read(self, name: str) -> bytes:
        """The member's bytes. Raises DataError when it is missing, too large or its checksum is wrong."""
        try:
            _require_size(self._zip().getinfo(name).file_size, self.where, name)
            return self._zip().read(name)  # which reads no more than the size that is stated
        except KeyError as error:
            raise DataError(self.where, None, name, "found no such member; get the archive again") from error
        except DAMAGE as error:
            raise DataError(self.where, None, name, f"cannot be read: {error}; get the archive again") from error

    def _zip(self) -> zipfile.ZipFile:
        # A process forked from this one would share the place in the open file with it.
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = os.getpid(), zipfile.ZipFile(self.where)
            except DAMAGE as error:
                message = f"cannot be read as a zip archive: {error}; get the archive again"
                raise DataError(self.where, None, None, message) from error
        return self._opened[1]


class FolderImages:
    """Files of a folder. A name that leads out of the folder is not there."""

    def __init__(self, folder: Path) -> None:
        """folder: need not be there yet."""
        self.where = folder

    def has(self, name: str) -> bool:
        """Whether the folder has that file."""
        try:
            path = (self.where / name).resolve()
            return path.is_relative_to(self.where.resolve()) and path.is_file()
        except (OSError, ValueError, RuntimeError):
            return False  # a name that no file can have: too long, with a NUL, a link to itself

    def read(self, name: str) -> bytes:
        """The file's bytes. Raises DataError when it is not there or too large."""
        if not self.has(name):
            raise DataError(self.where, None, name, "found no such file in the folder; get the files again")
        try:
            _require_size((self.where / name).stat().st_size, self.where, name)
            return (self.where / name).read_bytes()
        except OSError as error:
            raise DataError(self.where, None, name, f"cannot be read: {error}; get the files again") from error


def _require_size(size: int, where: Path, name: str) -> None:
    if size > LARGEST:
        raise DataError(where, None, name, f"found an image file of {size:,} bytes; expected at most {LARGEST:,}")
