"""softmax of normal numbers (2111.10603); their distribution is tested in tests/weighting/test_rlw.py."""

RANDOM = True
