"""What every weighting must hold, whatever its formula; its formula; published values. All kinds by discovery."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conformance.jacobian import KNOWN, Graph, make_graph
from conformance.weightings_found import FOLDER, RATE, TASKS, Case, Step, cases
from mmkd.config.plugins import kinds, load
from mmkd.weighting import _memory, base, fixed
from mmkd.weighting._scalar import weighted_backward

CASES = cases()
CONFLICT = ((-4.0, 1.0, 1.0), (6.0, 1.0, 1.0), (1.0, -3.0, 0.5))
PUBLISHED = [
    ("mgda", {}, [0, 1, 1], 1e-4),
    ("pcgrad", {}, [0.5848, 3.8012, 3.8012], 1e-4),
    ("cagrad", {"c": 0.5}, [0.1835, 1.2041, 1.2041], 1e-4),
    ("imtl_g", {}, [0.0767, 1, 1], 1e-4),
    ("nash_mtl", {"max_norm": 1.0}, [0.0542, 0.7061, 0.7061], 1e-4),
    ("fairgrad", {"alpha": 1.0}, [0.0766, 0.9985, 0.9985], 1e-4),
    ("aligned_mtl", {}, [0.2133, 0.9673, 0.9673], 1e-4),
    ("upgrad", {}, [0.2929, 1.9004, 1.9004], 1e-3),  # TorchJD's has its 1e-4 on the diagonal in it
]
"""The update of KNOWN's gradients, as TorchJD's documentation has it."""


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def backward(
    weighting: base.Weighting, graph: Graph, losses: dict[str, Tensor] | None = None, rest: Tensor | None = None
) -> dict[str, float]:
    """One call, on all losses of the graph unless given."""
    chosen = graph.losses if losses is None else losses
    return weighting.backward(chosen, rest, [graph.shared], [graph.representation])


def combined(jacobian: object, weights: dict[str, float]) -> Tensor:
    return torch.tensor(list(weights.values()), dtype=torch.float64) @ torch.as_tensor(jacobian, dtype=torch.float64)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-10)


def needs_combination(case: Case) -> None:
    if not case.fact("COMBINES", True):
        pytest.skip("its update is no weighted sum of gradients")


def needs_gradients(case: Case) -> None:
    if case.scales_losses:
        pytest.skip("scales losses")


def test_every_kind_has_a_case() -> None:
    assert {case.kind for case in CASES} == set(kinds("weighting"))


def test_no_file_is_of_no_kind() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} <= set(kinds("weighting"))


@pytest.mark.parametrize(("kind", "keys", "expected", "tolerance"), PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_published_value(kind: str, keys: dict, expected: list[float], tolerance: float) -> None:
    module, graph = load("weighting", kind), make_graph(KNOWN)
    backward(module.Weighting(module.Config(**keys), ["task0", "task1"]), graph)
    assert graph.shared.grad.tolist() == pytest.approx(expected, abs=tolerance)


# Its formula.


def story() -> list[Step]:
    """Four epochs of five batches, in some of which a task is absent; losses and gradients of some size."""
    chooser = np.random.default_rng(4)
    steps = []
    for number in range(20):
        present = [task for n, task in enumerate(TASKS) if number in (0, 7) or (number + n) % 4]
        if number == 12:
            present = ["task1"]
        losses = {task: float(chooser.uniform(0.2, 3.0)) for task in present}
        gradients = {task: tuple(chooser.normal(size=5).tolist()) for task in present}
        steps.append(Step(losses, gradients, ends_epoch=number % 5 == 4))
    return steps


@dataclass(frozen=True)
class Told:
    """What a weighting did in each step."""

    weights: list[dict[str, float]]
    updates: list[list[float]]


def tell(weighting: base.Weighting, steps: list[Step]) -> Told:
    """Every step, and one of plain gradient descent for the weighting's own parameters after each."""
    found = Told([], [])
    for step in steps:
        graph = make_graph(list(step.gradients.values()), values=list(step.losses.values()))
        losses = dict(zip(step.losses, graph.losses.values(), strict=True))
        weighting.zero_grad()
        found.weights.append(backward(weighting, graph, losses))
        found.updates.append(graph.shared.grad.tolist())
        with torch.no_grad():
            for parameter in weighting.parameters():
                if parameter.grad is not None:
                    parameter -= RATE * parameter.grad
        if step.ends_epoch:
            weighting.end_epoch()
    return found


