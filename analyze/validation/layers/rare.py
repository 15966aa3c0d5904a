"""What a corpus is too small for: which features, and how many tokens they want."""

from collections.abc import Mapping

from analyze.validation.layers.base import Half


def rare_line(kind: str, half: Half, n_kept: int, counts: Mapping[str, int], n_tokens: int, fewest: int) -> str:
    """How many features of a kind can be planted; of those that are too rare, the nearest and what it wants.

    Args:
        counts: tokens of each feature of the kind.
        n_tokens: of the corpus.
        fewest: tokens that a feature takes.
    """
    line = f"{kind} ({half}): {n_kept} of {len(counts)} features"
    rare = {name: count for name, count in counts.items() if count < fewest}
    if not rare:
        return line
    nearest = max(rare, key=rare.__getitem__)
    wanted = -(-n_tokens * fewest // max(rare[nearest], 1))
    wanted = -(-wanted // 10_000) * 10_000
    return f"{line}; {len(rare)} too rare, such as {nearest!r}: {rare[nearest]} tokens, it wants a text of {wanted:,}"
