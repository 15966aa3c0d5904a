"""What `collect` and the scores leave on disk, and the nouns in memory that stand for it.

    step-000000500/L0.mid/          sealed: meta.json moments.safetensors examples.parquet bands.parquet
                                    histograms.parquet tokens.parquet
    step-000000500/L0.mid.sample/   sealed: the bulk, which is sample.safetensors (2 bytes a sampled token and
                                    neuron) and token_sums.safetensors
    step-000000500/L0.mid.scores/   sealed: scores.parquet

The sample is a directory of its own so that it can be deleted once the scores stand (`drop_sample`) without
breaking a seal: `L0.mid` names the sample by its hash, and the scores name `L0.mid` by its hash.
"""

import json
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyze.activations.directory import beside
from analyze.activations.histograms import Histograms, from_table
from analyze.activations.sample import SAMPLE_FILE, Sample, SampleFile
from analyze.activations.token_sums import TOKEN_SUMS_FILE, TokenSums
from train.errors import BadInput
from train.files import canonical_json, manifest_hash, publishing, read_manifest, remove_directory, verify

FORMAT_VERSION = 2
_BANDS, _HISTOGRAMS = "bands.parquet", "histograms.parquet"
SCORED, DEAD, RARE = 0, 1, 2
STATUS_NAMES = ("scored", "dead", "rare")


@dataclass(frozen=True)
class ActivationsMeta:
    """Where activations come from. Everything is JSON, and travels with every number made from them."""

    format_version: int
    run: str
    variant: str
    seed: int
    step: int
    tokens_seen: int
    """By these weights, those of the runs they were started from included."""
    layer: int
    hook: str
    """`mid`: after the activation, before a mid LayerNorm; `post`: what enters W_out."""
    act: str
    n_neurons: int
    n_params: int
    factor: int
    """Widening factor of this run; 1 where it was not widened."""
    start_run: str | None
    root_variant: str
    """Variant of the ancestor that was trained from scratch: whose untrained network is this run's null."""
    eval_loss: float | None
    """Held-out loss at this very step, nats a token; None where it was not evaluated there."""
    unigram_loss: float | None
    bigram_loss: float | None
    checkpoint_hash: str
    checkpoint_dir: str
    """Where the checkpoint lay when it was collected: a hint, to be checked against its hash when used."""
    data_hash: str
    data_dir: str
    n_ctx: int
    n_tokens: int
    """Tokens that were passed: moments, rates, histograms, sums per token and examples are of these."""
    n_sampled_tokens: int
    """Tokens whose activations are held whole: quantiles, and so firing thresholds, are of these."""
    n_documents: int
    quantiles: str
    """`all tokens`, or `sample` where the sample is a part of the tokens. Of bf16 values either way."""
    sample_hash: str | None
    settings: dict[str, Any]
    scheme: str | None = None
    """How the copies of a widened layer were told apart at birth: "none", "zero_sum", ...; None: not widened."""


@dataclass(frozen=True)
class TokenSample:
    """The token positions whose activations are held whole, in stream order, without BOS and separators."""

    ids: Int[np.ndarray, "t"]
    previous: Int[np.ndarray, "t"]
    """The token before it in the model's row: BOS at the start of a document or row."""
    document: Int[np.ndarray, "t"]
    """Index among the documents of split eval."""
    position: Int[np.ndarray, "t"]
    """Position in the model's row, from 1 (0 is BOS)."""
    stream_position: Int[np.ndarray, "t"]
    is_fit: Bool[np.ndarray, "t"]
    """True: the document belongs to the score-fit half; False: to the score-eval half."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Moments:
    """One figure a neuron, over all tokens; median, p01 and p9999 over the sampled ones."""

    n_tokens: Int[np.ndarray, "n"]
    mean: Float[np.ndarray, "n"]
    sd: Float[np.ndarray, "n"]
    minimum: Float[np.ndarray, "n"]
    maximum: Float[np.ndarray, "n"]
    median: Float[np.ndarray, "n"]
    p01: Float[np.ndarray, "n"]
    """1st percentile."""
    p9999: Float[np.ndarray, "n"]
    """99.99th percentile of the fit tokens."""
    threshold: Float[np.ndarray, "n"]
    """0.1 x p9999: the neuron fires above it."""
    firing_rate: Float[np.ndarray, "n"]
    n_documents_fired: Int[np.ndarray, "n"]
    status: Int[np.ndarray, "n"]
    """0 scored, 1 dead, 2 rare (STATUS_NAMES)."""
    dense: Bool[np.ndarray, "n"]
    """Fires on more than half of the tokens."""
    always_on: Bool[np.ndarray, "n"]
    """1st percentile above zero."""
    negative_share: Float[np.ndarray, "n"] | None = None
    """Share of tokens below zero, of bf16 values like the next one; over all tokens."""
    negative_mass: Float[np.ndarray, "n"] | None = None
    """Share of the sum of |a| that comes from tokens below zero: the tail that strong examples never show."""
    parent: Int[np.ndarray, "n"] | None = None
    """Which neuron of the parent checkpoint each was copied from, where the layer was widened."""


@dataclass(frozen=True)
class Activations:
    """What was collected for one checkpoint, layer and hook.

    `examples` has one row an example: neuron, half ("fit" / "eval"), rank from 0, document, stream_position,
    position, activation; the 20 strongest of each neuron and half over all tokens, at most one a document.
    `bands` has neuron, half, band 0 to 9, rank, and the same four: examples from the whole range, see band_examples.py.
    What was not streamed from a source (planted neurons, rotations) need not have the last three nouns.
    """

    meta: ActivationsMeta
    tokens: TokenSample
    moments: Moments
    examples: pl.DataFrame
    sample: Sample
    directory: Path | None = None
    histograms: Histograms | None = None
    bands: pl.DataFrame | None = None
    token_sums: TokenSums | None = None
    """Read from the sample's directory when asked for; gone when the sample is dropped."""

    @property
    def n_neurons(self) -> int:
        """Neurons of the layer."""
        return self.meta.n_neurons

    def block(self, first: int, stop: int) -> Float[Tensor, "t n"]:
        """Activations of neurons first..stop on the sampled tokens, float32; the caller may change them.

        Raises:
            BadInput: no such neurons, or the sample has been deleted.
        """
        if not 0 <= first < stop <= self.meta.n_neurons:
            raise BadInput(f"neurons {first}..{stop}: the layer has {self.meta.n_neurons}")
        return self.sample.read(first, stop)