def test_equals_the_formula_of_its_paper(case: Case) -> None:
    """Weights, and updates where they are more than the weights say, over a story with absences and ends of epochs."""
    formula = case.fact("formula", None)
    if formula is None:
        if case.scales_losses and not case.fact("RANDOM", False):
            pytest.fail(f"write tests/conformance/weightings/{case.kind}.py, with the formula over scalars")
        pytest.skip("is random, or combines gradients: see its published value and tests/weighting")
    steps = story()
    told = tell(case.weighting(), steps)
    for number, (found, expected) in enumerate(zip(told.weights, formula(case.config, steps), strict=True)):
        assert found == pytest.approx(expected, rel=case.fact("RTOL", 1e-10)), f"step {number}"
    updates = case.fact("updates", None)
    if updates is not None:
        for found, expected in zip(told.updates, updates(case.config, steps), strict=True):
            assert found == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_a_resumed_run_goes_on_as_if_never_stopped(case: Case) -> None:
    """Bit by bit, wherever it stopped: within an epoch, and at the end of one."""
    steps = story()
    whole = tell(case.weighting(), steps)
    for stop in (7, 10):
        first, second = case.weighting(), case.weighting()
        begun = tell(first, steps[:stop])
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        ended = tell(second, steps[stop:])
        assert begun.weights + ended.weights == whole.weights
        assert begun.updates + ended.updates == whole.updates


def state_of(weighting: base.Weighting, task: int) -> dict[str, Tensor]:
    """The part of the state that belongs to one task: its place in lists, its row, and its column of a square."""
    found = {}
    for name, value in weighting.state_dict().items():
        if name.rsplit(".", 1)[-1] == str(task):
            found[name] = value.clone()
        elif value.ndim and value.shape[0] == len(TASKS):
            found[name] = value[task].clone()
            if value.shape == (len(TASKS), len(TASKS)):
                found[f"{name}, column"] = value[:, task].clone()
    return found


def test_an_absent_task_keeps_its_state(case: Case) -> None:
    """Under momentum too; and through an epoch without it."""
    weighting = case.weighting()
    optimizer = (
        torch.optim.AdamW(weighting.parameters(), lr=0.1, weight_decay=0.0) if list(weighting.parameters()) else None
    )
    steps = [step for step in story() if set(step.losses) == set(TASKS)]
    for step in steps * 2:
        tell_once(weighting, step, optimizer)
    weighting.end_epoch()
    before = state_of(weighting, 1)
    for step in steps * 2:
        losses = {task: value * 2 for task, value in step.losses.items() if task != "task1"}
        tell_once(weighting, replace(step, losses=losses), optimizer)
    weighting.end_epoch()
    after = state_of(weighting, 1)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(after[name].nan_to_num(nan=-7), value.nan_to_num(nan=-7)), name


def tell_once(weighting: base.Weighting, step: Step, optimizer: torch.optim.Optimizer | None) -> None:
    gradients = [step.gradients[task] for task in step.losses]
    graph = make_graph(gradients, values=list(step.losses.values()))
    weighting.zero_grad()
    backward(weighting, graph, dict(zip(step.losses, graph.losses.values(), strict=True)))
    if optimizer is not None:
        optimizer.step()


