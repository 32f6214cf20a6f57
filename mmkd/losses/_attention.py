"""Self-attention of the student and of a teacher, block by block: what the terms over attention share.

Queries, keys and values are those of words that both tokenizers kept, or of the teacher's grid of an image, as
`_positions.py` brings them together; `mmkd/encoders/taps.py` says why attention is exchanged as its queries and keys.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Bool
from torch import Tensor

from mmkd.config.layers import inside
from mmkd.config.plugin_base import BlockPairsLossConfig
from mmkd.losses import base
from mmkd.losses._positions import Positions, positions
from mmkd.types import Outputs


class BlockPairsLoss(base.Loss):
    """A term over the self-attention of pairs of blocks of the student and of a teacher."""

    config: BlockPairsLossConfig

    def heads(self, part: str) -> list[tuple[int, int]]:
        """Number of heads of a part in each pair: the student's, the teacher's."""
        modality = self.config.modality
        student, teacher = self.setting.student.heads, self.setting.teachers[self.config.teacher].heads
        return [
            (student[modality][inside(own, part)], teacher[modality][inside(block, part)])
            for own, block in self.config.pairs
        ]

    def widths(self, part: str) -> list[tuple[int, int]]:
        """Width of a part in each pair, of all heads together: the student's, the teacher's."""
        modality = self.config.modality
        student, teacher = self.setting.student.hidden, self.setting.teachers[self.config.teacher].hidden
        return [
            (student[modality][inside(own, part)], teacher[modality][inside(block, part)])
            for own, block in self.config.pairs
        ]

    def parts(self, student: Outputs, teachers: Mapping[str, Outputs]) -> list[dict[str, Positions]]:
        """The parts of each pair by name, at the same positions, of examples that have any, and 0 at all others.

        Raises ValueError when positions differ in number and have no grid.
        """
        config, teacher = self.config, teachers[self.config.teacher]
        return [
            {
                part: positions(student, teacher, config.modality, inside(own, part), inside(block, part))
                .examples()
                .blanked()
                for part in config.parts
            }
            for own, block in config.pairs
        ]


def pairs_of(keep: Bool[Tensor, "B N"], heads: int) -> Bool[Tensor, "B H N N"]:
    """Pairs of positions that are both kept, in each head."""
    pairs = keep[:, None, :, None] & keep[:, None, None, :]
    return pairs.expand(-1, heads, -1, -1)
