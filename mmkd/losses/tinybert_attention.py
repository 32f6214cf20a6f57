"""`tinybert_attention`: the attention of several blocks, before its softmax, regresses a teacher's (1909.10351, eq. 7).

Jiao et al. 2020: (1/h) sum_i MSE(A_i^S, A_i^T), summed over pairs of blocks, A_i = Q_i K_i^T / sqrt(d) being the scores
of head i of h, d its width; both networks have as many heads. Fitting the scores and not their softmax is the paper's
choice. The MSE is the mean per element: of the pairs of words that both tokenizers kept, or of patches, of all heads
and examples. The scores of two words are those of their queries and keys (`mmkd/encoders/taps.py`), so special tokens
are not among them. The authors' code leaves padding in: it takes the mean over all pairs of sub-tokens, with 0 for the
scores of masked columns. Words that are not there have no scores, so there is no option to do the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmkd.config.layers import KEY, QUERY
from mmkd.config.plugin_base import BlockPairsLossConfig
from mmkd.encoders.taps import attention_scores
from mmkd.losses import base
from mmkd.losses._attention import BlockPairsLoss, pairs_of
from mmkd.losses._math import mean_or_zero
from mmkd.types import Batch, Outputs


class Config(BlockPairsLossConfig):
    """Learn which words, or patches, a teacher's blocks compare, head by head.

    pairs: in the paper every n-th block of the teacher with the last: [[0, 2], [1, 5]] for 2 blocks of 6. The teacher's
        `layers` have 2.query, 2.key, 5.query and 5.key then.
    """

    parts: ClassVar[tuple[str, ...]] = (QUERY, KEY)

    kind: Literal["tinybert_attention"] = "tinybert_attention"


class Loss(BlockPairsLoss):
    """Rows: pairs of positions that both have (see `_attention.py`)."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Raises ValueError when the networks do not have as many heads."""
        super().__init__(config, setting)
        for (own, block), (heads, teacher_heads) in zip(config.pairs, self.heads(QUERY), strict=True):
            if heads != teacher_heads:
                raise ValueError(
                    f"tinybert_attention: block {own} of the student has {heads} heads, block {block} of the teacher "
                    f"`{config.teacher}` has {teacher_heads}; expected as many, or `kind: minilm_v2`"
                )

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Sum over pairs of blocks. Raises ValueError when positions differ in number and have no grid."""
        terms = []
        for parts, (heads, _) in zip(self.parts(student, teachers), self.heads(QUERY), strict=True):
            query, key = parts[QUERY], parts[KEY]
            own = attention_scores(query.student, key.student, heads)
            target = attention_scores(query.teacher, key.teacher, heads)
            terms.append(tinybert_attention(own, target, pairs_of(query.keep, heads)))
        return torch.stack(terms).sum()


def tinybert_attention(
    student: Float[Tensor, "B H N N"], teacher: Float[Tensor, "B H N N"], keep: Bool[Tensor, "B H N N"]
) -> Float[Tensor, ""]:
    """Mean squared error of the scores that are kept. No gradient reaches the teacher."""
    return mean_or_zero((student - teacher.detach())[keep].square())
