"""Tests over examples of every student row against the baseline row, from the predictions beside the records."""