def test_a_batch_without_a_task_changes_no_task_s_state(case: Case) -> None:
    weighting = case.weighting()
    tell(weighting, story()[:8])
    before = [state_of(weighting, n) for n in range(3)]
    weighting.zero_grad()
    assert weighting.backward({}, None, [], []) == {}
    for n in range(3):
        after = state_of(weighting, n)
        assert all(torch.equal(after[name].nan_to_num(), value.nan_to_num()) for name, value in before[n].items())
    assert all(p.grad is None for p in weighting.parameters())


def test_other_random_numbers_stay_as_they_are(case: Case) -> None:
    """A weighting neither reads nor moves the global generator, from which dropout draws."""
    told = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before, before_numpy = torch.get_rng_state(), np.random.get_state()[1]
        told.append(tell(case.weighting(), story()[:4]))
        assert torch.equal(torch.get_rng_state(), before)
        assert (np.random.get_state()[1] == before_numpy).all()
    assert told[0] == told[1]


def test_a_seed_matters_where_it_is_a_key(case: Case) -> None:
    if not case.fact("RANDOM", False):
        pytest.skip("draws nothing")
    other = replace(case, config=case.config.model_copy(update={"seed": 1}))
    steps = [step for step in story() if len(step.losses) == 3]
    conflict = [replace(step, gradients=dict(zip(TASKS, CONFLICT, strict=True))) for step in steps * 4]
    assert tell(case.weighting(), conflict) != tell(other.weighting(), conflict)


# What reaches which parameter.


def test_gradient_is_the_combination_by_the_returned_weights(case: Case) -> None:
    needs_combination(case)
    graph = make_graph(CONFLICT)
    weights = backward(case.weighting(), graph)
    assert list(weights) == list(TASKS)
    close(graph.shared.grad, combined(CONFLICT, weights))


def test_heads_get_their_own_gradient(case: Case) -> None:
    """2, 3 and 4; scaled by the weight where the weighting scales losses, by 1 / L where it takes logarithms."""
    graph = make_graph(CONFLICT)
    weights = backward(case.weighting(), graph)
    for number, (task, head) in enumerate(zip(TASKS, graph.heads, strict=True)):
        scale = {"loss": weights[task], "own": 1.0, "log": 1 / (number + 2)}[case.fact("HEADS", "loss")]
        assert head.grad.item() == pytest.approx((number + 2) * scale)


def test_rest_is_simply_added(case: Case) -> None:
    plain, more = make_graph(CONFLICT), make_graph(CONFLICT)
    own = nn.Parameter(torch.ones((), dtype=torch.float64))
    backward(case.weighting(), plain)
    rest = torch.tensor([10.0, 20.0, 30.0], dtype=torch.float64) @ more.representation + 7 * own
    backward(case.weighting(), more, rest=rest)
    close(more.shared.grad, plain.shared.grad + torch.tensor([10.0, 20.0, 30.0], dtype=torch.float64))
    assert own.grad == 7
    assert [head.grad for head in more.heads] == [head.grad for head in plain.heads]


def test_only_rest(case: Case) -> None:
    graph = make_graph()
    assert backward(case.weighting(), graph, {}, graph.representation.sum() * 2) == {}
    assert graph.shared.grad is not None
    assert graph.shared.grad.tolist() == [2, 2, 2]


def test_nothing_at_all(case: Case) -> None:
    graph = make_graph()
    assert backward(case.weighting(), graph, {}) == {}
    assert graph.shared.grad is None


def test_gradients_are_added_to_what_is_there(case: Case) -> None:
    """Accumulation over batches: the same batch twice, of weightings in one state, is twice the gradient."""
    first = make_graph()
    backward(case.weighting(), first)
    once = first.shared.grad.clone()
    second = make_graph(shared=first.shared)
    second.heads[0].grad = torch.ones((), dtype=torch.float64)
    backward(case.weighting(), second)
    close(second.shared.grad, 2 * once)
    assert second.heads[0].grad == pytest.approx(first.heads[0].grad + 1)


