"""The mean of the gradients' projections onto the cone that opposes none (2406.16232)."""

HEADS = "own"
EQUAL = 1 / 3
OPPOSES_NONE = True
