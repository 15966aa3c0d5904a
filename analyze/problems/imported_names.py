"""4.23 on a model that others trained (`hf:...`): a look at one model, which has no seeds and no untrained step."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from analyze.models.opened import OpenedModel, model_files, open_model
from analyze.problems.base import Measurement
from analyze.problems.name_task import Shift, Size, measure_names, shifted
from analyze.problems.store import finite
from analyze.problems.verdict import judge_one
from analyze.tables import number
from train.data.name_sentences import NameSentences
from train.data.tokenizer import load_tokenizer
from train.errors import BadInput
from train.files import write_atomic

SIZE = Size(wordings=2, prompts=48, draws=5, steps=8)
MOST_NAMES = 12
"""A name takes dimensions of its own: half the sentences must hold every name."""
LAYERS = 4
"""Before so many layers, spread evenly, the residual stream is looked at."""


class _Enough(Exception):
    """The forward pass has come as far as it was needed."""


@dataclass(frozen=True)
class ImportedModel:
    """A causal model of one stack whose unembedding is its embedding; ids are its own, but for BOS."""

    opened: OpenedModel
    bos: int

    @classmethod
    def of(cls, opened: OpenedModel) -> "ImportedModel":
        """Of an opened model.

        Raises:
            BadInput: a model that predicts no next token, or with an unembedding of its own, which is not opened, or
                without a token that begins rows.
        """
        name = opened.files.name
        if opened.adapter.masked or len(opened.adapter.stacks) != 1:
            raise BadInput(f"{name}: predicts no next token; problem 4.23 needs a causal model")
        if not getattr(opened.config, "tie_word_embeddings", False):
            raise BadInput(f"{name}: has an unembedding of its own, which is not opened; problem 4.23 cannot read it")
        config = opened.config
        bos = next((each for each in (config.bos_token_id, config.eos_token_id) if isinstance(each, int)), -1)
        if not 0 <= bos < config.vocab_size:
            raise BadInput(f"{name}: its config names no bos_token_id among its {config.vocab_size:,} ids")
        return cls(opened, bos)

    @property
    def layers(self) -> list[nn.Module]:
        """In order."""
        return self.opened.layers(self.opened.adapter.stacks[0])

    @property
    def d_model(self) -> int:
        """Dimensions of the residual stream."""
        return self._embedding.shape[1]

    @property
    def _embedding(self) -> Tensor:
        weight = self.opened.model.get_input_embeddings().weight  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        assert isinstance(weight, Tensor)
        return weight

    @torch.no_grad()
    def residual(self, tokens: Int[Tensor, "prompt pos"], layer: int) -> Float[Tensor, "prompt pos d"]:
        """The residual stream before a layer."""
        seen: list[Tensor] = []

        def keep(values: Tensor) -> Tensor:
            seen.append(values.clone())
            raise _Enough

        with self._before(layer, keep), suppress(_Enough):
            self.opened.model(input_ids=self._own(tokens))
        return seen[0]

    def last_logits(self, tokens: Int[Tensor, "prompt pos"], shift: Shift | None = None) -> Float[Tensor, "prompt id"]:
        """Logits at the last position."""
        if shift is None:
            return self._logits(tokens)
        with self._before(shift.layer, lambda values: shifted(values, shift)):
            return self._logits(tokens)

    def _logits(self, tokens: Int[Tensor, "prompt pos"]) -> Float[Tensor, "prompt id"]:
        last = self.opened.model(input_ids=self._own(tokens)).last_hidden_state[:, -1]
        return last @ self._embedding.T

    def _own(self, tokens: Int[Tensor, "prompt pos"]) -> Int[Tensor, "prompt pos"]:
        own = tokens.clone()
        own[:, 0] = self.bos
        return own

    @contextmanager
    def _before(self, layer: int, edit: Callable[[Tensor], Tensor]) -> Iterator[None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            return (edit(inputs[0]), *inputs[1:])

        handle = self.layers[layer].register_forward_pre_hook(hook)
        try:
            yield
        finally:
            handle.remove()


def look_at(name: str, out: Path, size: Size = SIZE, say: Callable[[str], None] = print) -> Measurement:
    """Measure `hf:...` and write OUT/4.23/looks/<model>.json.

    Raises:
        BadInput: a model that cannot be asked: see `ImportedModel.of`, `analyze.models.opened`, `NameSentences.of`.
    """
    from analyze.problems import PROBLEMS

    files = model_files(name)
    sentences = NameSentences.of(load_tokenizer(files.tokenizer()), name)
    sentences = replace(sentences, names=sentences.names[:MOST_NAMES])
    opened = open_model(files)
    opened.model.requires_grad_(False)
    model = ImportedModel.of(opened)
    n = len(model.layers)
    layers = sorted({round(n * i / LAYERS) for i in range(1, LAYERS)} | {n - 1})
    found = measure_names(model, sentences, layers, size)
    word = judge_one(PROBLEMS["4.23"].rule, found)
    about = f"{files.run} ({files.quantized})" if files.quantized else files.run
    record = {
        "model": about,
        "hash": files.hash,
        "by the rule, this model alone": word,
        "why_not": found.why_not,
        "statistic": finite(found.statistic),
        "null": [float(each) for each in found.null],
        "details": {key: finite(value) for key, value in found.details.items()},
        "curve": {key: table.to_dict(as_series=False) for key, table in found.tables.items()},
    }
    place = out / "4.23" / "looks" / f"{files.run}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(place, json.dumps(record, indent=1, allow_nan=False).encode() + b"\n")
    what = found.why_not or (
        f"{number(found.statistic, 3)} of the dimensions turn 90 % of the answer, {number(found.null.mean(), 3)} of "
        f"random ones; before layer {found.details['layer']:.0f}, {found.details['dimensions for 90 %']:.0f} dimensions"
    )
    say(f"4.23 {about}: {what} (one model: a look, not a verdict)")
    say(f"wrote {place}")
    return found
