"""From run records to tables. No torch here."""
