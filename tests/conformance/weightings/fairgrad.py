"""G w = w^(-1 / alpha) (2402.15638)."""

CASES = {"proportional": {}}
HEADS = "own"
ALONE = None  # the norm of its gradient to the power -2 alpha / (1 + alpha)
SIZE = -1  # at alpha 1; other powers in tests/weighting/test_fair.py
OPPOSES_NONE = True  # g_i' d = w_i^(-1 / alpha)
