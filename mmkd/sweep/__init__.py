"""Searches over an experiment's keys: a journal that loses nothing, and trials that come again to the last digit."""
