"""One step's directory: atomic, hashed, self-contained, without pickle; written, verified and opened here."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import psutil
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from torch import Tensor

from train import tl_files
from train.cgroups import granted_bytes
from train.config import ModelConfig
from train.configfile import validate
from train.errors import BadInput, EnvironmentProblem, one_line
from train.files import RECORD, check_listing, discard, manifest_hash, publishing, read_json, read_manifest, verify
from train.hub import PREFIX, pull
from train.lineage import FRESH, Lineage
from train.model import Transformer
from train.step_files import FORMAT_VERSION, STEP_FACTS, write_step_files
from train.tensors import read_tensors, tensor_names
from train.tl_legacy.importing import imported_step

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from train.lens import TransformerBridge

STEP_NAME = re.compile(r"step-([0-9]{9})")
LEFTOVER = re.compile(r"\.(tmp|del)-step-[0-9]{9}-[0-9]+")
MAX_JSON_BYTES = 2**24
MAX_TOKENIZER_BYTES = 2**28
ADAM = ("exp_avg", "exp_avg_sq", "step")

REQUIRED = frozenset({"config.json", "tokenizer.json", "model.safetensors", "optim.safetensors", "state.json"})
OPTIONAL = frozenset({"lineage.safetensors", RECORD})

_NO_LINEAGE = (OSError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What json and the constructors raise on a file that is no lineage."""

Count = Annotated[int, Field(ge=0)]


class _Fact(BaseModel):
    """What readers of a state rely on; a state may hold more."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)


class _Evaluation(_Fact):
    step: Count
    loss: float
    unigram: float
    bigram: float


class _Data(_Fact):
    hash: str
    tokenizer_sha256: str
    directory: str | None = None


class _Start(_Fact):
    hash: str
    run: str
    step: Count
    directory: str = ""


class _State(_Fact):
    run: str = Field(pattern=r"^[^/\x00]*$")
    """A plain name, since results go to a directory of this name."""
    variant: str
    root_variant: str
    seed: int
    step: Count
    tokens: Count
    tokens_before: Count
    n_params: Count
    factor: int = Field(ge=1)
    evaluation: _Evaluation | None
    data: _Data
    start: _Start | None
    rows_read: Count = 0
    log_offset: Count = 0
    """Of earlier versions, which cut metrics.jsonl there; now its lines' own steps say where."""


def step_directory(run: Path, step: int) -> Path:
    """Where a run keeps a step."""
    return run / f"step-{step:09d}"


@dataclass(frozen=True)
class Checkpoint:
    """A verified step directory: when it was opened, its files matched their hashes."""

    directory: Path
    config: ModelConfig
    state: dict[str, Any]
    """run, variant, seed, step, tokens, n_params, evaluation, data, start, environment; see train.loop."""
    hash: str
    """The identity of this step (`train.files.manifest_hash`): equal runs have equal ones."""

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return int(self.state["step"])

    @cached_property
    def lineage(self) -> Lineage | None:
        """Descent of the neurons, where an MLP was widened.

        Raises:
            BadInput: not a lineage, or not one of this model's neurons.
        """
        path = self.directory / "lineage.safetensors"
        if not path.exists():
            return None
        try:
            lineage = Lineage.read(path)
        except (SafetensorError, *_NO_LINEAGE) as failure:
            raise BadInput(f"{path}: not a readable lineage ({failure})") from None
        lowest = 0 if all(each.plan.copies == "tiled" for each in lineage.widenings) else FRESH
        for layer, neurons in (*lineage.parents.items(), *lineage.roots.items()):
            if not 0 <= layer < self.config.n_layers or neurons.shape != (self.config.widths[layer],):
                raise BadInput(f"{path}: layer {layer} has parents of {neurons.shape} neurons, which the model has not")
            if neurons.min() < lowest or neurons.max() >= self.config.widths[layer]:
                raise BadInput(f"{path}: layer {layer} names a parent that cannot be")
        return lineage

    @property
    def code(self) -> dict[str, Any]:
        """Which polysem wrote it: version, commit, dirty, as far as known; not part of `hash`.

        Raises:
            BadInput: a record that is none.
        """
        path = self.directory / RECORD
        code = _read_json(path).get("code") if path.exists() else {}
        if not isinstance(code, dict):
            raise BadInput(f"{path}: key 'code' is missing")
        return code

    @property
    def inexact(self) -> list[str]:
        """Why the same config, trained anew, need not give these very bits; empty where it does (`state["exact"]`)."""
        path = self.directory / RECORD
        reasons = _read_json(path).get("inexact") if path.exists() else []
        return [str(reason) for reason in reasons] if isinstance(reasons, list) else []

    def tokenizer(self) -> "Tokenizer":
        """The tokenizer that the model was trained with."""
        from train.data.tokenizer import load_tokenizer

        return load_tokenizer(self.directory / "tokenizer.json")

    def model(self) -> Transformer:
        """The model with this step's weights, in evaluation mode, on the CPU in fp32.

        Raises:
            BadInput: names, shapes or dtypes that the config does not call for, or a value that is not finite.
        """
        model = Transformer(self.config, seed=None)
        expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        tensors = read_tensors(self.directory / "model.safetensors", expected)
        model.load_state_dict(tensors, strict=True)
        return model.eval()

    def bridge(self) -> "TransformerBridge":
        """The model in TransformerLens, with its tokenizer; weights not processed."""
        from train.lens import to_bridge

        return to_bridge(self.model(), self.tokenizer())

    def optimizer_state(self) -> dict[str, Tensor]:
        """Adam's moments and step count by `<parameter>/exp_avg`, `/exp_avg_sq` and `/step`.

        Raises:
            BadInput: anything else in the file, or a part of a parameter's three.
        """
        path = self.directory / "optim.safetensors"
        shapes = {name: tuple(value.shape) for name, value in Transformer(self.config, seed=None).named_parameters()}
        # A parameter that is frozen, or has not been trained yet, has none of the three.
        present = tensor_names(path)
        trained = [name for name in shapes if any(f"{name}/{key}" in present for key in ADAM)]
        if self.step > 0 and not trained:
            raise BadInput(f"{path}: holds no moments at step {self.step}")
        expected = {f"{name}/{key}": () if key == "step" else shapes[name] for name in trained for key in ADAM}
        return read_tensors(path, expected)


