"""What preparing left out, replaced or met, and how much of the vocabulary the training text shows a model."""

from pathlib import Path
from typing import Any

import numpy as np

from train.data.shards import SPLITS, token_dtype

RARE = 10
"""An id seen fewer times in training is one that a model can hardly learn."""
MOST_RARE = 0.05
"""Share of held-out tokens with rare ids from which on there is a warning."""
MIXED = 0.9
"""A source whose last document lies before this share of the stream is not mixed into all of it."""
_CHUNK = 2**22


def vocabulary_facts(files: dict[str, list[Path]], d_vocab: int) -> dict[str, Any]:
    """How often training sees the ids: `never` and `rare` (fewer than RARE times, never included) count ids,
    `held_out_rare` is the share of held-out tokens whose ids are rare.

    Args:
        files: split -> the files that hold its ids.
    """
    dtype = token_dtype(d_vocab)
    counts = {}
    for split in SPLITS:
        counts[split] = np.zeros(d_vocab, np.int64)
        for path in files[split]:
            with path.open("rb") as file:
                while len(ids := np.fromfile(file, dtype, _CHUNK)):
                    counts[split] += np.bincount(ids, minlength=d_vocab)
    rare = counts["fit"] < RARE
    return {
        "never": int((counts["fit"] == 0).sum()),
        "rare": int(rare.sum()),
        "held_out_rare": round(float(counts["eval"][rare].sum() / counts["eval"].sum()), 6),
    }


def notes(facts: dict[str, Any], record: dict[str, Any]) -> list[str]:
    """Lines on what was left out, replaced or met; nothing on what did not occur."""
    in_rows = any(name.endswith((".parquet", ".csv")) for source in facts["sources"] for name in source["files"])
    said = [
        (facts["n_replaced"], "bytes or surrogates that are no text were replaced by U+FFFD"),
        (facts["n_empty"], "blank documents were left out"),
        (record.get("n_null", 0), f"{'rows' if in_rows else 'lines of JSON'} whose text is null were left out"),
        (record.get("n_nul", 0), f"NUL characters were kept, the first in {record.get('first_nul')}"),
    ]
    said += [(count, f"documents were left out: {why}") for why, count in record.get("left_out", {}).items()]
    lines = [f"  {count:,} {what}" for count, what in said if count]
    for source in facts["sources"]:
        if source["kind"] == "files" and "content" in source:
            counts = ", ".join(f"{count:,} {content}" for content, count in source["content"].items())
            lines.append(f"  documents of {source['name']}: {counts}; `polysem documents` shows some of each")
    front = {name: end for name, end in record.get("ends", {}).items() if end < MIXED}
    for name, end in front.items():
        lines.append(f'  all of {name} lies in the first {end:.0%} of the stream; order = "shares" mixes it in evenly')
    made, asked = facts["d_vocab"], facts["config"].get("d_vocab", 0)
    if made < asked:
        least = facts["config"]["min_frequency"]
        lines.append(
            f"  the text supports {made:,} of the {asked:,} ids asked for (pairs seen at least {least} times); "
            f"d_vocab is {made:,}"
        )
    if tokenizer := facts.get("tokenizer"):
        digits = "every digit is a token" if tokenizer["digits"] == "split" else "digits are as it cuts them"
        lines.append(f"  tokenizer {tokenizer['name']}: {made:,} ids, {tokenizer['bos']} is BOS and id 0, {digits}")
        if tokenizer["normalizes"]:
            lines.append("  this tokenizer changes text before it cuts it (its `normalizer`)")
    wanted, given = facts["config"].get("tokens"), facts["n_tokens"]["fit"]
    if wanted is not None and given < wanted:
        lines.append(f"  the sources give {given:,} of the {wanted:,} training tokens asked for")
    if vocabulary := record.get("vocabulary"):
        lines.append(
            f"  of {made:,} ids, training never sees {vocabulary['never']:,} and sees {vocabulary['rare']:,} fewer "
            f"than {RARE} times: {vocabulary['held_out_rare']:.2%} of held-out tokens"
        )
    return lines


def warnings(record: dict[str, Any]) -> list[str]:
    """What makes losses on held-out text doubtful."""
    share = record.get("vocabulary", {}).get("held_out_rare", 0)
    if share <= MOST_RARE:
        return []
    return [
        f"warning: {share:.1%} of held-out tokens are ids that training sees fewer than {RARE} times; "
        "give more text, a smaller d_vocab or a larger min_frequency"
    ]
