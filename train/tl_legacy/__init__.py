"""Checkpoints in TransformerLens' legacy format, as polysem's own: read, and written again."""
