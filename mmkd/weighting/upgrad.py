"""`upgrad`: unconflicting projection of gradients (Quinton and Rey 2024, 2406.16232), by TorchJD.

Each task's gradient is projected onto the cone of directions that no task's gradient opposes; the update is the mean
of the projections. Without conflict the weights are 1 / (number of tasks present), as the paper's mean has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor, nn
from torchjd.aggregation import UPGrad
from torchjd.linalg import DualConeProjector, PSDMatrix

from mmkd.config.plugin_base import WeightingConfig
from mmkd.weighting import base
from mmkd.weighting._torchjd import combine_gradients


class Config(WeightingConfig):
    """No keys."""

    kind: Literal["upgrad"] = "upgrad"


class Weighting(base.Weighting):
    """Gradients that, to first order, raise no task's loss."""

    config: Config

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights are the coefficients of the tasks' own gradients in the update."""
        return combine_gradients(UPGrad(projector=LeastSquaresProjector()), by_task, rest, shared_parameters)


class LeastSquaresProjector(DualConeProjector):
    """Projection onto the dual cone as non-negative least squares, exact for gradients of any size.

    The problem is min v' G v for v >= u (proposition 1 of the paper). With v = u + x and G = A' A it is
    min |A x + A u| for x >= 0. TorchJD's own projector takes gradients with a squared norm below 1e-4 for zero, which
    switches the method off late in training, and adds 1e-4 to the diagonal of G.
    """

    def __call__(self, U: Tensor, G: PSDMatrix) -> Tensor:
        """U: [M, M], a vector u in each row; G: [M, M], inner products of the gradients. Returns v in each row."""
        gramian = G.detach().cpu().double().numpy()
        values, vectors = np.linalg.eigh(gramian)
        root = np.sqrt(values.clip(min=0))[:, None] * vectors.T
        rows = [u + nnls(root, -root @ u)[0] for u in U.detach().cpu().double().numpy()]
        return torch.as_tensor(np.stack(rows), dtype=G.dtype, device=G.device)
