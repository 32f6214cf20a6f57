"""The labels of the test split, which nobody reads before the final evaluation. No torch here.

A run reads test rows without labels when it checks them: in their place stands something that raises when it is asked.
When the seal is opened, the rows are read anew, with their labels; when it is closed, these are let go.

A source parses each row's labels as it reads the row, since a label that is none is a finding about the row; a division
that keeps the shares of a label reads it to assign the rows. Neither hands a test label on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mmkd.data.base import DataError, Label

SPLIT = "test"
ADVICE = "they are read once, at the end, by the final evaluation: `with mix.test_opened()`"


class Sealed(DataError):
    """Test labels were asked for before the final evaluation."""

    def __init__(self, field: str) -> None:
        """field: what was asked for."""
        super().__init__(None, None, field, f"the labels of the test split are sealed; {ADVICE}")


class Seal:
    """Whether test labels may be read."""

    def __init__(self) -> None:
        """Closed."""
        self.is_open = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Open for as long as the context lasts."""
        self.is_open = True
        try:
            yield
        finally:
            self.is_open = False

    def require_open(self, field: str) -> None:
        """Raises Sealed when it is closed. field: what is asked for."""
        if not self.is_open:
            raise Sealed(field)


class SealedLabels(Mapping[str, Label]):
    """Stands in a test row where its labels would; it holds none. Raises Sealed whenever it is asked."""

    def __getitem__(self, task: str) -> Label:
        """Raises Sealed."""
        raise Sealed(f"labels.{task}")

    def __iter__(self) -> Iterator[str]:
        """Raises Sealed."""
        raise Sealed("labels")

    def __len__(self) -> int:
        """Raises Sealed."""
        raise Sealed("labels")

    def __contains__(self, task: object) -> bool:
        """Raises Sealed."""
        raise Sealed(f"labels.{task}")
