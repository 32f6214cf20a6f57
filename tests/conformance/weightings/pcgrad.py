"""The sum of the gradients after their projections (2001.06782, algorithm 1); see tests/weighting/test_pcgrad.py."""

HEADS = "own"
EQUAL = 1.0
RANDOM = True
