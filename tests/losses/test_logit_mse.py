"""The limit that ties it to Hinton's loss."""

from __future__ import annotations

import torch

from mmkd.losses.logit_kl import logit_kl
from mmkd.losses.logit_mse import logit_mse


def test_hintons_loss_tends_to_half_of_it_but_for_the_mean() -> None:
    """T^2 KL -> (mean square - square of the mean) / 2 of the difference (2105.08919)."""
    student, teacher = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean = (student - teacher).mean(-1).square().mean()
    expected = (logit_mse(student, teacher) - mean) / 2
    torch.testing.assert_close(logit_kl(student, teacher, 1e4), expected, rtol=1e-3, atol=0)


def test_a_number_added_to_the_students_logits_alone_counts() -> None:
    teacher = torch.randn(8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(logit_mse(teacher + 3, teacher), torch.tensor(9.0, dtype=torch.float64))
