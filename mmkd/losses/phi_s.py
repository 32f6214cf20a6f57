"""`phi_s`: a teacher's pooled feature, standardised before it is learned, so that several teachers add up evenly
(PHI-S, Ranzinger et al. 2024, 2410.01680).

Teachers differ in the scale of their features, and dimensions of one teacher differ too. With mean mu and covariance
U diag(lambda) U^T of the features of training rows, eigenvalues falling, the student learns

    R U^T (t - mu) / sqrt(mean lambda),   R orthogonal, with every dimension of R diag(lambda) R^T alike,

whose dimensions all have variance 1. It is a rotation and one scale for all directions, so that what was near stays
near: an error of the student weighs the same in each direction as before, which standardising each dimension would
change. The term is the mean squared error per element of the student's feature, linearly projected, to that target; a
student that knows only the mean is at 1, for each teacher. Several teachers are several terms. What is added is the
term's own, so that the projection holds what undoes the rotation, and the student's feature is not bound to it.

The paper takes for R a Hadamard matrix over sqrt(D): all entries of one size, so each dimension is the mean of all
eigenvalues. Such a matrix exists for D = 1, 2 and multiples of 4 alone, and not all of those are known. Here D = 2^k m
with m odd, and R is the Kronecker product of Sylvester's Hadamard matrix of order 2^k, over its root, and an
orthogonal m x m matrix Q. The first makes m groups of dimensions, alike within a group; Q makes the groups alike. That
there is a Q for any variances is the theorem of Schur and Horn; m - 1 plane rotations find it. For D a power of two, R
is the paper's. For others variances are as even, but the entries of R are not of one size.

mu and the covariance are those of the teacher's features in the first `until` of the run's steps, of all processes
together. In this time the term is 0; then they are fixed, and are buffers, part of the term's state. A first pass over
the rows instead would read them all once more and would need a cache; a running estimate that moved on would turn the
target under the projection. The rows are drawn by the run's seed, so the same run has the same target. There should be
several times as many rows as dimensions: directions in which they do not vary are turned by rounding alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, distributed, nn

from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.losses._pooled import pooled_pair, pooled_widths
from mmkd.losses._pooled_config import PooledConfig
from mmkd.types import Batch, Outputs

SMALLEST_SCALE = 1e-6
"""Features whose root mean variance is smaller are constant but for rounding, which is not magnified."""


class Config(PooledConfig):
    """Learn a teacher's pooled feature, with equal variance in all dimensions.

    modality: of the teacher's pooled feature. to: the student's feature; null: that of the same modality.
    until: share of the run's steps whose rows the mean and the covariance are of; the term is 0 so long.
    """

    kind: Literal["phi_s"] = "phi_s"
    until: Annotated[float, Field(gt=0, lt=1)] = 0.05


class Loss(base.Loss):
    """Rows: the student's feature and the teacher's modality are there."""

    config: Config
    count: Tensor
    total: Tensor
    products: Tensor
    fixed: Tensor
    mean: Tensor
    rotation: Tensor

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection from the student's width to the teacher's, and sums of no feature."""
        super().__init__(config, setting)
        own, taught = pooled_widths(config, setting)
        self.projection = nn.Linear(own, taught)
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("total", torch.zeros(taught, dtype=torch.float64))
        self.register_buffer("products", torch.zeros(taught, taught, dtype=torch.float64))
        self.register_buffer("fixed", torch.tensor(False))
        self.register_buffer("mean", torch.zeros(taught))
        self.register_buffer("rotation", torch.zeros(taught, taught))

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean squared error per element; 0 while the features are counted."""
        own, taught = pooled_pair(self.config, student, teachers)
        taught = full_precision(taught.detach())
        if not self.fixed and self.progress >= self.config.until:
            self.fix()
        if not self.fixed:
            self.add(taught)
            own, taught = own[:0], taught[:0]
        return phi_s(self.projection(full_precision(own)), taught, self.mean, self.rotation)

    @torch.no_grad()
    def add(self, features: Float[Tensor, "R D"]) -> None:
        """Count features in."""
        features = features.to(self.total.dtype)
        self.count += len(features)
        self.total += features.sum(0)
        self.products += features.T @ features

    @torch.no_grad()
    def fix(self) -> None:
        """Fix the mean and the rotation, of the features that all processes have counted; there must be two."""
        sums = [self.count.clone(), self.total.clone(), self.products.clone()]
        if distributed.is_initialized():
            for each in sums:
                distributed.all_reduce(each)
        count, total, products = sums
        if count < 2:
            return
        mean = total / count
        self.mean.copy_(mean)
        self.rotation.copy_(rotation_of(products / count - torch.outer(mean, mean)))
        self.fixed.fill_(True)


def phi_s(
    projected: Float[Tensor, "R D"],
    teacher: Float[Tensor, "R D"],
    mean: Float[Tensor, " D"],
    rotation: Float[Tensor, "D D"],
) -> Float[Tensor, ""]:
    """Mean squared error per element to the standardised feature. No gradient reaches the teacher."""
    target = (full_precision(teacher.detach()) - mean) @ rotation.T
    return mean_or_zero((full_precision(projected) - target).square())


def rotation_of(covariance: Float[Tensor, "D D"]) -> Float[Tensor, "D D"]:
    """R U^T / sqrt(mean lambda), in float64: what gives features of this covariance variance 1 in each dimension."""
    values, vectors = torch.linalg.eigh(covariance.double().cpu())  # rising
    values, vectors = values.flip(0).clamp(min=0.0), vectors.flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    vectors = vectors * largest.sign()  # either sign is an eigenvector's
    scale = values.mean().sqrt().clamp(min=SMALLEST_SCALE)
    return evening(values) @ vectors.T / scale


def evening(variances: Float[Tensor, " D"]) -> Float[Tensor, "D D"]:
    """Orthogonal R, in float64, with the mean of the variances in every place of the diagonal of R diag(v) R^T."""
    groups = len(variances)
    while groups % 2 == 0:
        groups //= 2
    within = hadamard(len(variances) // groups)
    between = turned(variances.view(-1, groups).mean(0))
    return torch.kron(within, between)


def hadamard(order: int) -> Float[Tensor, "N N"]:
    """Sylvester's Hadamard matrix over the root of its order, a power of two: orthogonal, entries of one size."""
    found = torch.ones(1, 1, dtype=torch.float64)
    while len(found) < order:
        found = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64), found)
    return found / math.sqrt(order)


def turned(variances: Float[Tensor, " M"]) -> Float[Tensor, "M M"]:
    """Orthogonal Q, in float64, with the mean of the variances in every place of the diagonal of Q diag(v) Q^T.

    Each rotation is in the plane of the largest and the smallest variance that are left, which do not correlate, and
    gives one of them the mean. That one is done, and the other is as uncorrelated with the rest as both were.
    """
    values = variances.double().tolist()
    mean, left = sum(values) / len(values), list(range(len(values)))
    found = torch.eye(len(values), dtype=torch.float64)
    while len(left) > 1:
        high, low = max(left, key=values.__getitem__), min(left, key=values.__getitem__)
        if values[high] == values[low]:
            break
        cosine = math.sqrt(min(max((mean - values[low]) / (values[high] - values[low]), 0.0), 1.0))
        sine = math.sqrt(1 - cosine**2)
        found[high], found[low] = cosine * found[high] + sine * found[low], cosine * found[low] - sine * found[high]
        values[high], values[low] = mean, values[high] + values[low] - mean
        left.remove(high)
    return found
