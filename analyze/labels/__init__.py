"""Features of tokens with known truth."""
