"""What every weighting must hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mmkd.config.plugins import kinds
from mmkd.weighting import fixed, pcgrad, uncertainty, upgrad
from mmkd.weighting.base import Weighting

MODULES = {"fixed": fixed, "uncertainty": uncertainty, "pcgrad": pcgrad, "upgrad": upgrad}
GRADIENT_METHODS = ("pcgrad", "upgrad")
TASKS = ("task0", "task1", "task2")
CONFLICT = ((-4.0, 1.0, 1.0), (6.0, 1.0, 1.0), (1.0, -3.0, 0.5))


@pytest.fixture(params=MODULES)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def build(kind: str) -> Weighting:
    module = MODULES[kind]
    return module.Weighting(module.Config(), TASKS)


def combined(jacobian: object, weights: dict[str, float]) -> torch.Tensor:
    return torch.tensor(list(weights.values()), dtype=torch.float64) @ torch.as_tensor(jacobian, dtype=torch.float64)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-10)


def test_every_weighting_is_here() -> None:
    assert set(MODULES) <= set(kinds("weighting"))


def test_gradient_is_the_combination_by_the_returned_weights(kind: str, graph: Callable) -> None:
    graph = graph(CONFLICT)
    weights = build(kind).backward(graph.losses, None, [graph.shared], [graph.representation])
    assert list(weights) == list(TASKS)
    close(graph.shared.grad, combined(CONFLICT, weights))


def test_heads_get_their_own_gradient(kind: str, graph: Callable) -> None:
    """2, 3 and 4; scaled by the weight only where the weighting scales losses."""
    graph = graph(CONFLICT)
    weights = build(kind).backward(graph.losses, None, [graph.shared], [graph.representation])
    scale = dict.fromkeys(TASKS, 1.0) if kind in GRADIENT_METHODS else weights
    for number, (task, head) in enumerate(zip(TASKS, graph.heads, strict=True)):
        assert head.grad.item() == pytest.approx((number + 2) * scale[task])


def test_rest_is_simply_added(kind: str, graph: Callable) -> None:
    plain, more = graph(CONFLICT), graph(CONFLICT)
    own = nn.Parameter(torch.ones((), dtype=torch.float64))
    build(kind).backward(plain.losses, None, [plain.shared], [plain.representation])
    rest = torch.tensor([10.0, 20.0, 30.0], dtype=torch.float64) @ more.representation + 7 * own
    build(kind).backward(more.losses, rest, [more.shared], [more.representation])
    close(more.shared.grad, plain.shared.grad + torch.tensor([10.0, 20.0, 30.0], dtype=torch.float64))
    assert own.grad == 7
    assert [head.grad for head in more.heads] == [head.grad for head in plain.heads]


def test_only_rest(kind: str, graph: Callable) -> None:
    graph = graph()
    assert build(kind).backward({}, graph.representation.sum() * 2, [graph.shared], [graph.representation]) == {}
    assert graph.shared.grad.tolist() == [2, 2, 2]


def test_nothing_at_all(kind: str, graph: Callable) -> None:
    graph = graph()
    assert build(kind).backward({}, None, [graph.shared], [graph.representation]) == {}
    assert graph.shared.grad is None


def test_gradients_are_added_to_what_is_there(kind: str, graph: Callable) -> None:
    """Accumulation over batches: twice the same batch is twice the gradient, at the heads too."""
    first = graph()
    weighting = build(kind)
    weighting.backward(first.losses, None, [first.shared], [first.representation])
    once = first.shared.grad.clone()
    second = graph(shared=first.shared)
    second.heads[0].grad = torch.ones((), dtype=torch.float64)
    weighting.backward(second.losses, None, [second.shared], [second.representation])
    close(second.shared.grad, 2 * once)
    assert second.heads[0].grad == first.heads[0].grad + 1


def test_an_absent_task_is_not_weighted(kind: str, graph: Callable) -> None:
    graph = graph(CONFLICT)
    present = {task: graph.losses[task] for task in ("task0", "task2")}
    weights = build(kind).backward(present, None, [graph.shared], [graph.representation])
    assert list(weights) == ["task0", "task2"]
    close(graph.shared.grad, combined((CONFLICT[0], CONFLICT[2]), weights))
    assert graph.heads[1].grad is None


def test_one_task_alone_is_its_own_gradient(kind: str, graph: Callable) -> None:
    graph = graph()
    weights = build(kind).backward({"task1": graph.losses["task1"]}, None, [graph.shared], [graph.representation])
    assert weights == {"task1": pytest.approx(1)}
    close(graph.shared.grad, torch.tensor([6.0, 1.0, 1.0], dtype=torch.float64))


def test_a_shared_parameter_that_a_task_does_not_touch(kind: str, graph: Callable) -> None:
    """Two encoders: task0 reads the first, task1 both, nobody reads the third."""
    first, second, third = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(3))
    losses = {"task0": first.sum(), "task1": 2 * second.sum() + first.sum()}
    weights = build(kind).backward(losses, None, [first, second, third], [first * 1])
    close(first.grad, torch.full((2,), sum(weights.values()), dtype=torch.float64))
    close(second.grad, torch.full((2,), 2 * weights["task1"], dtype=torch.float64))
    assert third.grad is None or not third.grad.any()


def test_a_frozen_shared_parameter(kind: str) -> None:
    frozen = nn.Parameter(torch.ones(2, dtype=torch.float64), requires_grad=False)
    free = nn.Parameter(torch.ones(2, dtype=torch.float64))
    losses = {"task0": (frozen * free).sum(), "task1": 3 * (frozen * free).sum()}
    weights = build(kind).backward(losses, None, [frozen, free], [free * 1])
    assert frozen.grad is None
    close(free.grad, torch.full((2,), weights["task0"] + 3 * weights["task1"], dtype=torch.float64))


def test_all_shared_parameters_frozen(kind: str) -> None:
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    head = nn.Parameter(torch.ones(2))
    weights = build(kind).backward({"task0": (frozen * head).sum()}, None, [frozen], [frozen * 1])
    assert weights == {"task0": 1}
    assert head.grad.tolist() == [1, 1]


def test_a_path_that_goes_round_the_representation(kind: str) -> None:
    """A term of a task that reads the encoder itself counts as much as one through the heads."""
    shared = nn.Parameter(torch.ones(1, dtype=torch.float64))
    representation = shared * 1
    losses = {"task0": representation.sum() + 4 * shared.sum(), "task1": representation.sum()}
    weights = build(kind).backward(losses, None, [shared], [representation])
    assert shared.grad.item() == pytest.approx(5 * weights["task0"] + weights["task1"])


def test_tasks_may_share_a_head(kind: str) -> None:
    shared, head = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    losses = {"task0": (shared * head).sum(), "task1": 2 * (shared * head).sum()}
    build(kind).backward(losses, None, [shared], [shared * 1])
    assert head.grad.tolist() == [3, 3]


def test_zero_gradients_are_defined(kind: str, graph: Callable) -> None:
    """A term with no row is 0 with zero gradient; alone or beside another task."""
    for jacobian in (((0.0, 0.0), (0.0, 0.0)), ((0.0, 0.0), (1.0, 2.0))):
        built = graph(jacobian)
        weights = build(kind).backward(built.losses, None, [built.shared], [built.representation])
        assert all(value >= 0 for value in weights.values())
        close(built.shared.grad, combined(jacobian, weights))


@pytest.mark.parametrize("size", [1e-15, 1e-6, 1.0, 1e6, 1e15])
def test_weights_do_not_depend_on_the_size_of_gradients(kind: str, size: float, graph: Callable) -> None:
    weights = []
    for factor in (1.0, size):
        built = graph(torch.tensor(CONFLICT, dtype=torch.float64) * factor)
        weights.append(build(kind).backward(built.losses, None, [built.shared], [built.representation]))
    assert weights[1] == pytest.approx(weights[0], rel=1e-6)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_without_conflict_all_weights_are_equal(method: str, graph: Callable) -> None:
    graph = graph(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0, 2.0)))
    weights = build(method).backward(graph.losses, None, [graph.shared], [graph.representation])
    assert list(weights.values()) == pytest.approx([1.0] * 3 if method == "pcgrad" else [1 / 3] * 3)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_no_trace_is_left_on_the_parameters(method: str, graph: Callable) -> None:
    graph = graph()
    build(method).backward(graph.losses, None, [graph.shared], [graph.representation])
    assert not hasattr(graph.shared, "jac")


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_an_encoder_with_attention_embeddings_and_convolution(method: str) -> None:
    """Real layers, in float32: the gradient is the combination of the plain per-task gradients."""
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

    def losses() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        torch.manual_seed(1)  # the same dropout each time
        fused = encoder["block"](encoder["embed"](tokens)).mean(1) + encoder["image"](pixels).mean((2, 3))
        terms = (nn.functional.cross_entropy(head(fused), y) for head, y in zip(heads, labels, strict=True))
        return dict(zip(TASKS, terms, strict=False)), fused

    shared = list(encoder.parameters())
    separate = [torch.autograd.grad(loss, shared, retain_graph=True) for loss in losses()[0].values()]
    by_task, fused = losses()
    weights = list(build(method).backward(by_task, None, shared, [fused]).values())
    for parameter, *gradients in zip(shared, *separate, strict=True):
        expected = sum(weight * gradient for weight, gradient in zip(weights, gradients, strict=True))
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=1e-7)
    assert all(parameter.grad is not None for parameter in heads.parameters())
