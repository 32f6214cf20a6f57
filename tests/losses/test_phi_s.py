"""What `phi_s` makes of a teacher's features: even variances by a rotation and one scale, fixed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from conformance.scene import Scene, make_scene
from mmkd.losses.phi_s import Config, Loss, evening, rotation_of

WIDTHS = [1, 2, 3, 4, 6, 7, 8, 12, 31, 40, 96]


def features(width: int, rows: int = 400) -> Tensor:
    """Correlated, of uneven variance, far from 0."""
    generator = torch.Generator().manual_seed(width)
    scales = torch.logspace(-2, 2, width, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64)).Q
    return torch.randn(rows, width, generator=generator, dtype=torch.float64) * scales @ turn + 30


def standardised(values: Tensor) -> Tensor:
    centred = values - values.mean(0)
    return centred @ rotation_of(centred.T @ centred / len(values)).T


@pytest.mark.parametrize("width", WIDTHS)
def test_every_dimension_has_variance_one(width: int) -> None:
    values = features(width)
    torch.testing.assert_close(standardised(values).var(0, correction=0), torch.ones(width, dtype=torch.float64))
    if width > 2:  # the control: they did not
        assert values.var(0, correction=0).max() > 1.5 * values.var(0, correction=0).min()


@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_a_rotation_and_one_scale(width: int) -> None:
    """All distances change by the same factor, the root of the mean variance."""
    values = features(width)
    factor = values.var(0, correction=0).mean().sqrt()
    torch.testing.assert_close(torch.pdist(standardised(values)) * factor, torch.pdist(values))


@pytest.mark.parametrize("width", [2, 8, 64])
def test_of_a_power_of_two_the_matrix_is_hadamards(width: int) -> None:
    matrix = evening(torch.rand(width, dtype=torch.float64))
    torch.testing.assert_close(matrix.abs(), torch.full_like(matrix, width**-0.5))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(width, dtype=torch.float64))


EVEN_BUT_FOR_ROUNDING = [0.2, 0.2, 0.7, 0.3, 0.1]
"""Where the last two differ in their last digits, and the mean does not lie between them."""


@pytest.mark.parametrize(
    "variances",
    [[0.0] * 6, [1.0] * 5, [0.0, 0.0, 9.0], [1e9, 1.0, 1e-9], [3.0] + [0.0] * 14, EVEN_BUT_FOR_ROUNDING],
)
def test_any_variances_can_be_made_even(variances: list[float]) -> None:
    given = torch.tensor(variances, dtype=torch.float64)
    matrix = evening(given)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(given), dtype=torch.float64))
    even = (matrix @ given.diag() @ matrix.T).diagonal()
    torch.testing.assert_close(even, given.mean().expand(len(given)))


def test_the_sign_of_an_eigenvector_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = features(6)
    covariance = torch.cov(values.T)
    expected, solve = rotation_of(covariance), torch.linalg.eigh

    def other_signs(matrix: Tensor) -> tuple[Tensor, Tensor]:
        found, vectors = solve(matrix)
        return found, vectors * torch.tensor([1.0, -1.0, -1.0, 1.0, -1.0, 1.0], dtype=torch.float64)

    monkeypatch.setattr(torch.linalg, "eigh", other_signs)
    torch.testing.assert_close(rotation_of(covariance), expected)


def test_a_variance_that_rounding_left_below_zero_is_zero() -> None:
    assert rotation_of(-1e-15 * torch.eye(5, dtype=torch.float64)).isfinite().all()


def term(scene: Scene, **keys: object) -> Loss:
    torch.manual_seed(0)
    return Loss(Config(teacher="bert", modality="text", **keys), scene.setting).double()


def at(loss: Loss, scene: Scene, progress: float) -> Tensor:
    loss.progress = progress
    return scene.value(loss)


def test_until_then_the_term_is_zero_and_after_it_the_target_stays(scene: Callable) -> None:
    one, other = scene(), scene(seed=8)
    loss = term(one, until=0.1)
    for progress in (0.0, 0.05):
        value = at(loss, one, progress)
        value.backward()
        assert value == 0 and not loss.projection.weight.grad.any()
    assert at(loss, other, 0.1) > 0
    kept = loss.rotation.clone(), loss.mean.clone()
    rows = one.teachers["bert"].has["text"]
    seen = one.teachers["bert"].pooled["text"][rows].detach()
    torch.testing.assert_close(loss.mean, seen.mean(0))  # of what came before, twice, and not of `other`
    even = ((seen - loss.mean) @ loss.rotation.T).var(0, correction=0)
    torch.testing.assert_close(even, torch.ones(6, dtype=torch.float64))
    at(loss, other, 0.5)
    assert torch.equal(loss.rotation, kept[0]) and torch.equal(loss.mean, kept[1])


def test_the_statistics_are_part_of_the_state(scene: Callable) -> None:
    """A term that goes on from another's state, in the middle of counting or after, gives the other's next value."""
    one, later = scene(), scene(seed=8)
    loss, counting, ready = term(one, until=0.1), term(one, until=0.1), term(one, until=0.1)
    at(loss, one, 0.0)
    counting.load_state_dict(loss.state_dict())
    expected = at(loss, later, 0.1)
    ready.load_state_dict(loss.state_dict())
    assert at(counting, later, 0.1) == at(ready, later, 0.1) == expected > 0
    assert at(term(one, until=0.1), later, 0.1) == 0  # the control: it has counted nothing


def test_without_two_features_it_goes_on_counting(scene: Callable) -> None:
    single, one = scene(silent=(1, 2, 3, 4, 5, 6)), scene()
    loss = term(one, until=0.1)
    assert at(loss, single, 0.0) == at(loss, single, 0.2) == 0
    assert at(loss, one, 0.3) > 0


def test_constant_features_are_finite(scene: Callable) -> None:
    one = scene(constant=True)
    loss = term(one, until=0.1)
    at(loss, one, 0.0)
    value = at(loss, one, 0.2)
    assert value.isfinite() and value < 1e3


PARTS = ((0, 1), (2, 3, 5))
"""Examples of each process."""


def counted(examples: tuple[int, ...]) -> Loss:
    """A term that has fixed its target, of these examples of several scenes: of more rows than dimensions."""
    scenes = [make_scene(examples=examples, seed=seed) for seed in range(4)]
    loss = term(scenes[0], until=0.1)
    for one in scenes:
        at(loss, one, 0.0)
    at(loss, scenes[0], 0.1)
    return loss


def count_and_fix(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    loss = counted(PARTS[rank])
    torch.save([loss.mean, loss.rotation], f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_processes_fix_one_target_from_the_features_of_all(tmp_path: Path) -> None:
    multiprocessing.spawn(count_and_fix, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    loss = counted(tuple(n for part in PARTS for n in part))
    torch.testing.assert_close(first, [loss.mean, loss.rotation])
