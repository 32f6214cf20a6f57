"""Equal projections onto all gradients (IMTL, ICLR 2021)."""

HEADS = "own"
