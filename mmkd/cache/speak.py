"""A cached teacher speaks as the live one does: from a reader of entries, about one corpus or several views of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmkd.cache.packing import outputs_of
from mmkd.cache.reader import Reader
from mmkd.errors import MmkdError
from mmkd.heads import TaughtHead
from mmkd.teachers.base import Speaker
from mmkd.types import Batch, Outputs, OutputShape


class CacheError(MmkdError):
    """A cache cannot hold, or does not hold, what the teacher says; the message says what and where."""


class CachedTeacher(Speaker):
    """Speaks from the cache exactly as the live teacher would, for the rows of one corpus."""

    def __init__(
        self, name: str, shape: OutputShape, heads: Mapping[str, TaughtHead], corpus: str, reader: Reader
    ) -> None:
        """shape: of what is stored. heads: those of the teacher that the entries were found by.

        corpus: key of the corpus whose rows, in their order, the reader reads.
        """
        super().__init__()
        self.name, self.shape, self.corpus, self.reader = name, shape, corpus, reader
        self._heads = dict(heads)

    def taught_heads(self) -> Mapping[str, TaughtHead]:
        """The live teacher's heads, as they were when it was released."""
        return self._heads

    def forward(self, batch: Batch) -> Outputs:
        """What the teacher said about these rows, as float32.

        Raises CacheError for a batch of another corpus.
        """
        if batch.corpus != self.corpus:
            raise CacheError(
                f"teacher {self.name}: the batch comes from another corpus ({batch.corpus[:12]}) than the cache "
                f"({self.corpus[:12]}); run this teacher live there"
            )
        width, device = batch.word_mask.shape[1], batch.word_mask.device
        stored = self.reader.read(batch.rows.numpy(force=True), width, device)
        return outputs_of(stored, self.reader.facts.grids, self.reader.facts.classes)


class CachedViews(Speaker):
    """Speaks from the cache about several views of the same rows; a view is a corpus of its own."""

    def __init__(self, views: Sequence[CachedTeacher]) -> None:
        """views: one or more, of one teacher."""
        super().__init__()
        self.name, self.shape = views[0].name, views[0].shape
        self.views = {view.corpus: view for view in views}

    def taught_heads(self) -> Mapping[str, TaughtHead]:
        """The live teacher's heads, which all views have."""
        return next(iter(self.views.values())).taught_heads()

    def forward(self, batch: Batch) -> Outputs:
        """What the teacher said about these rows in the view that the batch shows.

        Raises CacheError for a batch of another corpus.
        """
        return self.views.get(batch.corpus, next(iter(self.views.values())))(batch)
