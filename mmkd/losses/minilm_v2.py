"""`minilm_v2`: how queries are related to one another, and keys, and values, as in a teacher (2012.15828, eq. 5 to 7).

Wang et al. 2021: the query vectors of all heads of a block are joined and cut anew into A_r relation heads of width d_r
each; R_a = softmax(X_a X_a^T / sqrt(d_r)) relates every position to every other. The term is
(1 / (A_r |x|)) sum_a sum_t KL(R_a,t^T || R_a,t^S), |x| being the length of the text, and the sum of the same for
queries, keys and values, of weight 1 each. Since each network cuts its own width, neither the widths nor the numbers of
heads need be equal. The paper teaches the student's last block by one of the teacher's: the last of a base-size
teacher, an upper middle one of a large teacher; here any pairs of blocks are summed. (Numbers of the equations, and 48
relation heads as the paper's choice for base-size teachers, are from memory.)

Positions are the words that both tokenizers kept, or patches, and the softmax is over these alone: padding and special
tokens are no positions. The mean is over the positions of all examples, so that a word counts alike in any text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmkd.config.layers import KEY, QUERY, VALUE
from mmkd.config.plugin_base import BlockPairsLossConfig
from mmkd.config.section import PositiveInt
from mmkd.encoders.taps import attention_scores
from mmkd.losses import base
from mmkd.losses._attention import BlockPairsLoss, pairs_of
from mmkd.losses._math import mean_or_zero
from mmkd.types import Batch, Outputs


class Config(BlockPairsLossConfig):
    """Learn how a teacher's queries, keys and values are alike, position by position.

    relation_heads: into how many parts the width of each network is cut, whatever its own heads.
    pairs: in the paper one, the last block of both: [[5, 11]] for 6 blocks of 12. The teacher's `layers` have 11.query,
        11.key and 11.value then.
    """

    parts: ClassVar[tuple[str, ...]] = (QUERY, KEY, VALUE)

    kind: Literal["minilm_v2"] = "minilm_v2"
    relation_heads: PositiveInt = 48


class Loss(BlockPairsLoss):
    """Rows: the positions that both have (see `_attention.py`)."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Raises ValueError when a width cannot be cut into so many relation heads."""
        super().__init__(config, setting)
        for part in config.parts:
            for pair, widths in zip(config.pairs, self.widths(part), strict=True):
                for who, block, width in zip(("student", f"teacher `{config.teacher}`"), pair, widths, strict=True):
                    if width % config.relation_heads:
                        raise ValueError(
                            f"minilm_v2: found relation_heads {config.relation_heads}; expected a divisor of {width}, "
                            f"the width of {block}.{part} of the {who}"
                        )

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """In nats, the sum over pairs of blocks and parts. Raises ValueError when positions differ without a grid."""
        heads = self.config.relation_heads
        terms = [
            minilm_v2(each.student, each.teacher, each.keep, heads)
            for parts in self.parts(student, teachers)
            for each in parts.values()
        ]
        return torch.stack(terms).sum()


def minilm_v2(
    student: Float[Tensor, "B N D"], teacher: Float[Tensor, "B N E"], keep: Bool[Tensor, "B N"], heads: int
) -> Float[Tensor, ""]:
    """KL of the relations in nats, mean over relation heads and kept positions. No gradient reaches the teacher."""
    among = pairs_of(keep, heads)
    log_p = log_relations(teacher.detach(), among)
    log_q = log_relations(student, among)
    divergences = (log_p.exp() * (log_p - log_q)).masked_fill(~among, 0.0).sum(-1)
    return mean_or_zero(divergences[among.any(-1)])


def log_relations(values: Float[Tensor, "B N D"], among: Bool[Tensor, "B H N N"]) -> Float[Tensor, "B H N N"]:
    """Log of how each position is related to each other of those kept; without meaning at the others."""
    scores = attention_scores(values, values, among.shape[1])
    return scores.masked_fill(~among, torch.finfo(scores.dtype).min).log_softmax(-1)