def test_an_absent_task_is_not_weighted(case: Case) -> None:
    needs_combination(case)
    graph = make_graph(CONFLICT)
    weights = backward(case.weighting(), graph, {task: graph.losses[task] for task in ("task0", "task2")})
    assert list(weights) == ["task0", "task2"]
    close(graph.shared.grad, combined((CONFLICT[0], CONFLICT[2]), weights))
    assert graph.heads[1].grad is None


def test_the_order_of_tasks_in_the_batch_changes_nothing(case: Case) -> None:
    """Each keeps its own state and keys, wherever it stands; two tasks, so that a random order cannot matter."""
    if not case.fact("COMBINES", True):
        pytest.skip("draws for places, whatever the task")
    steps = [step for step in story() if len(step.losses) == 2]
    turned = [
        replace(s, losses=dict(reversed(s.losses.items())), gradients=dict(reversed(s.gradients.items())))
        for s in steps
    ]
    for one, other in zip(*(tell(case.weighting(), told).weights for told in (steps, turned)), strict=True):
        assert other == pytest.approx(one, rel=1e-9)


def test_one_task_alone_is_its_own_gradient(case: Case) -> None:
    graph = make_graph()
    weights = backward(case.weighting(), graph, {"task1": graph.losses["task1"]})
    alone = case.fact("ALONE", 1.0)
    if alone is not None:
        assert weights == {"task1": pytest.approx(alone)}
    assert weights["task1"] > 0
    close(graph.shared.grad, weights["task1"] * torch.tensor([6.0, 1.0, 1.0], dtype=torch.float64))


def test_a_shared_parameter_that_a_task_does_not_touch(case: Case) -> None:
    """Two encoders: task0 reads the first, task1 both, nobody reads the third."""
    needs_combination(case)
    first, second, third = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(3))
    losses = {"task0": first.sum(), "task1": 2 * second.sum() + first.sum()}
    weights = case.weighting().backward(losses, None, [first, second, third], [first * 1])
    close(first.grad, torch.full((2,), sum(weights.values()), dtype=torch.float64))
    close(second.grad, torch.full((2,), 2 * weights["task1"], dtype=torch.float64))
    assert third.grad is None or not third.grad.any()


def test_a_frozen_shared_parameter(case: Case) -> None:
    frozen = nn.Parameter(torch.ones(2, dtype=torch.float64), requires_grad=False)
    free = nn.Parameter(torch.ones(2, dtype=torch.float64))
    losses = {"task0": (frozen * free).sum(), "task1": 3 * (frozen * free).sum()}
    weights = case.weighting().backward(losses, None, [frozen, free], [free * 1])
    assert frozen.grad is None
    close(free.grad, torch.full((2,), weights["task0"] + 3 * weights["task1"], dtype=torch.float64))


def test_all_shared_parameters_frozen(case: Case) -> None:
    """Gradients have nothing to be combined at, the heads learn as they would."""
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    head = nn.Parameter(torch.ones(2))
    weights = case.weighting().backward({"task1": (frozen * head).sum()}, None, [frozen], [frozen * 1])
    assert weights == {"task1": 1}
    scale = 1 / 2 if case.fact("HEADS", "loss") == "log" else 1
    assert head.grad.tolist() == pytest.approx([scale, scale])


def test_a_path_that_goes_round_the_representation(case: Case) -> None:
    """A term of a task that reads the encoder itself counts as much as one through the heads."""
    needs_combination(case)
    shared = nn.Parameter(torch.ones(1, dtype=torch.float64))
    representation = shared * 1
    losses = {"task0": representation.sum() + 4 * shared.sum(), "task1": representation.sum()}
    weights = case.weighting().backward(losses, None, [shared], [representation])
    assert shared.grad.item() == pytest.approx(5 * weights["task0"] + weights["task1"])