def drop_sample(directory: Path) -> None:
    """Delete the sample of an activations directory, if it is there; what else was collected stays whole."""
    sample = beside(directory, "sample")
    if sample.is_dir():
        remove_directory(sample)


def write_activations(acts: Activations, directory: Path, replace: bool = False) -> Path:
    """Seal everything but the sample and the sums per token into `directory`.

    Raises:
        BadInput: it is taken and `replace` is false.
    """
    from safetensors.numpy import save_file

    meta = asdict(acts.meta)
    facts = {"kind": "activations", "format_version": FORMAT_VERSION, "sample_hash": acts.meta.sample_hash}
    with publishing(directory, facts, replace=replace) as aside:
        (aside / "meta.json").write_bytes(canonical_json(meta) + b"\n")
        moments = {field.name: getattr(acts.moments, field.name) for field in fields(Moments)}
        held = {name: np.ascontiguousarray(array) for name, array in moments.items() if array is not None}
        save_file(held, aside / "moments.safetensors")
        acts.examples.write_parquet(aside / "examples.parquet")
        if acts.bands is not None:
            acts.bands.write_parquet(aside / _BANDS)
        if acts.histograms is not None:
            acts.histograms.table().write_parquet(aside / _HISTOGRAMS)
        columns = {field.name: getattr(acts.tokens, field.name) for field in fields(TokenSample)}
        pl.DataFrame(columns).write_parquet(aside / "tokens.parquet")
    return directory


def read_meta(directory: Path) -> ActivationsMeta:
    """The meta.json of an activations directory.

    Raises:
        BadInput: not such a directory, another format version, or keys that are missing or unknown.
    """
    manifest = read_manifest(directory)
    if manifest.get("kind") != "activations":
        raise BadInput(f"{directory}: holds {manifest.get('kind', 'something')!r}, not activations")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise BadInput(f"{directory}: format version {version}, this program reads {FORMAT_VERSION}; collect again")
    path = directory / "meta.json"
    try:
        given = json.loads(path.read_bytes())
    except (OSError, ValueError) as failure:
        raise BadInput(f"{path}: cannot be read ({failure})") from None
    known = {field.name for field in fields(ActivationsMeta)}
    for key in sorted(known ^ set(given)):
        raise BadInput(f"{path}: key {key!r} is {'missing' if key in known else 'unknown'}")
    return ActivationsMeta(**given)


def open_activations(directory: Path | str, check_hashes: bool = True) -> Activations:
    """Open what `collect` wrote; the bulky sample is read block by block when asked for.

    Args:
        check_hashes: verify the sealed files (not the sample, whose seal is checked and whose bytes are not).

    Raises:
        BadInput: not an activations directory, damaged, or with a sample that belongs to another collection.
    """
    from safetensors.numpy import load_file

    directory = Path(directory)
    meta = read_meta(directory)
    if check_hashes:
        verify(directory)
    moments = load_file(directory / "moments.safetensors")
    table = pl.read_parquet(directory / "tokens.parquet")
    sample = beside(directory, "sample")
    if sample.is_dir() and manifest_hash(sample) != meta.sample_hash:
        raise BadInput(f"{sample}: belongs to another collection than {directory}; collect again")
    tables = {name: pl.read_parquet(directory / name) for name in (_BANDS, _HISTOGRAMS) if (directory / name).is_file()}
    histograms = tables.get(_HISTOGRAMS)
    return Activations(
        meta=meta,
        tokens=TokenSample(**{field.name: table[field.name].to_numpy() for field in fields(TokenSample)}),
        moments=Moments(**{field.name: moments.get(field.name) for field in fields(Moments)}),  # pyright: ignore[reportArgumentType]
        examples=pl.read_parquet(directory / "examples.parquet"),
        sample=SampleFile(sample / SAMPLE_FILE, meta.n_sampled_tokens, meta.n_neurons),
        directory=directory,
        histograms=None if histograms is None else from_table(histograms, meta.n_neurons),
        bands=tables.get(_BANDS),
        token_sums=TokenSums(sample / TOKEN_SUMS_FILE, meta.n_neurons) if histograms is not None else None,
    )


def copy_metrics(run_directory: Path, results: Path) -> None:
    """Copy a run's metrics.jsonl beside its results, so that a results directory stands alone."""
    source = run_directory / "metrics.jsonl"
    if source.is_file():
        results.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, results / "metrics.jsonl")
