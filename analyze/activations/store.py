"""What `collect` leaves on disk, and the nouns in memory that stand for it.

    step-000000500/L0.mid/          sealed: meta.json moments.safetensors examples.parquet bands.parquet
                                    histograms.parquet tokens.parquet
    step-000000500/L0.mid.sample/   sealed, the bulk: sample.safetensors (2 bytes a sampled token and neuron) and
                                    token_sums.safetensors
    step-000000500/L0.mid.scores/   sealed by `score`: scores.parquet

The sample has a directory of its own. So `drop_sample` can delete it once the neurons are scored and break no seal:
`L0.mid` names the sample by its hash, and the scores name `L0.mid` by its hash.
"""

import json
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
from train.files import canonical_json, manifest_hash, publishing, read_manifest, remove_directory, verify, write_atomic
from train.parquet import read_parquet, write_parquet

FORMAT_VERSION = 2
SCORED, DEAD, RARE = 0, 1, 2
STATUS_NAMES = ("scored", "dead", "rare")
IDENTITY = frozenset({"run_hash", "start_hash", "root_hash", "train_data_hash", "recipe"})
"""Keys of the meta that results of earlier versions lack; they are read from the checkpoint then."""
MOST_NEURONS = 1024
"""Slow scores read a sample of so many neurons where a layer has more."""
HALVES = ("fit", "eval")
"""A score is fitted on the documents of one half and measured on those of the other."""


@dataclass(frozen=True, kw_only=True)
class NeuronFacts:
    """Which neurons these are: one layer and hook of one step of a run."""

    run: str
    variant: str
    seed: int
    step: int
    tokens_seen: int
    """Tokens that these weights were trained on, in this run and in those that it started from."""
    layer: int
    hook: str
    """`mid`: after the activation, before a mid LayerNorm; `post`: what enters W_out."""
    act: str
    n_neurons: int
    n_params: int
    factor: int = 1
    """Widening factor of this run; 1 where it was not widened."""
    start_run: str | None = None
    root_variant: str
    """Variant of the ancestor that was trained from scratch; its untrained network is this run's null."""
    eval_loss: float | None = None
    """Held-out loss at this step, nats a token; None where it was not evaluated at this step."""
    unigram_loss: float | None = None
    bigram_loss: float | None = None
    checkpoint_hash: str
    checkpoint_dir: str
    """Where the checkpoint lay when it was collected; its hash tells whether it still lies there."""
    n_ctx: int
    scheme: str | None = None
    """What made the copies of a widened layer differ at birth: "none", "zero_sum", ...; None: not widened."""
    run_hash: str = ""
    """Which run it is, whatever it is called; this and the next four as of `analyze.activations.identity.RunIdentity`.
    Empty in results of earlier versions."""
    start_hash: str | None = None
    root_hash: str | None = None
    train_data_hash: str = ""
    recipe: str | None = None


@dataclass(frozen=True, kw_only=True)
class ActivationsMeta(NeuronFacts):
    """Where activations come from. All of it is JSON, and travels with every number made from them."""

    format_version: int
    data_hash: str
    data_dir: str
    n_tokens: int
    """Tokens that the source read: moments, rates, histograms, sums per token and examples are over these."""
    n_sampled_tokens: int
    """Tokens whose activations the sample holds: quantiles, and so firing thresholds, are over these."""
    n_documents: int
    quantiles: str
    """`all tokens`, or `sample` where the sample holds only a part of them. Of bf16 values in both cases."""
    sample_hash: str | None
    settings: dict[str, Any]


@dataclass(frozen=True)
class TokenSample:
    """The token positions of the sample, in stream order, without BOS and separators."""

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
    """Statistics of each neuron over all tokens; median, p01 and p9999 over the sampled tokens."""

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
    """Share of all tokens below zero; of bf16 values, like the next one."""
    negative_mass: Float[np.ndarray, "n"] | None = None
    """Share of the sum of |a| that comes from tokens below zero: the tail that strong examples never show."""
    parent: Int[np.ndarray, "n"] | None = None
    """The neuron of the parent checkpoint that each neuron is a copy of, where the layer was widened."""


@dataclass(frozen=True)
class Activations:
    """What was collected for one checkpoint, layer and hook.

    `examples` has a row for each example: neuron, half ("fit" / "eval"), rank from 0, document, stream_position,
    position, activation. They are the 20 strongest of each neuron and half over all tokens, at most one a document.
    `bands` has neuron, half, band 0 to 9, rank, and the same four columns: examples from the whole range of the
    activation, see band_examples.py. Neurons that no source computed (planted ones, rotations) may lack the last three.
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
    """Lies in the sample's directory and is deleted with it."""
    chosen: Bool[np.ndarray, "n"] | None = None
    """Of part of a layer: which of its neurons are in the sample of the whole layer (`sampled_neurons`)."""

    @property
    def n_neurons(self) -> int:
        """Neurons of the layer."""
        return self.meta.n_neurons

    def block(self, first: int, stop: int) -> Float[Tensor, "t n"]:
        """Activations of neurons first..stop on the sampled tokens: a float32 copy.

        Raises:
            BadInput: no such neurons, or the sample has been deleted.
        """
        if not 0 <= first < stop <= self.meta.n_neurons:
            raise BadInput(f"neurons {first}..{stop}: the layer has {self.meta.n_neurons}")
        return self.sample.read(first, stop)


