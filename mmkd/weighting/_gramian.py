"""Problems over the inner products of the tasks' gradients, solved exactly: M x M numbers, on the host, in float64."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

THINNEST = 1e-8
"""Least eigenvalue of the cosines: gradients that all but cancel one another would get weights without a bound."""


def root(gramian: np.ndarray) -> np.ndarray:
    """A with A' A = G: gradients in its columns, [M, M], with the same inner products."""
    values, vectors = np.linalg.eigh(gramian)
    found: np.ndarray = np.sqrt(values.clip(min=0))[:, None] * vectors.T
    return found


def shortest(vectors: np.ndarray) -> np.ndarray:
    """Weights of the shortest convex combination of columns; of several such, any.

    Non-negative least squares of |V x|^2 + (sum(x) - 1)^2: along a ray x = t w, its least value grows with |V w|, so
    that the best ray is that of the shortest combination.
    """
    rows = np.vstack([vectors, np.ones((1, vectors.shape[1]))])
    target = np.zeros(len(rows))
    target[-1] = 1
    found: np.ndarray = nnls(rows, target)[0]
    return found / found.sum()


def fair(gramian: np.ndarray, alpha: float) -> np.ndarray:
    """The w > 0 with G w = w^(-1 / alpha), entry by entry; 0 for a task whose gradient is 0, left out of the system.

    With the norms n and the cosines C of the gradients and b = n w, it is C b = n^(1 / alpha - 1) b^(-1 / alpha): the
    point where the gradient of a strictly convex function vanishes, found by Newton's method with a line search.
    """
    weights = np.zeros(len(gramian))
    norms = np.sqrt(gramian.diagonal().clip(min=0))
    moving = norms > 0
    if not moving.any():
        return weights
    norms = norms[moving]
    power = 1 / alpha
    # Weights scale by a power of the size of all gradients: taken out here, put back at the end.
    size = np.exp(np.log(norms).mean())
    factors = (power - 1) * np.log(norms / size)
    values, vectors = np.linalg.eigh(gramian[np.ix_(moving, moving)] / np.outer(norms, norms))
    cosines = vectors * values.clip(min=THINNEST) @ vectors.T

    def pull(b: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.exp(factors - power * np.log(b))
        return found

    def rises(b: np.ndarray, step: np.ndarray) -> bool:
        return bool((cosines @ b - pull(b)) @ step > 0)

    b = np.exp(factors / (1 + power))
    for _ in range(200):
        curvature = cosines + np.diag(power * pull(b) / b)
        step = np.linalg.solve(curvature, pull(b) - cosines @ b)
        if np.abs(step / b).max() < 1e-14:
            break
        length = 1.0
        # Of a convex function the slope along a descending line is negative up to its lowest point there.
        while length > 1e-12 and ((b + length * step <= b / 10).any() or rises(b + length * step, step)):
            length /= 2
        b = b + length * step
    weights[moving] = b / norms * size ** ((power - 1) / (1 + power))
    return weights