def test_tasks_may_share_a_head(case: Case) -> None:
    shared, head = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    losses = {"task0": (shared * head).sum(), "task1": 2 * (shared * head).sum()}
    weights = case.weighting().backward(losses, None, [shared], [shared * 1])
    heads = case.fact("HEADS", "loss")
    scales = {"loss": weights, "own": dict.fromkeys(TASKS, 1), "log": {"task0": 1 / 2, "task1": 1 / 4}}[heads]
    assert head.grad.tolist() == pytest.approx([scales["task0"] + 2 * scales["task1"]] * 2)


def test_no_trace_is_left_on_the_parameters(case: Case) -> None:
    graph = make_graph()
    backward(case.weighting(), graph)
    assert not hasattr(graph.shared, "jac")


def test_an_encoder_with_attention_embeddings_and_convolution(case: Case) -> None:
    """Real layers, in float32: the gradient is the combination of the plain per-task gradients."""
    needs_combination(case)
    torch.manual_seed(0)
    encoder = nn.ModuleDict(
        {
            "embed": nn.Embedding(11, 8),
            "block": nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            "image": nn.Conv2d(3, 8, 4, stride=4),
        }
    )
    heads = nn.ModuleList(nn.Linear(8, classes) for classes in (3, 4))
    tokens, pixels = torch.randint(11, (5, 6)), torch.randn(5, 3, 8, 8)
    labels = [torch.randint(3, (5,)), torch.randint(4, (5,))]

    def losses() -> tuple[dict[str, Tensor], Tensor]:
        torch.manual_seed(1)  # the same dropout each time
        fused = encoder["block"](encoder["embed"](tokens)).mean(1) + encoder["image"](pixels).mean((2, 3))
        terms = (nn.functional.cross_entropy(head(fused), y) for head, y in zip(heads, labels, strict=True))
        return dict(zip(TASKS, terms, strict=False)), fused

    shared = list(encoder.parameters())
    separate = [torch.autograd.grad(loss, shared, retain_graph=True) for loss in losses()[0].values()]
    by_task, fused = losses()
    weights = list(case.weighting().float().backward(by_task, None, shared, [fused]).values())
    for parameter, *gradients in zip(shared, *separate, strict=True):
        expected = sum(weight * gradient for weight, gradient in zip(weights, gradients, strict=True))
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=1e-6)
    assert all(parameter.grad is not None for parameter in heads.parameters())


# Where it could be undefined, and what sizes do.


def test_zero_gradients_are_defined(case: Case) -> None:
    """A term with no row is 0 with zero gradient; alone or beside another task."""
    for jacobian in (((0.0, 0.0),), ((0.0, 0.0), (0.0, 0.0)), ((0.0, 0.0), (1.0, 2.0)), ((1.0, 2.0), (0.0, 0.0))):
        built = make_graph(jacobian)
        weights = backward(case.weighting(), built)
        assert all(0 <= value < math.inf for value in weights.values())
        assert built.shared.grad.isfinite().all()
        if case.fact("COMBINES", True):
            close(built.shared.grad, combined(jacobian, weights))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_gradients_that_cancel_one_another_are_defined(case: Case, dtype: torch.dtype) -> None:
    """Opposite ones, equal ones, and three in a plane: finite, and the update not much more than the gradients."""
    for jacobian in (
        ((1.0, 2.0), (-1.0, -2.0)),
        ((0.1, 0.2), (0.1, 0.2)),
        ((1.0, 0.0), (-0.5, 0.75**0.5), (-0.5, -(0.75**0.5))),
        ((3e3, 1e3), (-3e-3, -1e-3)),
        ((0.6, 0.8), (-0.6, -0.8), (-2.4, 1.8)),
    ):
        built = make_graph(jacobian)
        shared = nn.Parameter(torch.zeros(2, dtype=dtype))
        matrix = torch.tensor(jacobian, dtype=dtype)
        losses = {task: row @ shared + 1 for task, row in zip(TASKS, matrix, strict=False)}
        weights = case.weighting().to(dtype).backward(losses, None, [shared], [])
        assert all(math.isfinite(value) for value in weights.values())
        largest = max(1.0, matrix.norm(dim=1).max().item())
        assert shared.grad.isfinite().all()
        assert shared.grad.norm() <= 4 * largest, built


