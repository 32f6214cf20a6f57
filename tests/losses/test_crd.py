"""The memory of `crd`: what it holds after several steps, and that it is part of the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from mmkd.losses.crd import Config, Loss, crd


def term(scene: Callable, memory: int) -> Loss:
    torch.manual_seed(0)
    return Loss(Config(teacher="bert", modality="text", memory=memory, width=3), scene().setting).double()


def test_the_memory_holds_the_last_features(scene: Callable) -> None:
    """The batch has text on examples 0, 1, 2, 3 and 5: twice that is ten, of which a memory of seven keeps the last."""
    loss, one = term(scene, 7), scene()
    taught = one.teachers["bert"].pooled["text"].detach()
    one.value(loss)
    assert sorted(loss.rows.tolist()) == [-1, -1, 0, 1, 2, 3, 5]
    one.value(loss)
    assert sorted(loss.rows.tolist()) == [0, 1, 2, 3, 3, 5, 5]
    torch.testing.assert_close(loss.features, taught[loss.rows])


def test_a_batch_larger_than_the_memory_leaves_its_last(scene: Callable) -> None:
    loss = term(scene, 2)
    scene().value(loss)
    assert sorted(loss.rows.tolist()) == [3, 5]


def test_the_memory_is_part_of_the_state(scene: Callable) -> None:
    """A term that goes on from another's state gives the other's next value."""
    loss, other = term(scene, 9), term(scene, 9)
    scene().value(loss)
    other.load_state_dict(loss.state_dict())
    later = scene(seed=8)
    assert later.value(other) == later.value(loss)
    assert later.value(loss) != later.value(term(scene, 9))


def test_what_came_before_is_a_negative_and_the_row_itself_is_not(scene: Callable) -> None:
    loss, first = term(scene, 9), scene(examples=(0, 1))
    first.value(loss)
    alone = replace(first, batch=replace(first.batch, rows=torch.tensor([0, 7])))
    silent = scene(examples=(0, 1), silent=(1,))
    value = replace(silent, batch=alone.batch).value(loss)
    own, taught = silent.student.pooled["text"][:1], silent.teachers["bert"].pooled["text"].detach()
    other = first.teachers["bert"].pooled["text"].detach()[1:2]
    expected = crd(loss.student(own), loss.teacher(taught[:1]), loss.teacher(other), torch.tensor([[False]]), 0.1, 9)
    torch.testing.assert_close(value, expected)


def test_at_chance_the_critic_is_even() -> None:
    """Cosines all 0 and N = M = 2: h is a half for the pair and for both negatives, so -3 log(1/2)."""
    own = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    across = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    value = crd(own, across, across.expand(2, 2), torch.zeros(1, 2, dtype=torch.bool), 0.1, 2)
    torch.testing.assert_close(value, 3 * torch.tensor(2.0, dtype=torch.float64).log())