def save_checkpoint(
    run: Path,
    model: Transformer,
    optimizer_state: dict[str, Tensor],
    state: dict[str, Any],
    tokenizer_json: bytes,
    lineage: Lineage | None,
    code: dict[str, Any] | None = None,
    inexact: Sequence[str] = (),
) -> Path:
    """Write a step's directory whole, or not at all; it replaces the same step of an earlier start.

    The caller holds the run's lock, so half-written and half-deleted directories are of dead processes: they go.

    Args:
        state: the directories that it names (of the data, of the start) say where to look, not what the step is:
            they go into the record, and `open_step` puts them back.
        code: which polysem writes it (`train.provenance.code_facts`); recorded, not part of the hash.
        inexact: why `exact` is false in the state; recorded, not part of the hash.

    Returns:
        The step's directory.

    Raises:
        OSError: it could not be written.
    """
    target = step_directory(run, state["step"])
    if run.is_dir():
        for path in list(run.iterdir()):
            if LEFTOVER.fullmatch(path.name):
                discard(path)
    with publishing(target, STEP_FACTS, replace=True) as aside:
        write_step_files(aside, model, optimizer_state, state, tokenizer_json, code, inexact)
        if lineage is not None:
            (aside / "lineage.safetensors").write_bytes(lineage.to_bytes())
    return target