def test_losses_of_any_size_are_defined(case: Case) -> None:
    """In float32, step after step: none, tiny, huge and negative losses give finite weights and gradients."""
    for values, start in itertools.product(itertools.product([0.0, 1e-30, 1.0, 1e20, -1.0], repeat=2), (0, 1)):
        check_losses(case.weighting().float(), values, start)


def check_losses(weighting: base.Weighting, values: tuple[float, float], start: int) -> None:
    for step in range(start, start + 4):
        shared = nn.Parameter(torch.zeros(2))
        turned = values if step % 2 == 0 else values[::-1]
        losses = {
            task: torch.tensor(row) @ shared + value
            for task, row, value in zip(TASKS, ((1.0, 2.0), (2.0, -0.5)), turned, strict=False)
        }
        weights = weighting.backward(losses, None, [shared], [])
        weighting.end_epoch()
        assert all(math.isfinite(value) for value in weights.values()), values
        assert shared.grad.isfinite().all(), values


@pytest.mark.parametrize("size", [1e-15, 1e-6, 1.0, 1e6, 1e15])
def test_weights_do_not_depend_on_the_size_of_gradients(case: Case, size: float) -> None:
    """Or by the power that the method has."""
    weights = []
    for factor in (1.0, size):
        graph = make_graph(torch.tensor(CONFLICT, dtype=torch.float64) * factor)
        weights.append(backward(case.weighting(), graph))
    power = case.fact("SIZE", lambda config: 0)(case.config)
    expected = {task: weight * size**power for task, weight in weights[0].items()}
    assert weights[1] == pytest.approx(expected, rel=1e-6)


def test_without_conflict_all_weights_are_equal(case: Case) -> None:
    equal = case.fact("EQUAL", None)
    if equal is None:
        pytest.skip("has other weights")
    graph = make_graph(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0, 2.0)))
    assert list(backward(case.weighting(), graph).values()) == pytest.approx([equal] * 3)


def test_the_update_opposes_no_task(case: Case) -> None:
    if not case.fact("OPPOSES_NONE", False):
        pytest.skip("does not say so")
    chooser = np.random.default_rng(0)
    opposed = 0
    for _ in range(40):
        jacobian = torch.tensor(chooser.normal(size=(3, 4)))
        graph = make_graph(jacobian)
        backward(case.weighting(), graph)
        assert ((jacobian @ graph.shared.grad) >= -1e-9).all()
        opposed += bool(((jacobian @ jacobian.sum(0)) < 0).any())
    assert opposed > 5  # the plain sum's would


# Controls: weightings that break a rule.


class Sloppy(base.Weighting):
    """Breaks one rule, by the name that it is given."""

    def __init__(self, fault: str) -> None:
        super().__init__(fixed.Config(), TASKS)
        self.fault, self.count = fault, 0
        self.register_buffer("moments", torch.zeros(len(TASKS)))

    def backward(
        self, by_task: dict[str, Tensor], rest: Tensor | None, shared: Any, representation: Any
    ) -> dict[str, float]:
        self.count += 1
        if self.fault == "global numbers":
            torch.rand(())
        if self.fault == "moves all":
            self.moments += 1
        if not by_task:
            if rest is not None and self.fault != "forgets the rest":
                rest.backward()
            return {}
        weights = torch.ones(len(by_task), dtype=torch.float64)
        if self.fault == "unsaved":
            weights = weights / self.count
        if self.fault == "by place":
            weights[0] = 2
        if self.fault == "divides by losses":
            weights = torch.stack([1 / loss.detach() for loss in by_task.values()])
        if self.fault == "divides by gradients":
            found = torch.autograd.grad(sum(by_task.values()), list(shared), retain_graph=True)
            weights = weights * sum(each.norm() for each in found)
        if self.fault == "replaces":
            for parameter in shared:
                parameter.grad = None
        scaled = 2 * rest if rest is not None and self.fault == "weighs the rest" else rest
        told = weighted_backward(by_task, weights, scaled)
        return {task: 3 * weight for task, weight in told.items()} if self.fault == "misreports" else told


