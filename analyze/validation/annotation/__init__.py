"""Features of text that others annotated: tagged Brown, Python's own syntax tree, WordNet's classes of words."""
