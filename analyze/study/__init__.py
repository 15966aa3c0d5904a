"""A whole study: every stage, once."""
