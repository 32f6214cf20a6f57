"""Every loss and weighting passes its own preflight: all kinds by discovery, on the scene, in float32 as in a run."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from conformance.discovery import Case, cases
from conformance.jacobian import make_graph
from conformance.scene import make_scene, setting
from conformance.weightings_found import Case as WeightingCase
from conformance.weightings_found import cases as weighting_cases
from mmkd.losses import base, phi_s, ttm
from mmkd.objective import Objective
from mmkd.preflight.balance import FINITE as FINITE_GRADIENTS
from mmkd.preflight.balance import STILL, WHOLE, Step, check_weighting
from mmkd.preflight.found import PreflightError, Report
from mmkd.preflight.scene import Scene
from mmkd.preflight.terms import AGREES, FINITE, LEARNS, MASKS, ORDER, RANDOM, TAUGHT, check_term
from mmkd.types import Batch, Outputs

CONFLICT = ((-4.0, 1.0, 1.0), (6.0, 1.0, 1.0), (1.0, -3.0, 0.5))


@pytest.mark.parametrize("case", cases(), ids=str)
def test_every_loss_passes(case: Case) -> None:
    own = make_scene(filler=0.0, dtype=torch.float32)
    report, scene = Report(), Scene(own.batch, own.student, own.teachers, own.setting.tasks)
    check_term(case.kind, case.loss(own).float(), scene, 3, report)
    if case.name in case.fact("IDLE", ()):
        with pytest.raises(PreflightError, match="whatever the student says"):
            report.require()
        return
    report.require()
    expected = {FINITE, TAUGHT, LEARNS, RANDOM, MASKS} | (set() if case.config.draws else {ORDER})
    assert expected <= set(report.looked)
    claims = {AGREES} if case.config.zero_where_equal else set()
    assert set(report.looked) | set(report.left_out) == expected | claims | {ORDER}


def test_a_term_that_looks_on_at_first_passes() -> None:
    """PHI-S is 0 while it counts features."""
    own = make_scene(filler=0.0, dtype=torch.float32)
    report, scene = Report(), Scene(own.batch, own.student, own.teachers, own.setting.tasks)
    new = phi_s.Loss(phi_s.Config(teacher="bert", modality="text"), own.setting)
    assert new(own.student, own.teachers, own.batch) == 0
    check_term("phi_s", new, scene, 3, report)
    report.require()


class Sloppy(base.Loss):
    """Reads a teacher where only the student speaks, or the student where it does not."""

    def __init__(self, whose: str) -> None:
        super().__init__(ttm.Config(task="sentiment", teacher="vit"), setting())
        self.whose = whose

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        logits = student.logits["sentiment"]
        if self.whose == "student":
            return logits.square().mean()
        gaps = logits - teachers["vit"].logits["sentiment"].detach()
        return gaps[student.speaks].square().mean()


@pytest.mark.parametrize(
    ("whose", "expected"), [("student", "the student says nothing"), ("teacher", "the teacher `vit` says nothing")]
)
def test_control_a_loss_that_reads_where_nothing_is_said(whose: str, expected: str) -> None:
    own = make_scene(filler=0.0, dtype=torch.float32)
    report, scene = Report(), Scene(own.batch, own.student, own.teachers, own.setting.tasks)
    check_term("sloppy", Sloppy(whose), scene, 3, report)
    (found,) = report.findings[MASKS]
    assert f"depends on what stands where {expected}" in str(found)
    assert [check for check, findings in report.findings.items() if findings] == [MASKS]


class Network(nn.Module):
    """What a graph's losses are made of, as a network has it."""

    def __init__(self, shared: nn.Parameter, heads: list[nn.Parameter], outside: nn.Parameter) -> None:
        super().__init__()
        self.encoder, self.heads, self.outside = shared, nn.ParameterList(heads), outside


def step_of(rest: bool) -> Step:
    """Three groups that pull against each other, and a term outside with a projection of its own."""
    graph = make_graph(CONFLICT)
    outside = nn.Parameter(torch.ones((), dtype=torch.float64))
    objective = Objective({}, graph.losses, graph.representation.sum() * outside if rest else None)
    learns = dict(Network(graph.shared, graph.heads, outside).named_parameters())
    return Step(objective, learns, [graph.shared], [graph.representation], {"bert": frozen()})


def frozen() -> nn.Module:
    return nn.Linear(2, 2).requires_grad_(False)


@pytest.mark.parametrize("rest", [True, False], ids=["with rest", "without"])
@pytest.mark.parametrize("case", weighting_cases(), ids=str)
def test_every_weighting_passes(case: WeightingCase, rest: bool) -> None:
    report = Report()
    check_weighting(case.kind, case.weighting(), step_of(rest), report)
    report.require()
    assert set(report.looked) == {WHOLE, FINITE_GRADIENTS, STILL}
