"""Proportional odds against the model's definition in fifty digits, and the median as prediction."""

from __future__ import annotations

from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd.tasks import ordinal

getcontext().prec = 400
"""Digits: a difference of sigmoids at a score of 400 needs 350 of them."""


def task(labels: tuple[str, ...] = ("low", "moderate", "elevated", "high")) -> ordinal.Task:
    return ordinal.Task(ordinal.Config(), "risk", labels)


def definition(score: float, first: float, gaps: list[float]) -> list[float]:
    """log P(y = k) from P(y <= k) = 1 / (1 + exp(f - t_k)), by subtraction."""
    thresholds = [Decimal(first)]
    for gap in gaps:
        thresholds.append(thresholds[-1] + Decimal(gap))
    cumulative = [1 / (1 + (Decimal(score) - t).exp()) for t in thresholds]
    upper, lower = [*cumulative, Decimal(1)], [Decimal(0), *cumulative]
    return [float((above - below).ln()) for above, below in zip(upper, lower, strict=True)]


@pytest.mark.parametrize("score", [-400.0, -40.0, -3.0, 0.0, 0.7, 12.0, 60.0, 400.0])
@pytest.mark.parametrize(("first", "gaps"), [(-1.0, [0.5, 2.0]), (3.0, [1e-3, 40.0, 1e-2]), (0.2, [])])
def test_log_probabilities_are_those_of_the_definition(score: float, first: float, gaps: list[float]) -> None:
    arguments = (torch.tensor([value], dtype=torch.float64) for value in (score, first))
    found = ordinal.log_probabilities(*arguments, torch.tensor(gaps, dtype=torch.float64))
    assert found.tolist() == pytest.approx(definition(score, first, gaps), rel=1e-10, abs=1e-14)


def test_odds_are_proportional() -> None:
    """McCullagh's model: the log-odds of y <= k differ between two inputs by the same amount for every k."""
    head = task().head(5).double()
    generator = torch.Generator().manual_seed(0)
    cumulative = head(torch.randn(2, 5, dtype=torch.float64, generator=generator)).exp().cumsum(-1)[:, :-1]
    odds = torch.special.logit(cumulative)
    difference = odds[0] - odds[1]
    assert difference.abs().min() > 1e-3
    torch.testing.assert_close(difference, difference[:1].expand(3), rtol=1e-9, atol=0)


def test_classes_start_equally_likely() -> None:
    head = task().head(5)
    torch.testing.assert_close(head(torch.zeros(1, 5)).exp(), torch.full((1, 4), 0.25))


