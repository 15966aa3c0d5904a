"""K-sparse probes of labels: how few neurons tell a label, on every layer and hook that was collected.

OUT/<run>/step-<step>/L<layer>.<hook>.probes/   sealed, one row for each probe
OUT/probes.parquet, probes.md, figures/probes-*.svg
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from analyze.activations.provenance import located
from analyze.activations.store import Activations, open_activations, read_meta
from analyze.figures import styles_of
from analyze.labels.bank import LabelBank, bank_of
from analyze.probing.columns import Layer
from analyze.probing.figures import probe_figures
from analyze.probing.label import KS, SHIFTS, probe_label
from analyze.probing.record import (
    PLACE,
    directory_of,
    label_hash,
    matching_probes,
    read_probes,
    require_same_run,
    rows_of,
    settings_of,
    write_probes,
)
from analyze.probing.tables import as_markdown
from analyze.scores.run import activations_under
from train.errors import BadInput, did_you_mean
from train.files import manifest_hash, write_atomic
from train.filesystem import require_features
from train.parquet import write_parquet

Say = Callable[[str], None]


@dataclass(frozen=True)
class Written:
    """What `probe` left in its directory."""

    markdown: Path
    table: pl.DataFrame


@dataclass(frozen=True)
class _Settings:
    ks: tuple[int, ...]
    shifts: int
    save_every: float
    say: Say


def probe(
    directories: Sequence[Path],
    out: Path,
    *,
    labels: Sequence[str] | None = None,
    families: Sequence[str] | None = None,
    ks: Sequence[int] = KS,
    shifts: int = SHIFTS,
    extra: Sequence[Path] = (),
    data: Sequence[Path] = (),
    save_every: float = 30.0,
    say: Say = print,
) -> Written:
    """Probe labels on activations; probes of a label that `out` already has with the same settings are kept.

    Args:
        directories: activations directories with their samples, or directories with some at any depth.
        out: takes the sealed probes, tables and figures; the tables show everything in it.
        labels, families: which labels of the bank; all of them where neither is given.
        ks: numbers of neurons.
        shifts: how many shifted labels each probe is compared with.
        extra: the user's own labels, as `analyze.labels.bank.bank_on` takes them.
        data: where to look first for the text, if it has moved (see `train.locate`).
        save_every: seconds after which new probes are saved; a stop loses no more than these.
        say: takes lines about progress.

    Raises:
        BadInput: directories without activations, two of the same run, step, layer and hook, unknown labels or
            families, k below 1, or no shifts.
    """
    settings = _Settings(tuple(sorted(set(ks))), shifts, save_every, say)
    if not settings.ks or settings.ks[0] < 1:
        raise BadInput(f"--k: {', '.join(map(str, settings.ks)) or 'nothing'}; numbers of neurons from 1")
    if shifts < 1:
        raise BadInput(f"--shifts: {shifts}; at least 1 shifted label says what chance is")
    by_place: dict[Path, Path] = {}
    for directory in activations_under(list(directories)):
        meta = read_meta(directory)
        final = directory_of(out, meta)
        require_same_run(final, meta)
        if final in by_place:
            raise BadInput(f"{directory}: same run, step, layer and hook as {by_place[final]}; give them another --out")
        by_place[final] = directory
    for final, directory in by_place.items():
        acts = located(open_activations(directory), data)
        bank = bank_of(acts, extra)
        _probe_layer(acts, bank, chosen_labels(bank, labels, families), final, settings)
    return write_tables(out)


def chosen_labels(bank: LabelBank, labels: Sequence[str] | None, families: Sequence[str] | None) -> list[int]:
    """Numbers of the named labels and of those in named families, in the bank's order; all where neither is given.

    Raises:
        BadInput: a name that is not in the bank.
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


def _probe_layer(acts: Activations, bank: LabelBank, chosen: list[int], final: Path, settings: _Settings) -> None:
    """Probe the chosen labels that `final` lacks, and save."""
    assert acts.directory is not None
    recorded = settings_of(manifest_hash(acts.directory), settings.ks, settings.shifts)
    rows = matching_probes(final, recorded)
    there = set(zip(rows["label"], rows["label_hash"]))
    hashes = {number: label_hash(bank.positions[number]) for number in chosen}
    missing = [number for number in chosen if (bank.names[number], hashes[number]) not in there]
    if not missing:
        settings.say(f"found {final}: {len(chosen)} labels")
        return
    require_features(final.parent)
    # A label whose tokens have changed is another label.
    rows = rows.filter(~pl.col("label").is_in([bank.names[number] for number in missing]))
    layer = Layer(acts)
    if not layer.is_whole:
        limit = f"the {layer.limits.neurons:,} best-ranked"
        settings.say(f"{acts.directory}: of {acts.n_neurons:,} neurons each label's probes see {limit}")
    start = saved = time.perf_counter()
    for done, number in enumerate(missing, start=1):
        y = np.isin(layer.stream_position, bank.positions[number])
        probed = probe_label(layer, y, settings.ks, settings.shifts)
        rows = pl.concat([rows, rows_of(bank.labels[number], hashes[number], probed)])
        now = time.perf_counter()
        if now - saved > settings.save_every and done < len(missing):
            write_probes(final, rows, recorded, acts.meta)
            saved = now
            left = (now - start) / done * (len(missing) - done)
            settings.say(f"{final}: {done} of {len(missing)} labels, about {left / 60:.0f} min to go")
    write_probes(final, rows, recorded, acts.meta)
    settings.say(f"wrote {final}: {len(missing)} labels, {time.perf_counter() - start:.0f} s")


def write_tables(out: Path) -> Written:
    """Write probes.parquet, probes.md and figures/probes-*.svg of all probes in `out`.

    Raises:
        BadInput: there are none, or they are damaged.
    """
    table = read_probes(out)
    if table is None:
        raise BadInput(f"{out}: no probes here; `polysem probe` writes them")
    table = table.sort(*PLACE, "label", "kind", "k", maintain_order=True)
    write_parquet(table, out / "probes.parquet")
    variants = table["variant"].unique(maintain_order=True).to_list()
    figures = out / "figures"
    figures.mkdir(exist_ok=True)
    for figure in probe_figures(table, styles_of(variants)):
        write_atomic(figures / f"{figure.name}.svg", figure.svg.encode())
    write_atomic(out / "probes.md", as_markdown(table).encode())
    return Written(out / "probes.md", table)
