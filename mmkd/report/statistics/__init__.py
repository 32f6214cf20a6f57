"""Statistics of results: over seeds, over examples, and what a number of seeds can show. No torch here."""

from mmkd.report.statistics.over_seeds import PairedTest, Summary, holm, paired_t, summary

__all__ = ["PairedTest", "Summary", "holm", "paired_t", "summary"]