def test_logits_are_log_probabilities() -> None:
    """So softmax leaves them as they are, and cross-entropy is the negative log-likelihood."""
    logits = task().head(5)(torch.randn(6, 5, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(logits.logsumexp(-1), torch.zeros(6), rtol=0, atol=1e-6)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    torch.testing.assert_close(task().loss(logits, labels), -logits[range(6), labels].mean())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [0.0, 1e2, 1e4, 1e6])
def test_large_scores_have_finite_gradients(size: float, dtype: torch.dtype) -> None:
    """A label far from the score pulls with gradient 1, however large the score."""
    head = task().head(1).to(dtype)
    head.score.weight.data.fill_(1.0)
    features = torch.tensor([[size], [-size]], dtype=dtype, requires_grad=True)
    logits = head(features)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    for label in range(4):
        gradients = torch.autograd.grad(
            task().loss(logits, torch.tensor([label] * 2)), [features, *head.parameters()], retain_graph=True
        )
        assert all(gradient.isfinite().all() for gradient in gradients)
    (pull,) = torch.autograd.grad(logits[0, 0], features)
    if size > 10:
        assert pull[0].item() == pytest.approx(-1, rel=1e-2)


@pytest.mark.parametrize("raw", [-1e4, -120.0, 0.0, 120.0, 1e4])
def test_thresholds_stay_in_order_whatever_is_learned(raw: float) -> None:
    head = task().head(1)
    head.raw_gaps.data.fill_(raw)
    logits = head(torch.tensor([[0.3]]))
    logits.sum().backward()
    assert head.gaps.min() >= ordinal.SMALLEST_GAP
    assert logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


def test_two_classes_have_one_threshold() -> None:
    """Then the model is logistic regression."""
    head = task(("no", "yes")).head(1).double()
    head.score.weight.data.fill_(1.0)
    logits = head(torch.tensor([[1.5]], dtype=torch.float64))
    assert (logits[0, 1] - logits[0, 0]).item() == pytest.approx(1.5)


def test_words_are_possible_as_leading_shape() -> None:
    assert task().head(3)(torch.zeros(2, 5, 3)).shape == (2, 5, 4)


def test_maximum_likelihood_finds_the_model_that_made_the_labels() -> None:
    """Labels drawn from P(y <= k) = sigmoid(t_k - 2 x): the head recovers weight and thresholds."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    thresholds = np.array([-1.0, 0.5, 2.0])
    labels = (rng.logistic(size=4000)[:, None] + 2 * x[:, None] > thresholds).sum(1)
    head = task().head(1)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=60, line_search_fn="strong_wolfe")
    inputs, targets = torch.tensor(x, dtype=torch.float32)[:, None], torch.tensor(labels)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task().loss(head(inputs), targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    found = [head.score.weight.item(), *(head.first + torch.cat([torch.zeros(1), head.gaps.cumsum(0)])).tolist()]
    assert found == pytest.approx([2.0, -1.0, 0.5, 2.0], abs=0.2)  # five standard errors at 4000 rows


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=2, max_size=6).filter(any))
def test_prediction_has_the_least_expected_distance(weights: list[int]) -> None:
    probabilities = np.array(weights) / sum(weights)
    distances = [sum(p * abs(k - guess) for k, p in enumerate(probabilities)) for guess in range(len(weights))]
    labels = tuple(f"level{n}" for n in range(len(weights)))
    assert distances[int(task(labels).predict(probabilities))] == pytest.approx(min(distances), abs=1e-12)


def test_prediction_counts_thresholds_below_the_score() -> None:
    head = task().head(1).double()
    head.score.weight.data.fill_(1.0)
    scores = torch.linspace(-5, 5, 41, dtype=torch.float64)[:, None] + 0.01
    thresholds = torch.cat([head.first, head.first + head.gaps.cumsum(0)])
    predicted = task().predict(head(scores).exp().detach().numpy())
    assert predicted.tolist() == (scores > thresholds).sum(1).tolist()


def test_median_and_most_probable_class_differ() -> None:
    probabilities = np.array([0.4, 0.2, 0.2, 0.2])
    assert task().predict(probabilities) == 1
    assert task().predict(np.stack([probabilities, probabilities[::-1]])).tolist() == [1, 2]


def test_scores_in_order_with_the_tasks_own_first() -> None:
    scores = task().score([np.int64(0), np.int64(3)], [np.eye(4)[0], np.eye(4)[2]])
    assert list(scores) == ["qwk", "accuracy", "mae", "macro_f1"]
    # Observed 1/2; gold {0, 3}, predicted {0, 2}: expected (0 + 4 + 9 + 1) / 4.
    assert scores["qwk"].value == pytest.approx(1 - 0.5 / 3.5)
    assert scores["mae"].value == 0.5
    assert scores["mae"].direction == "minimize"


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        task(("only",))


def test_control_the_logarithm_of_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subtracting sigmoids loses all digits at large scores."""

    def naive(score: torch.Tensor, first: torch.Tensor, gaps: torch.Tensor) -> torch.Tensor:
        cumulative = torch.sigmoid(torch.cat([first, first + gaps.cumsum(0)]) - score)
        ends = [torch.zeros_like(score), cumulative, torch.ones_like(score)]
        return torch.cat(ends, dim=-1).diff(dim=-1).log()

    monkeypatch.setattr(ordinal, "log_probabilities", naive)
    test_log_probabilities_are_those_of_the_definition(0.7, -1.0, [0.5, 2.0])
    with pytest.raises(AssertionError):
        test_log_probabilities_are_those_of_the_definition(-40.0, -1.0, [0.5, 2.0])
    with pytest.raises(AssertionError):
        test_large_scores_have_finite_gradients(1e2, torch.float32)


def test_control_gaps_without_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordinal.CumulativeLink, "gaps", property(lambda head: torch.exp(head.raw_gaps)))
    with pytest.raises(AssertionError):
        test_thresholds_stay_in_order_whatever_is_learned(-120.0)


def test_control_the_most_probable_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordinal.Task, "predict", lambda task, probabilities: probabilities.argmax(-1))
    with pytest.raises(AssertionError):
        test_prediction_has_the_least_expected_distance()
