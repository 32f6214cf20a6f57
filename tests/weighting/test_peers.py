"""TorchJD's own form of methods that are written by hand here, where it has the paper's formula: the same numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchjd.aggregation import FairGrad, GradVac
from torchjd.scalarization import DWA, FAMO, STCH, GeometricMean, Scalarizer

from conformance.jacobian import KNOWN, make_graph
from mmkd.weighting import dwa, fairgrad, famo, gls, gradvac, stch
from mmkd.weighting.base import Weighting

LOSSES = ((2.0, 0.3, 1.1), (1.8, 0.4, 1.0), (1.2, 0.2, 1.3), (0.9, 0.5, 0.8))


def slopes(scalarizer: Scalarizer, values: tuple[float, ...]) -> list[float]:
    """The derivatives of TorchJD's objective by each loss."""
    losses = torch.tensor(values, requires_grad=True)
    scalarizer(losses).backward()
    return losses.grad.tolist()


def weights_of(weighting: Weighting, values: tuple[float, ...]) -> list[float]:
    own = nn.Parameter(torch.ones(len(values)))
    losses: dict[str, Tensor] = {f"task{n}": own[n] * value for n, value in enumerate(values)}
    return list(weighting.backward(losses, None, [], []).values())


@pytest.mark.parametrize("values", LOSSES)
def test_methods_without_a_state(values: tuple[float, ...]) -> None:
    tasks = [f"task{n}" for n in range(3)]
    for own, peer in (
        (gls.Weighting(gls.Config(), tasks), GeometricMean()),
        (stch.Weighting(stch.Config(mu=0.2), tasks), STCH(mu=0.2)),
        # Its first step, before its logits have moved: TorchJD moves them otherwise.
        (famo.Weighting(famo.Config(), tasks), FAMO(3)),
    ):
        assert weights_of(own, values) == pytest.approx(slopes(peer, values), rel=1e-5)


def test_dwa_over_epochs() -> None:
    own, peer = dwa.Weighting(dwa.Config(), [f"task{n}" for n in range(3)]), DWA()
    for epoch in (LOSSES[:2], LOSSES[1:3], LOSSES[2:], LOSSES[3:]):
        for values in epoch:
            assert weights_of(own, values) == pytest.approx(slopes(peer, values), rel=1e-5)
        own.end_epoch()
        peer.step()


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_fairgrad(alpha: float) -> None:
    graph = make_graph(KNOWN)
    weighting = fairgrad.Weighting(fairgrad.Config(alpha=alpha), ["task0", "task1"])
    weighting.backward(graph.losses, None, [graph.shared], [])
    expected = FairGrad(alpha=alpha)(torch.tensor(KNOWN, dtype=torch.float64))
    assert graph.shared.grad.tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_gradvac_over_steps() -> None:
    """Of two tasks, whose order cannot matter, while their cosine changes."""
    own, peer = gradvac.Weighting(gradvac.Config(beta=0.3), ["task0", "task1"]).double(), GradVac(beta=0.3)
    for turn in (0.0, 0.5, 1.0, -0.5):
        jacobian = ((2.0, 1.0 + turn, 0.5), (1.0, -3.0 * turn, 1.0))
        graph = make_graph(jacobian)
        own.backward(graph.losses, None, [graph.shared], [])
        expected = peer(torch.tensor(jacobian, dtype=torch.float64))
        assert graph.shared.grad.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
