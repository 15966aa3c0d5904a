"""Which documents are taken, and in what order they lie: sources at their shares, both splits filled."""

from collections.abc import Mapping

import numpy as np

from train.data.config import DataConfig
from train.data.spool import Spool
from train.errors import BadInput


def mixture(spool: Spool, config: DataConfig, left_out: Mapping[str, int]) -> np.ndarray:
    """The chosen documents: as many characters as the sources can give at their shares, each source's in hash order.

    In step, every beginning of the documents holds the sources at their shares, so that packing can stop anywhere.
    Otherwise all lie in hash order, in which a source that gives but a part of its text lies in front.

    Args:
        left_out: reason -> documents that could not be used, for messages.

    Raises:
        BadInput: no text, none of a source, of a split, or more held-out text than training text.
    """
    if not spool.titles:
        reasons = "".join(f", {count:,} left out: {reason}" for reason, count in sorted(left_out.items()))
        raise BadInput(f"sources: no text in them ({spool.n_empty} blank documents{reasons})")
    n_chars, source = np.array(spool.n_chars, dtype=np.int64), np.array(spool.source, dtype=np.int64)
    order = np.argsort(np.array(spool.order, dtype=np.uint64), kind="stable")
    weights = [each.weight for each in config.sources]
    available = np.bincount(source, weights=n_chars, minlength=len(weights))
    if not available.all():
        raise BadInput(f"sources: number {int(np.argmin(available)) + 1} has no text of its own")
    shares = np.array(weights) / sum(weights)
    total = (available / shares).min()
    taken, place = np.zeros(len(n_chars), dtype=bool), np.zeros(len(n_chars))
    for number, share in enumerate(shares):
        mine = order[source[order] == number]
        before = np.cumsum(n_chars[mine]) - n_chars[mine]
        taken[mine[before < total * share - 0.5]] = True
        place[mine] = before / share
    if is_in_step(config):
        order = order[np.argsort(place[order], kind="stable")]
    chosen = order[taken[order]]
    _require_both_splits(spool, chosen, config)
    _require_more_training_text(spool, chosen, config)
    return chosen


def is_in_step(config: DataConfig) -> bool:
    """Whether every beginning of the stream holds the sources at their shares."""
    return config.order == "shares" or (config.order == "auto" and config.tokens is not None)


def source_ends(spool: Spool, chosen: np.ndarray, names: list[str]) -> dict[str, float]:
    """Source -> the share of all characters up to the end of its last document; near 1 where it is mixed in."""
    ends = np.cumsum(np.array(spool.n_chars, dtype=np.int64)[chosen])
    source = np.array(spool.source)[chosen]
    return {
        name: round(float(ends[np.flatnonzero(source == number)[-1]] / ends[-1]), 6)
        for number, name in enumerate(names)
        if (source == number).any()
    }


def _require_both_splits(spool: Spool, chosen: np.ndarray, config: DataConfig) -> None:
    n_eval = int(np.array(spool.is_eval)[chosen].sum())
    for split, count in (("eval", n_eval), ("fit", len(chosen) - n_eval)):
        if not count:
            raise BadInput(
                f"sources: no {split} documents: all {len(chosen)} fall on the other side of "
                f"eval_share = {config.eval_share}; give more text or another eval_share"
            )


def _require_more_training_text(spool: Spool, chosen: np.ndarray, config: DataConfig) -> None:
    n_chars, is_eval = np.array(spool.n_chars)[chosen], np.array(spool.is_eval, dtype=bool)[chosen]
    held_out, fit = int(n_chars[is_eval].sum()), int(n_chars[~is_eval].sum())
    if held_out > fit and not config.allow_more_held_out:
        raise BadInput(
            f"eval_share: {held_out:,} characters of held-out text are more than the {fit:,} of training text; "
            "give a smaller eval_share or more documents, or set allow_more_held_out = true"
        )
