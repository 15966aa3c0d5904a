"""What tokens spell, what company they keep, and where in a text they stand."""
