"""One page about experiments or a study: tables, figures, configs, cost, origin, rows on which networks differ."""