def sampled_neurons(acts: Activations) -> Bool[np.ndarray, "n"]:
    """The neurons that slow scores read: all, or MOST_NEURONS of a wide layer at random, the same every time."""
    return sample_of(acts.n_neurons) if acts.chosen is None else acts.chosen


def sample_of(n_neurons: int) -> Bool[np.ndarray, "n"]:
    """`sampled_neurons` of a whole layer of so many."""
    chosen = np.ones(n_neurons, bool)
    if n_neurons > MOST_NEURONS:
        chosen[np.random.default_rng(n_neurons).permutation(n_neurons)[MOST_NEURONS:]] = False
    return chosen


def drop_sample(directory: Path) -> None:
    """Delete the sample of an activations directory, if there is one; everything else stays sealed."""
    sample = beside(directory, "sample")
    if sample.is_dir():
        remove_directory(sample)


def write_activations(acts: Activations, directory: Path, replace: bool = False) -> Path:
    """Seal everything but the sample and the sums per token into `directory`.

    Raises:
        BadInput: something is there already and `replace` is false.
    """
    from safetensors.numpy import save_file

    facts = {"kind": "activations", "format_version": FORMAT_VERSION, "sample_hash": acts.meta.sample_hash}
    with publishing(directory, facts, replace=replace) as aside:
        (aside / "meta.json").write_bytes(canonical_json(asdict(acts.meta)) + b"\n")
        moments = {name: np.ascontiguousarray(array) for name, array in vars(acts.moments).items() if array is not None}
        save_file(moments, aside / "moments.safetensors")
        write_parquet(acts.examples, aside / "examples.parquet")
        histograms = None if acts.histograms is None else acts.histograms.table()
        for table, path in zip((acts.bands, histograms), _optional_tables(aside)):
            if table is not None:
                write_parquet(table, path)
        write_parquet(pl.DataFrame(vars(acts.tokens)), aside / "tokens.parquet")
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
    for key in sorted((known - IDENTITY) ^ (set(given) - IDENTITY)):
        raise BadInput(f"{path}: key {key!r} is {'missing' if key in known else 'unknown'}")
    return ActivationsMeta(**given)


def open_activations(directory: Path | str, check_hashes: bool = True) -> Activations:
    """Open what `collect` wrote. The sample stays on disk: its readers fetch a block of neurons at a time.

    Args:
        check_hashes: hash every sealed file, once a process; the sample's when they are first read.

    Raises:
        BadInput: not an activations directory, damaged, or with a sample that belongs to another collection.
    """
    from safetensors.numpy import load_file

    directory = Path(directory)
    meta = read_meta(directory)
    if check_hashes:
        verify(directory)
    sample = beside(directory, "sample")
    if sample.is_dir() and manifest_hash(sample) != meta.sample_hash:
        raise BadInput(f"{sample}: belongs to another collection than {directory}; collect again")
    moments, tokens = load_file(directory / "moments.safetensors"), read_parquet(directory / "tokens.parquet")
    bands, histograms = (read_parquet(path) if path.is_file() else None for path in _optional_tables(directory))
    return Activations(
        meta=meta,
        tokens=TokenSample(**{field.name: tokens[field.name].to_numpy() for field in fields(TokenSample)}),
        moments=Moments(**{field.name: moments.get(field.name) for field in fields(Moments)}),  # pyright: ignore[reportArgumentType]
        examples=read_parquet(directory / "examples.parquet"),
        sample=SampleFile(sample / SAMPLE_FILE, meta.n_sampled_tokens, meta.n_neurons, sealed=check_hashes),
        directory=directory,
        histograms=None if histograms is None else from_table(histograms, meta.n_neurons),
        bands=bands,
        token_sums=None
        if histograms is None
        else TokenSums(sample / TOKEN_SUMS_FILE, meta.n_neurons, sealed=check_hashes),
    )


def _optional_tables(directory: Path) -> tuple[Path, Path]:
    return directory / "bands.parquet", directory / "histograms.parquet"


def copy_metrics(run_directory: Path, results: Path) -> None:
    """Copy a run's metrics.jsonl to its results, so that a results directory needs no other."""
    source = run_directory / "metrics.jsonl"
    if source.is_file():
        results.mkdir(parents=True, exist_ok=True)
        write_atomic(results / "metrics.jsonl", source.read_bytes())
