"""One step's directory: atomic, hashed, self-contained, without pickle. Written here, verified and loaded here."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from train.config import ModelConfig
from train.configfile import validate
from train.errors import BadInput
from train.files import manifest_hash, publishing, read_manifest, verify
from train.lineage import Lineage
from train.model import Transformer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformer_lens.model_bridge import TransformerBridge

FORMAT_VERSION = 1
STEP_NAME = re.compile(r"^step-(\d{9})$")
MAX_JSON_BYTES = 2**24

REQUIRED = frozenset({"config.json", "tokenizer.json", "model.safetensors", "optim.safetensors", "state.json"})
OPTIONAL = frozenset({"lineage.safetensors"})


def step_directory(run: Path, step: int) -> Path:
    """Where a run keeps a step."""
    return run / f"step-{step:09d}"


@dataclass(frozen=True)
class Checkpoint:
    """A verified step directory: its files matched their hashes when it was opened."""

    directory: Path
    config: ModelConfig
    state: dict[str, Any]
    """run, variant, seed, step, tokens, n_params, evaluation, data, start, environment; see train.loop."""
    hash: str
    """sha256 of MANIFEST.json: the identity of this step."""

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return int(self.state["step"])

    @cached_property
    def lineage(self) -> Lineage | None:
        """Descent of the neurons, where an MLP was widened."""
        path = self.directory / "lineage.safetensors"
        return Lineage.read(path) if path.exists() else None

    def tokenizer(self) -> "Tokenizer":
        """The tokenizer that the model was trained with."""
        from train.bpe import load_tokenizer

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
        """Adam's moments by `<parameter>/exp_avg` and `<parameter>/exp_avg_sq`."""
        return read_tensors(self.directory / "optim.safetensors", None)


def read_tensors(path: Path, shapes: dict[str, tuple[int, ...]] | None) -> dict[str, Tensor]:
    """fp32 tensors of a safetensors file, in sorted order, checked before they are trusted.

    Args:
        path: the file.
        shapes: names and shapes that it must hold, exactly; None accepts any.

    Raises:
        BadInput: not safetensors, other names, shapes or dtypes, or a value that is not finite.
    """
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys())
            if shapes is not None:
                for name in sorted(set(names) ^ set(shapes)):
                    raise BadInput(f"{path}: tensor '{name}' is {'missing' if name in shapes else 'unknown'}")
                for name in names:
                    found = tuple(file.get_slice(name).get_shape())
                    if found != shapes[name]:
                        raise BadInput(
                            f"{path}: tensor '{name}' is {list(found)}, config.json says {list(shapes[name])}"
                        )
            for name in names:
                tensor = file.get_tensor(name)
                if tensor.dtype != torch.float32:
                    raise BadInput(f"{path}: tensor '{name}' is {tensor.dtype}, not float32")
                if not bool(torch.isfinite(tensor).all()):
                    raise BadInput(f"{path}: tensor '{name}' holds a value that is not finite")
                tensors[name] = tensor
    except (SafetensorError, OSError) as failure:
        raise BadInput(f"{path}: not a readable safetensors file ({failure})") from None
    return tensors


def save_checkpoint(
    run: Path,
    model: Transformer,
    optimizer_state: dict[str, Tensor],
    state: dict[str, Any],
    tokenizer_json: bytes,
    lineage: Lineage | None,
) -> Path:
    """Write a step's directory whole, or not at all; an equal step that is there already is replaced.

    Returns:
        The step's directory.
    """
    target = step_directory(run, state["step"])
    facts = {"kind": "checkpoint", "format_version": FORMAT_VERSION}
    with publishing(target, facts, replace=True) as aside:
        (aside / "config.json").write_text(model.config.model_dump_json(indent=2) + "\n")
        (aside / "tokenizer.json").write_bytes(tokenizer_json)
        (aside / "state.json").write_text(json.dumps(state, indent=2, sort_keys=True, allow_nan=False) + "\n")
        weights = {name: value.detach().cpu().contiguous() for name, value in sorted(model.state_dict().items())}
        save_file(weights, aside / "model.safetensors", metadata={"format": "pt"})
        save_file(optimizer_state, aside / "optim.safetensors", metadata={"format": "pt"})
        if lineage is not None:
            (aside / "lineage.safetensors").write_bytes(lineage.to_bytes())
    return target


def open_step(directory: Path) -> Checkpoint:
    """Verify and open one step's directory.

    Raises:
        BadInput: another format version, a file missing, extra, altered, or a config that is not one.
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
    config = validate(ModelConfig, _read_json(directory / "config.json"), str(directory / "config.json"))
    # By arithmetic, before a hostile config can make anything allocate.
    n_bytes, held = 4 * config.n_params, manifest["files"]["model.safetensors"]["bytes"]
    if not n_bytes <= held <= n_bytes + MAX_JSON_BYTES:
        raise BadInput(f"{directory}: config.json asks for {n_bytes} bytes of weights, the file holds {held}")
    verify(directory)
    state = _read_json(directory / "state.json")
    if not isinstance(state.get("step"), int):
        raise BadInput(f"{directory / 'state.json'}: key 'step' is missing")
    return Checkpoint(directory, config, state, manifest_hash(directory))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise BadInput(f"{path}: larger than {MAX_JSON_BYTES} bytes")
        values = json.loads(path.read_bytes())
    except OSError as failure:
        raise BadInput(f"{path}: cannot be read ({failure.strerror})") from None
    except (ValueError, RecursionError) as failure:
        raise BadInput(f"{path}: not valid JSON ({failure})") from None
    if not isinstance(values, dict):
        raise BadInput(f"{path}: not a JSON object")
    return values


def steps(run: Path) -> list[int]:
    """Steps of a run, by name, in order; not verified."""
    if not run.is_dir():
        return []
    matches = (STEP_NAME.match(path.name) for path in run.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def verified_steps(run: Path, warn: bool = True) -> Iterator[Checkpoint]:
    """Steps of a run that verify, newest first; one that does not is passed over aloud."""
    for step in reversed(steps(run)):
        try:
            yield open_step(step_directory(run, step))
        except BadInput as failure:
            if warn:
                print(f"warning: {failure}; falling back to an earlier step", flush=True)


def load(path: str | Path) -> Checkpoint:
    """Open a checkpoint: a step's directory, or a run's, whose newest step that verifies is taken.

    Raises:
        BadInput: nothing there, or nothing that verifies.
    """
    directory = Path(path)
    if not directory.is_dir():
        raise BadInput(f"{directory}: no such directory")
    if STEP_NAME.match(directory.resolve().name) or (directory / "config.json").exists():
        return open_step(directory)
    for checkpoint in verified_steps(directory):
        return checkpoint
    raise BadInput(f"{directory}: holds no checkpoint step that verifies")
