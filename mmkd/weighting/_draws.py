"""Random numbers of a weighting: by its own seed and the number of steps done, so that a resumed run draws on."""

from __future__ import annotations

import numpy as np
import torch


def generator(seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A new generator, the same in every process; the global one, from which dropout draws, stays as it is."""
    # torch reads 32 bits of a seed only, so seed and step are mixed into those.
    mixed = np.random.SeedSequence([seed, step]).generate_state(1)
    return torch.Generator(device).manual_seed(int(mixed[0]))