def _with_directories(state: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """A state as it was saved; steps of earlier versions name their directories themselves."""
    directories = record.get("directories")
    directories = directories if isinstance(directories, dict) else {}
    named = {key: {"directory": str(directories.get(key, "")), **state[key]} for key in ("data", "start") if state[key]}
    return state | named


def open_step(directory: Path) -> Checkpoint:
    """Verify and open one step's directory. It need not be trusted: sizes are checked before anything is allocated.

    Raises:
        BadInput: another format version, a file missing, extra, altered, or a config or state that is not one.
        EnvironmentProblem: weights that this machine's memory cannot hold.
    """
    manifest = read_manifest(directory)
    if manifest.get("kind") != "checkpoint":
        raise BadInput(f"{directory}: not a checkpoint (its manifest says kind = {manifest.get('kind')!r})")
    if manifest.get("format_version") != FORMAT_VERSION:
        version = manifest.get("format_version")
        raise BadInput(f"{directory}: format version {version!r}, this polysem reads version {FORMAT_VERSION}")
    named = set(manifest["files"])
    for name in sorted((REQUIRED - named) | (named - REQUIRED - OPTIONAL)):
        raise BadInput(f"{directory / name}: {'missing' if name in REQUIRED else 'has no place in a checkpoint'}")
    check_listing(directory, manifest)
    config = validate(ModelConfig, _read_json(directory / "config.json"), str(directory / "config.json"))
    _check_sizes(directory, config, {name: facts["bytes"] for name, facts in manifest["files"].items()})
    verify(directory)
    state = _read_json(directory / "state.json")
    _check_state(directory, config, state, manifest["files"]["tokenizer.json"]["sha256"])
    record = _read_json(directory / RECORD) if RECORD in named else {}
    return Checkpoint(directory, config, _with_directories(state, record), manifest_hash(directory))


def _check_sizes(directory: Path, config: ModelConfig, sizes: dict[str, int]) -> None:
    """Refuse sizes that cannot be, before a hostile config or file has anything read or allocated."""
    weights, room = 4 * config.n_params, MAX_JSON_BYTES
    if not weights <= sizes["model.safetensors"] <= weights + room:
        there = sizes["model.safetensors"]
        raise BadInput(f"{directory}: config.json asks for {weights} bytes of weights, the file holds {there}")
    limits = {
        "optim.safetensors": 2 * weights + room,
        "lineage.safetensors": 8 * sum(config.widths) + room,
        "tokenizer.json": MAX_TOKENIZER_BYTES,
        "state.json": MAX_JSON_BYTES,
        RECORD: MAX_JSON_BYTES,
    }
    for name, limit in limits.items():
        if sizes.get(name, 0) > limit:
            raise BadInput(f"{directory / name}: {sizes[name]} bytes where at most {limit} can be")
    granted = granted_bytes()
    memory = psutil.virtual_memory().total if granted is None else min(psutil.virtual_memory().total, granted)
    if weights > memory:
        raise EnvironmentProblem(
            f"{directory}: weights of {weights:,} bytes, this process may have {memory:,} of memory"
        )


def _check_state(directory: Path, config: ModelConfig, state: dict[str, Any], tokenizer_sha256: str) -> None:
    """Check the form of state.json, and that it fits the config, the tokenizer and the directory's name."""
    path = directory / "state.json"
    facts = validate(_State, state, str(path))
    if facts.run == "..":
        raise BadInput(f"{path}: run: '..' is not a name")
    if facts.n_params != config.n_params:
        raise BadInput(f"{path}: n_params is {facts.n_params}, config.json makes {config.n_params}")
    if facts.data.tokenizer_sha256 != tokenizer_sha256:
        raise BadInput(f"{directory / 'tokenizer.json'}: is not the tokenizer that the model was trained with")
    named = STEP_NAME.fullmatch(directory.name)
    if named and int(named[1]) != facts.step:
        raise BadInput(f"{path}: holds step {facts.step} in a directory named {directory.name}")


def _read_json(path: Path) -> dict[str, Any]:
    values = read_json(path, MAX_JSON_BYTES)
    if not isinstance(values, dict):
        raise BadInput(f"{path}: not a JSON object")
    return values


def steps(run: Path) -> list[int]:
    """Steps of a run, by name, in order; not verified."""
    if not run.is_dir():
        return []
    matches = (STEP_NAME.fullmatch(path.name) for path in run.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def verified_steps(run: Path) -> Iterator[Checkpoint]:
    """Steps of a run that verify, newest first; of each that does not, print a warning."""
    for step in reversed(steps(run)):
        try:
            yield open_step(step_directory(run, step))
        except BadInput as failure:
            print(f"warning: {one_line(str(failure))}; falling back to an earlier step", flush=True)


def require_run_name(run: Path) -> None:
    """Refuse a name that readers would take for a step of a run.

    Raises:
        BadInput: it is one.
    """
    if STEP_NAME.fullmatch(run.name):
        raise BadInput(f"{run}: is the name of a checkpoint's step, not of a run; choose another --out")


def load(path: str | Path) -> Checkpoint:
    """Open a checkpoint: a step's directory, or a run's, whose newest step that verifies is taken.

    `hf:user/name` is one on a hub, `hf:DIR` an exported directory (see `train.hub`); `tl:gelu-1l` is a published one of
    TransformerLens' legacy format, `tl:DIR` and a bare DIR a local one (see `train.tl_legacy`). A bare name is a path.

    Raises:
        BadInput: nothing there, or nothing that verifies.
        EnvironmentProblem: a hub that cannot be reached.
    """
    if str(path).startswith(PREFIX):
        return open_step(pull(str(path).removeprefix(PREFIX)))
    if str(path).startswith(tl_files.PREFIX):
        return open_step(imported_step(str(path).removeprefix(tl_files.PREFIX)))
    directory = Path(path)
    try:
        there = directory.is_dir()
    except OSError as failure:  # a name too long, a directory on the way that may not be entered
        raise BadInput(f"{directory}: cannot be opened ({failure.strerror})") from None
    if not there:
        raise BadInput(f"{directory}: no such directory")
    if tl_files.is_legacy(directory):
        return open_step(imported_step(str(directory)))
    if STEP_NAME.fullmatch(directory.resolve().name) or (directory / "config.json").exists():
        return open_step(directory)
    for checkpoint in verified_steps(directory):
        return checkpoint
    raise BadInput(f"{directory}: holds no checkpoint step that verifies")
