"""Gradients turned to their usual cosines (2010.05874, algorithm 1)."""

CASES = {"default": {}, "fast": {"beta": 0.5}}
HEADS = "own"
EQUAL = 1.0  # in the first step, as pcgrad
RANDOM = True
