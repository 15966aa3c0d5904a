"""A model that `transformers` opens: found, its tokenizer matched with the data's, and opened without running its code.

A local directory is enough (`hf:DIR`, or `hf:FILE.gguf`), and no hub is asked then; `hf:user/name` is one on the hub.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from analyze.activations.source import SourceFacts
from analyze.models.base import Adapter, Stack, adapter_of, layers_of, module_at
from train.data.readymade import fitted
from train.data.tokens import TokenFile, read_data_manifest
from train.errors import BadInput, EnvironmentProblem, one_line
from train.files import canonical_json
from train.gguf import ENDING, gguf_file, require_gguf, tokenizer_of
from train.hashes import known_sha256, sha256
from train.hub import CHECKPOINT, PREFIX, pull
from train.hub_errors import hub_errors
from train.memory import free_memory
from train.tl_legacy.importing import saved

WEIGHTS = ("*.safetensors", "pytorch_model*.bin", f"*{ENDING}")
READABLE = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies, on this machine."""

    name: str
    """As it was asked for: `hf:...`."""
    directory: Path
    gguf: Path | None

    @property
    def run(self) -> str:
        """What its results are called after."""
        plain = self.gguf.stem if self.gguf else self.name.removeprefix(PREFIX).rstrip("/").rsplit("/", 1)[-1]
        return re.sub(r"[^\w.-]", "-", plain).lstrip(".") or "model"

    @property
    def quantized(self) -> str | None:
        """What the weights are rounded to, in words; None where they are floats as trained."""
        if self.gguf is None:
            return None
        kind = re.search(r"\b(?:I?Q(\d)\w*|F(?:16|32)|BF16)$", self.gguf.stem, re.IGNORECASE)
        bits = f"{kind[1]}-bit weights, GGUF {kind[0]}" if kind and kind[1] else None
        return bits or (f"GGUF {kind[0]}" if kind else "GGUF")

    def weights(self) -> list[Path]:
        """The files of weights, of the first format that is there.

        Raises:
            BadInput: there are none.
        """
        if self.gguf is not None:
            return [self.gguf]
        for pattern in WEIGHTS:
            if found := sorted(self.directory.glob(pattern)):
                return found
        raise BadInput(f"{self.directory}: holds no weights (model.safetensors, pytorch_model.bin or one GGUF file)")

    @cached_property
    def hash(self) -> str:
        """Of config and weights: which model it is, whatever it is called."""
        config = self.directory / "config.json"
        files = [*([config] if config.is_file() and self.gguf is None else []), *self.weights()]
        return sha256(canonical_json({path.name: known_sha256(path) for path in files}))

    def tokenizer(self) -> Path:
        """Its tokenizer.json.

        Raises:
            BadInput: it has none.
        """
        path = self.directory / "tokenizer.json"
        if self.gguf is not None and not path.is_file():
            return tokenizer_of(self.gguf)
        if not path.is_file():
            raise BadInput(f"{path}: missing; neurons are scored on text in the model's own tokens")
        return path


def is_foreign(name: str) -> bool:
    """Whether `hf:...` is a model that polysem did not write; one that it did has a folder with the checkpoint."""
    if not name.startswith(PREFIX):
        return False
    place = Path(name.removeprefix(PREFIX))
    if place.exists():
        return not (place / CHECKPOINT).is_dir()
    try:
        pull(name.removeprefix(PREFIX))
    except BadInput:
        return True
    return False


def model_files(name: str) -> ModelFiles:
    """The files of `hf:<name>`.

    Raises:
        BadInput: neither a directory, nor a GGUF file, nor a name on the hub.
        EnvironmentProblem: the hub cannot be reached and the cache does not have it.
    """
    plain = name.removeprefix(PREFIX)
    place = Path(plain)
    if plain and place.exists():
        gguf = gguf_file(place)
        directory = place.parent if place.is_file() else place
        if place.is_file() and gguf is None:
            raise BadInput(f"{name}: neither a directory nor a {ENDING} file")
        has_config = (directory / "config.json").is_file()
        if gguf is None and not has_config:
            raise BadInput(f"{directory / 'config.json'}: missing; {name} is no model that transformers opens")
        return ModelFiles(name, directory, None if has_config and place.is_dir() else gguf)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", plain):
        raise BadInput(f"{name}: neither a directory nor a name on a hub, such as {PREFIX}user/name")
    from huggingface_hub import snapshot_download

    repository, _, revision = plain.partition("@")
    patterns = ["*.json", "*.safetensors", "*.bin", "*.model", f"*{ENDING}"]
    with hub_errors(name, repository, revision or None, then="a local directory does as well"):
        snapshot = Path(snapshot_download(repository, revision=revision or None, allow_patterns=patterns))
    return ModelFiles(f"{PREFIX}{repository}", snapshot, gguf_file(snapshot))


