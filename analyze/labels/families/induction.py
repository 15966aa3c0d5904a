"""What came before in the row: repeated tokens and bigrams, the positions that induction can predict."""

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from analyze.labels.base import Family, Label, Labelled
from analyze.text.stream import Stream

_NOTE = "before: earlier in the model's row; separators count for nothing"


def _earlier(keys: Int[ndarray, "t"]) -> tuple[Int[ndarray, "t"], Int[ndarray, "t"]]:
    """For each entry how often its key came before, and the last index at which it did (-1: never)."""
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    same = np.concatenate([[False], sorted_keys[1:] == sorted_keys[:-1]]) if len(keys) else np.zeros(0, bool)
    index = np.arange(len(keys))
    group = np.maximum.accumulate(np.where(same, 0, index)) if len(keys) else index
    count, last = np.empty(len(keys), np.int64), np.full(len(keys), -1, np.int64)
    count[order] = index - group
    last[order[same]] = order[np.flatnonzero(same) - 1]
    return count, last


def _joined(first: Int[ndarray, "t"], second: Int[ndarray, "t"]) -> Int[ndarray, "t"]:
    """One integer for each pair of integers >= 0."""
    _, numbered = np.unique(np.stack([first, second]), axis=1, return_inverse=True)
    return numbered.reshape(-1)


def _find(stream: Stream) -> Labelled:
    at = stream.positions
    ids, row = stream.ids[at], (at // stream.n_ctx)
    # Only what stands directly before, in the same row and document, is a token's predecessor.
    follows = np.zeros(len(at), bool)
    follows[1:] = (np.diff(at) == 1) & (np.diff(row) == 0) & (np.diff(stream.document[at]) == 0)
    before = np.where(follows, np.concatenate([[0], ids[:-1]]), 0) if len(at) else ids
    size = len(stream.vocabulary)
    token = row * size + ids
    count, _ = _earlier(token)
    pair_count = np.zeros(len(at), np.int64)
    pair_last = np.full(len(at), -1, np.int64)
    pairs = np.flatnonzero(follows)
    pair_key = token[pairs] * size + before[pairs]
    pair_count[pairs], last = _earlier(pair_key)
    pair_last[pairs] = np.where(last >= 0, pairs[last], -1)
    prompt_count, prompt_last = _earlier(row[pairs] * size + before[pairs])
    seen_prompt = np.zeros(len(at), bool)
    seen_prompt[pairs] = prompt_count > 0
    agrees = np.zeros(len(at), bool)
    agrees[pairs] = (prompt_last >= 0) & (ids[pairs[prompt_last]] == ids[pairs])
    triple = np.zeros(len(at), bool)
    thirds = pairs[follows[pairs - 1]] if len(pairs) else pairs
    triple[thirds] = _earlier(_joined(token[thirds], before[thirds] * size + before[thirds - 1]))[0] > 0
    in_document, _ = _earlier(stream.document[at] * size + ids)

    def label(name: str, where: Bool[ndarray, "t"]) -> tuple[Label, Int[ndarray, "_"]]:
        return Label(name, "induction", "exact", True, _NOTE), at[where]

    yield label("a token that came before in the row", count > 0)
    yield label("a token's first occurrence in the row", count == 0)
    yield label("a token's second occurrence in the row", count == 1)
    yield label("a token's third to fifth occurrence in the row", (count >= 2) & (count <= 4))
    yield label("a token's sixth or later occurrence in the row", count >= 5)
    yield label("a token that came before in its document", in_document > 0)
    yield label("the same token twice in succession", follows & (before == ids))
    yield label("after a token that was followed by something before in the row", seen_prompt)
    yield label("the token that followed the last occurrence of the token before it", agrees)
    yield label("a token that came after the same token before in the row", pair_count > 0)
    yield label("after a token seen before, but never followed by this one", seen_prompt & (pair_count == 0))
    yield label("the second occurrence of a bigram in the row", pair_count == 1)
    yield label("the third or later occurrence of a bigram in the row", pair_count >= 2)
    yield label("a repeated trigram's last token", triple)
    near = np.where(pair_last >= 0, np.arange(len(at)) - pair_last, 0)
    yield label("a bigram repeated within 16 tokens", (near > 0) & (near <= 16))
    yield label("a bigram repeated after more than 64 tokens", near > 64)


FAMILY = Family("induction", _find)
