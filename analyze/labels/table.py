"""The label bank as a table, printed or written: `polysem labels`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int

from analyze.labels.bank import FEW_TOKENS, NESTED, LabelBank, bank_on
from analyze.text.stream import stream_of
from train.data.tokens import TokenFile
from train.files import publishing
from train.hashes import sha256_file
from train.parquet import write_parquet

FEW_DOCUMENTS = 30


def bank_table(bank: LabelBank, document: Int[np.ndarray, "s"]) -> pl.DataFrame:
    """One row a label: name, family, truth, causal, tokens, share of all, documents, nested_in, note.

    `nested_in` is the smallest label that holds 95 % of its tokens and has more of them; null where none does.

    Args:
        document: of each position of the stream; -1 at separators.
    """
    everywhere = np.flatnonzero(document >= 0)
    inside = bank.overlaps(everywhere).inside
    n_tokens = bank.n_tokens
    holds = (inside >= NESTED) & (n_tokens[None, :] > n_tokens[:, None])
    nested = [
        bank.names[min(np.flatnonzero(row), key=lambda j: (n_tokens[j], j))] if row.any() else None for row in holds
    ]
    frame = pl.DataFrame([asdict(label) for label in bank.labels])
    return frame.with_columns(
        tokens=pl.Series(n_tokens, dtype=pl.Int64),
        share=pl.Series(n_tokens / max(len(everywhere), 1), dtype=pl.Float64),
        documents=pl.Series([len(np.unique(document[at])) for at in bank.positions], dtype=pl.Int64),
        nested_in=pl.Series(nested, dtype=pl.String),
    ).select("name", "family", "truth", "causal", "tokens", "share", "documents", "nested_in", "note")


def printed(table: pl.DataFrame, absent: dict[str, str]) -> str:
    """The table for a terminal, family by family, and a line on what is rare or left out."""
    width = max(map(len, table["name"].to_list()), default=4)
    lines = []
    for (family,), rows in table.group_by("family", maintain_order=True):
        head = f"{family} ({rows.height})"
        lines.append(
            f"\n{head:{width}}  {'truth':6} {'causal':6} {'tokens':>9} {'share':>8} {'documents':>9}  nested in"
        )
        for row in rows.iter_rows(named=True):
            causal, nested = "yes" if row["causal"] else "no", row["nested_in"] or ""
            few = " (few)" if row["tokens"] < FEW_TOKENS else ""
            lines.append(
                f"{row['name']:{width}}  {row['truth']:6} {causal:6} {row['tokens']:9,} {row['share']:8.4%} "
                f"{row['documents']:9,}  {nested}{few}".rstrip()
            )
    counts = table["truth"].value_counts().sort("truth").rows()
    few, rare = (
        int((table[key] < least).sum()) for key, least in (("tokens", FEW_TOKENS), ("documents", FEW_DOCUMENTS))
    )
    lines.append(
        f"\n{table.height} labels in {table['family'].n_unique()} families "
        f"({', '.join(f'{count} {truth}' for truth, count in counts)}; {int(table['causal'].sum())} causal); "
        f"{few} with fewer than {FEW_TOKENS} tokens, {rare} in fewer than {FEW_DOCUMENTS} documents"
    )
    for reason in sorted(set(absent.values())):
        lines.append(f"{list(absent.values()).count(reason)} labels are left out: {reason}")
    return "\n".join(lines).lstrip("\n")


def write_bank(bank: LabelBank, table: pl.DataFrame, out: Path, facts: dict[str, Any]) -> Path:
    """Seal labels.parquet into `out`, in place of an older one: `bank_table` and each label's stream positions."""
    positions = pl.Series("positions", [at.tolist() for at in bank.positions], dtype=pl.List(pl.Int64))
    with publishing(out, {"kind": "labels", **facts}, replace=True) as aside:
        write_parquet(table.with_columns(positions), aside / "labels.parquet")
    return out / "labels.parquet"


def labels(directory: Path, extra: Sequence[Path] = (), out: Path | None = None) -> str:
    """The label bank of a data directory as text, and written to `out` where it is given.

    Raises:
        BadInput: no data directory, an `extra` that does not fit, or an `out` that is taken by something else.
    """
    data = TokenFile.open(directory, split="eval")
    bank = bank_on(data, extra)
    table = bank_table(bank, stream_of(data).document)
    text = printed(table, bank.absent)
    if out is None:
        return text
    facts = {"data_hash": data.data_hash, "extra": {str(path): sha256_file(path) for path in extra}}
    return f"{text}\nwrote {write_bank(bank, table, out, facts)}"
