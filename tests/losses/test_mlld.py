"""What each level sees."""

from __future__ import annotations

import torch

from mmkd.losses.logit_kl import logit_kl
from mmkd.losses.mlld import mlld


def test_the_instance_level_alone_is_hintons_loss_at_each_temperature() -> None:
    student, teacher = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = mlld(student, teacher, (2.0, 5.0), batch=0.0, classes=0.0)
    expected = logit_kl(student, teacher, 2.0) + logit_kl(student, teacher, 5.0)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_the_batch_level_does_not_see_which_class_is_which() -> None:
    """Classes exchanged in all rows leave the rows as alike as they were; rows exchanged leave the classes together."""
    teacher = torch.randn(8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exchanged = teacher[:, [1, 0, 4, 2, 3]]
    assert mlld(exchanged, teacher, (2.0,), instance=0.0, classes=0.0) < 1e-20
    assert mlld(exchanged, teacher, (2.0,), instance=0.0, batch=0.0) > 1e-3
    assert mlld(teacher.flip(0), teacher, (2.0,), instance=0.0, batch=0.0) < 1e-20
    assert mlld(teacher.flip(0), teacher, (2.0,), instance=0.0, classes=0.0) > 1e-3