TRAINED, UNTRAINED = 1, 0
"""Steps of results: how long others trained is not known, and 0 is the untrained network."""


@dataclass(frozen=True)
class About:
    """What results say of the model that they are of."""

    files: ModelFiles
    config: Any
    act: str
    n_params: int
    untrained: bool

    def run(self, stack: str) -> str:
        """What the results of a stack are called after."""
        return f"{self.files.run}-{stack}" if stack else self.files.run

    def facts(
        self,
        stack: str,
        place: tuple[int, str],
        width: int,
        chosen: np.ndarray | None,
        max_neurons: int | None,
        mapping: "Tokens",
        data: TokenFile,
    ) -> SourceFacts:
        """The facts of the neurons of one layer and hook (`place`), of all or the chosen ones."""
        run = self.run(stack)
        variant = f"{run} ({self.files.quantized})" if self.files.quantized else run
        run_hash = sha256(canonical_json({"model": self.files.hash, "stack": stack}))
        random = canonical_json({"untrained": self.config.to_json_string(use_diff=False)})
        return SourceFacts(
            name=self.files.name,
            run=run,
            variant=variant,
            root_variant=variant,
            seed=0,
            step=UNTRAINED if self.untrained else TRAINED,
            tokens_seen=0,
            layer=place[0],
            hook=place[1],
            act=self.act,
            n_neurons=width if chosen is None else len(chosen),
            n_params=self.n_params,
            n_ctx=data.n_ctx,
            checkpoint_hash=sha256(random) if self.untrained else self.files.hash,
            checkpoint_dir="",
            tokenizer_sha256=mapping.sha256,
            max_neurons=max_neurons,
            run_hash=run_hash,
            root_hash=run_hash,
        )


@dataclass(frozen=True)
class OpenedModel:
    """A model in fp32 on the CPU, in evaluation mode, and where its neurons are."""

    files: ModelFiles
    config: Any
    adapter: Adapter
    model: nn.Module
    """The base model, without a head."""
    untrained: bool

    @property
    def about(self) -> About:
        """What results say of it."""
        n_params = sum(parameter.numel() for parameter in self.model.parameters())
        return About(self.files, self.config, act_of(self.config, self.adapter), n_params, self.untrained)

    def widths(self, stack: Stack) -> list[int]:
        """Neurons of every layer of a stack."""
        return [in_features(module_at(layer, stack.w_out, self.files.name)) for layer in self.layers(stack)]

    def layers(self, stack: Stack) -> list[nn.Module]:
        """The layers of a stack."""
        return list(layers_of(self.model, stack, self.files.name))


def act_of(config: Any, adapter: Adapter) -> str:
    """The activation's name, and whether another factor multiplies it."""
    name = str(getattr(config, adapter.activation, None) or "?")
    return f"{name} gated" if any(stack.gate for stack in adapter.stacks) else name


def in_features(linear: nn.Module) -> int:
    """How many neurons a linear map reads; GPT-2's has its matrix the other way round."""
    if isinstance(linear, nn.Linear):
        return linear.in_features
    weight = linear.weight
    assert isinstance(weight, torch.Tensor)
    return weight.shape[0]


def config_of(files: ModelFiles) -> Any:
    """The model's config, without running code that lies beside it.

    Raises:
        BadInput: not one that transformers knows.
        EnvironmentProblem: the package gguf is missing.
    """
    from transformers import AutoConfig

    if files.gguf is not None:
        require_gguf()
    options = {} if files.gguf is None else {"gguf_file": files.gguf.name}
    try:
        config = AutoConfig.from_pretrained(files.directory, trust_remote_code=False, **options)
    except Exception as failure:  # the library raises of every kind
        raise BadInput(f"{files.name}: transformers cannot read its config ({one_line(str(failure), 200)})") from None
    return getattr(config, "text_config", None) or config


