"""K-sparse probes of labels: how few neurons tell a feature, on every layer and hook that was collected.

OUT/<run>/step-<step>/L<layer>.<hook>.probes/   sealed, one row a probe
OUT/probes.parquet, probes.md, figures/probes-*.svg
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from analyze.activations.store import Activations, open_activations, read_meta
from analyze.figures import styles_of
from analyze.labels.bank import LabelBank, bank_of
from analyze.probing.columns import MOST_NEURONS, Layer
from analyze.probing.figures import probe_figures
from analyze.probing.label import KS, SHIFTS, probe_label
from analyze.probing.record import (
    PLACE,
    directory_of,
    found_probes,
    label_hash,
    read_probes,
    rows_of,
    settings_of,
    write_probes,
)
from analyze.probing.tables import as_markdown
from analyze.scores.run import activations_under
from train.errors import BadInput, did_you_mean
from train.files import manifest_hash, write_atomic

SAVE_EVERY = 30.0
"""Seconds after which what has been probed is put on disk, so that a stop loses no more."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Written:
    """What `probe` left in its directory."""

    markdown: Path
    table: pl.DataFrame


def probe(
    directories: Sequence[Path],
    out: Path,
    *,
    labels: Sequence[str] | None = None,
    families: Sequence[str] | None = None,
    ks: Sequence[int] = KS,
    shifts: int = SHIFTS,
    extra: Sequence[Path] = (),
    say: Say = print,
) -> Written:
    """Probe labels on activations, each label once: what stands in `out` with the same settings is found again.

    Args:
        directories: activations directories with their samples, or directories that hold some at any depth.
        out: takes the sealed probes, tables and figures; tables show everything that it holds.
        labels, families: which labels of the bank; all of them where neither is given.
        ks: numbers of neurons.
        shifts: shifted labels a probe is held against.
        extra: the user's own labels, as `analyze.labels.bank.bank_on` takes them.
        say: takes the lines that tell what is going on.

    Raises:
        BadInput: directories without activations, two of one run, step and place, unknown labels or families,
            or k below 1.
    """
    ks = sorted(set(ks))
    if not ks or ks[0] < 1:
        raise BadInput(f"--k: {', '.join(map(str, ks)) or 'nothing'}; numbers of neurons from 1")
    if shifts < 1:
        raise BadInput(f"--shifts: {shifts}; at least 1 shifted label says what chance is")
    found = activations_under(list(directories))
    taken: dict[Path, Path] = {}
    for directory in found:
        final = directory_of(out, read_meta(directory))
        if final in taken:
            raise BadInput(f"{directory}: same run, step, layer and hook as {taken[final]}; give them another --out")
        taken[final] = directory
    for final, directory in taken.items():
        acts = open_activations(directory)
        bank = bank_of(acts, extra)
        _probe_one(acts, bank, chosen_labels(bank, labels, families), final, ks, shifts, say)
    return write_tables(out)


def chosen_labels(bank: LabelBank, labels: Sequence[str] | None, families: Sequence[str] | None) -> list[int]:
    """Numbers of the labels that are named or of a named family, in the bank's order; all where neither is given.

    Raises:
        BadInput: a name that the bank does not know.
    """
    if labels is None and families is None:
        return list(range(len(bank)))
    known = {label.family for label in bank.labels}
    for family in families or ():
        if family not in known:
            raise BadInput(f"--families: {family!r} is not in the bank{did_you_mean(family, sorted(known))}")
    named = {bank.index(name) for name in labels or ()}
    of_family = {number for number, label in enumerate(bank.labels) if label.family in (families or ())}
    return sorted(named | of_family)


def _probe_one(
    acts: Activations, bank: LabelBank, chosen: list[int], final: Path, ks: Sequence[int], shifts: int, say: Say
) -> None:
    assert acts.directory is not None
    settings = settings_of(manifest_hash(acts.directory), ks, shifts)
    rows = found_probes(final, settings)
    there = set(zip(rows["label"], rows["label_hash"]))
    identity = {number: label_hash(bank.positions[number]) for number in chosen}
    missing = [number for number in chosen if (bank.names[number], identity[number]) not in there]
    if not missing:
        say(f"found {final}: {len(chosen)} labels")
        return
    # A label whose tokens have changed is another label.
    rows = rows.filter(~pl.col("label").is_in([bank.names[number] for number in missing]))
    layer = Layer(acts)
    if not layer.is_whole:
        say(f"{acts.directory}: of {acts.n_neurons:,} neurons each label's probes see the {MOST_NEURONS:,} best-ranked")
    start = saved = time.perf_counter()
    for done, number in enumerate(missing, start=1):
        y = np.isin(layer.stream_position, bank.positions[number])
        rows = pl.concat([rows, rows_of(bank.labels[number], identity[number], probe_label(layer, y, ks, shifts))])
        now = time.perf_counter()
        if now - saved > SAVE_EVERY and done < len(missing):
            write_probes(final, rows, settings, acts.meta)
            saved = now
            left = (now - start) / done * (len(missing) - done)
            say(f"{final}: {done} of {len(missing)} labels, about {left / 60:.0f} min to go")
    write_probes(final, rows, settings, acts.meta)
    say(f"wrote {final}: {len(missing)} labels, {time.perf_counter() - start:.0f} s")


def write_tables(out: Path) -> Written:
    """probes.parquet, probes.md and figures/probes-*.svg of everything that `out` holds.

    Raises:
        BadInput: nothing there, or damaged.
    """
    table = read_probes(out)
    if table is None:
        raise BadInput(f"{out}: no probes here; `python -m analyze probe` writes them")
    table = table.sort(*PLACE, "label", "kind", "k", maintain_order=True)
    table.write_parquet(out / "probes.parquet")
    variants = table["variant"].unique(maintain_order=True).to_list()
    figures = out / "figures"
    figures.mkdir(exist_ok=True)
    for figure in probe_figures(table, styles_of(variants)):
        write_atomic(figures / f"{figure.name}.svg", figure.svg.encode())
    write_atomic(out / "probes.md", as_markdown(table).encode())
    return Written(out / "probes.md", table)