FAULTS: list[tuple[str, Callable[..., None], tuple[Any, ...]]] = [
    ("global numbers", test_other_random_numbers_stay_as_they_are, ()),
    ("moves all", test_an_absent_task_keeps_its_state, ()),
    ("moves all", test_a_batch_without_a_task_changes_no_task_s_state, ()),
    ("forgets the rest", test_only_rest, ()),
    ("unsaved", test_a_resumed_run_goes_on_as_if_never_stopped, ()),
    ("by place", test_the_order_of_tasks_in_the_batch_changes_nothing, ()),
    ("by place", test_one_task_alone_is_its_own_gradient, ()),
    ("divides by losses", test_losses_of_any_size_are_defined, ()),
    ("divides by gradients", test_weights_do_not_depend_on_the_size_of_gradients, (1e6,)),
    ("replaces", test_gradients_are_added_to_what_is_there, ()),
    ("weighs the rest", test_rest_is_simply_added, ()),
    ("misreports", test_gradient_is_the_combination_by_the_returned_weights, ()),
    ("misreports", test_heads_get_their_own_gradient, ()),
    ("plain sum", test_the_update_opposes_no_task, ()),
    ("plain sum", test_equals_the_formula_of_its_paper, ()),
]


@pytest.mark.parametrize(("fault", "check", "arguments"), FAULTS, ids=[f"{f}-{c.__name__}" for f, c, _ in FAULTS])
def test_control(fault: str, check: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """A weighting with the fault fails the test; one without passes it, but for what a plain sum cannot do."""
    stated = SimpleNamespace(
        OPPOSES_NONE=True, formula=lambda config, steps: [dict.fromkeys(step.losses, 2.0) for step in steps]
    )
    wrong, right = (
        Case("sloppy", name, fixed.Config(), SimpleNamespace(Weighting=lambda *_, name=name: Sloppy(name)), stated)
        for name in (fault, "none")
    )
    with pytest.raises((AssertionError, TypeError)):
        check(wrong, *arguments)
    if fault != "plain sum":
        check(right, *arguments)


GUARDS: list[tuple[str, str, Any, Callable[..., None], tuple[Any, ...]]] = [
    ("gls", "LEAST", 0.0, test_losses_of_any_size_are_defined, ()),
    ("famo", "LEAST", 0.0, test_losses_of_any_size_are_defined, ()),
    ("dwa", "FASTEST", math.inf, test_losses_of_any_size_are_defined, ()),
    ("db_mtl", "EPSILON", 0.0, test_losses_of_any_size_are_defined, ()),
    ("imtl_g", "unit_size", lambda gramian: gramian, test_weights_do_not_depend_on_the_size_of_gradients, (1e15,)),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("kind", "guard", "without", "check", "arguments"), GUARDS, ids=[f"{g[0]}-{g[1]}" for g in GUARDS]
)
def test_control_without_a_guard(
    kind: str,
    guard: str,
    without: Any,
    check: Callable[..., None],
    arguments: tuple[Any, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (case, *_) = (each for each in CASES if each.kind == kind)
    check(case, *arguments)
    monkeypatch.setattr(case.module, guard, without)
    with pytest.raises((AssertionError, ArithmeticError, ValueError)):
        check(case, *arguments)


def test_control_a_memory_that_takes_no_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new memory has no width, so that a state would not fit."""
    monkeypatch.setattr(_memory, "_take_shape", lambda *_: None)
    (case, *_) = (each for each in CASES if each.kind == "db_mtl")
    with pytest.raises(RuntimeError, match="size mismatch"):
        test_a_resumed_run_goes_on_as_if_never_stopped(case)