def open_model(files: ModelFiles, untrained: bool = False, seed: int = 0) -> OpenedModel:
    """Open a model, or the same architecture at transformers' own random initialisation.

    Raises:
        BadInput: a model that no adapter knows, or weights that cannot be read: a pickle that wants code, a shard that
            is missing, a type that is none of floats.
        EnvironmentProblem: it would not fit into memory.
    """
    from transformers import AutoModel
    from transformers.utils import logging

    config = config_of(files)
    adapter = adapter_of(config, files.name)
    _require_memory(files, config)
    if untrained:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = AutoModel.from_config(config, dtype=torch.float32)
        return OpenedModel(files, config, adapter, model.eval(), True)
    files.weights()
    options = {} if files.gguf is None else {"gguf_file": files.gguf.name}
    logging.disable_progress_bar()
    try:
        model, info = AutoModel.from_pretrained(
            files.directory, dtype=torch.float32, trust_remote_code=False, output_loading_info=True, **options
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise EnvironmentProblem(f"{files.name}: does not fit into memory") from None
    except Exception as failure:  # the library raises of every kind
        raise BadInput(f"{files.name}: its weights cannot be read ({one_line(str(failure), 300)})") from None
    finally:
        logging.enable_progress_bar()
    heads = re.compile(r"pooler|lm_head|cls|qa_outputs|score|classifier")
    missing = sorted(name for name in info["missing_keys"] if not heads.search(name))
    if missing:
        raise BadInput(f"{files.name}: its weights lack {missing[0]} and {len(missing) - 1} others")
    mismatched = sorted(str(each[0]) for each in info.get("mismatched_keys", ()))
    if mismatched:
        raise BadInput(f"{files.name}: {mismatched[0]} has another shape than the config says")
    return OpenedModel(files, config, adapter, model.eval(), False)


def _require_memory(files: ModelFiles, config: Any) -> None:
    """Refuse a model that does not fit: as fp32 weights of a meta model, twice while it loads."""
    from transformers import AutoModel

    with torch.device("meta"):
        blank = AutoModel.from_config(config)
    need, free = 4 * sum(parameter.numel() for parameter in blank.parameters()), free_memory()
    if need > free:
        what = "; `collect --stream` reads a T5 layer by layer" if config.model_type == "t5" else ""
        raise EnvironmentProblem(
            f"{files.name}: weights of {need / 1e9:.1f} GB in fp32, {free / 1e9:.1f} GB of memory are free{what}"
        )


@dataclass(frozen=True)
class Tokens:
    """What a model reads in place of polysem's ids, and the hash that prepared data must have."""

    sha256: str
    bos: int
    """The model's id of the token that polysem calls 0."""
    separator: int | None
    """The model's id of what ends a row of a masked model."""

    def to_model(self, ids: torch.Tensor, masked: bool) -> torch.Tensor:
        """polysem's rows [batch pos] as the model's; a masked model gets separators after documents and rows."""
        own = torch.where(ids == 0, self.bos, torch.where(ids == self.bos, 0, ids))
        if not masked or self.separator is None:
            return own
        own[:, 1:][ids[:, 1:] == 0] = self.separator
        return torch.cat((own, torch.full((len(own), 1), self.separator)), dim=1)


def tokens_of(files: ModelFiles, config: Any, data: TokenFile) -> Tokens:
    """How a model reads prepared data.

    Raises:
        BadInput: data in the tokens of another tokenizer, or ids that the model has no embedding for.
    """
    facts = read_data_manifest(data.directory).get("tokenizer") or {}
    path = files.tokenizer()
    hint = f'prepare them with tokenizer = "{path.parent if files.gguf is None else files.gguf}"'
    if not facts:
        raise BadInput(f"{data.directory}: in tokens of its own, not in those of {files.name}; {hint}")
    ready = fitted(path, bos=facts["bos"], digits=facts["digits"])
    digest = sha256(saved(ready))
    if digest != data.tokenizer_sha256:
        raise BadInput(f"{data.directory}: not in the tokens of {files.name}; {hint}")
    n_ids, bos = getattr(config, "vocab_size", 0), ready.facts["exchanged"][1]
    if max(ready.tokenizer.get_vocab_size() - 1, bos) >= n_ids:
        raise BadInput(
            f"{files.name}: embeds {n_ids:,} ids, the data have {ready.tokenizer.get_vocab_size():,}; where a BOS was "
            "added to the tokenizer, set bos to one of its own"
        )
    separator = None
    for name in ("[SEP]", "</s>"):
        found = ready.tokenizer.token_to_id(name)
        separator = found if separator is None and found not in (None, 0) else separator
    return Tokens(digest, bos, None if separator is None else {bos: 0}.get(separator, separator))
