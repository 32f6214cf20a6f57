"""The best update for the worst task, in a ball around the mean gradient (2110.14048, algorithm 1)."""

CASES = {"default": {}, "mean": {"c": 0.0}, "wide": {"c": 1.0}}
HEADS = "own"
ALONE = None  # 1 + c: see tests/weighting/test_cagrad.py
