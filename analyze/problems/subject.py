"""What a problem's program reads: one model, the same model untrained, and held-out rows of its own data."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from train.checkpoint import Checkpoint, open_step, steps
from train.config import ModelConfig
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.locate import find_data
from train.model import Transformer

ROWS = 512
"""Held-out rows that a program reads unless it asks for more: 131 k tokens at n_ctx = 256."""


@dataclass(frozen=True)
class Other:
    """Another of the checkpoints that were named, opened when a program wants it."""

    name: str
    variant: str
    seed: int
    config: ModelConfig
    from_scratch: bool
    """Whether it began at random weights, which are a function of its seed."""
    model: Callable[[], Transformer] = field(repr=False)


@dataclass(frozen=True)
class Subject:
    """One model as a problem's program reads it.

    Made from a checkpoint by `of_checkpoint`, or by hand where the truth is planted.
    """

    name: str
    variant: str
    seed: int
    model: Transformer
    untrained: Transformer | None = None
    """The run's step 0; None where it was not kept."""
    rows: Int[Tensor, "row pos_and_one"] | None = None
    """Held-out rows, each BOS and n_ctx tokens, in the order of the text; None where there is none."""
    row_numbers: Int[np.ndarray, " row"] | None = None
    """Which rows of `text_source` they are; None for made-up rows."""
    text_source: TokenFile | None = field(default=None, repr=False)
    """Where the rows come from, for labels and strings; None for made-up rows."""
    planted_labels: Mapping[str, Bool[Tensor, "row pos"]] | None = None
    """Labels of made-up rows, by name, as `labels` gives those of text."""
    planted_strings: tuple[str, ...] | None = None
    """The text of every token id of a made-up vocabulary."""
    step: int = 0
    hash: str = ""
    from_scratch: bool = True
    """Whether it began at random weights, which are a function of its seed."""
    others: tuple[Other, ...] = ()
    """The other checkpoints that were named, where the problem says that it needs them."""

    @cached_property
    def labels(self) -> dict[str, Bool[Tensor, "row pos"]]:
        """Where each label of the bank stands among the positions that the model reads, [row pos] (BOS bears none).

        Raises:
            BadInput: a subject without text.
        """
        if self.planted_labels is not None:
            return dict(self.planted_labels)
        if self.text_source is None or self.row_numbers is None:
            raise BadInput(f"{self.name}: has no text that labels could be read from")
        from analyze.interventions.uses import marks_of
        from analyze.labels.bank import bank_on

        bank, n_ctx = bank_on(self.text_source), self.text_source.n_ctx
        return marks_of(bank, self.row_numbers, n_ctx)

    @cached_property
    def strings(self) -> list[str]:
        """The text of every token id.

        Raises:
            BadInput: a subject without text.
        """
        from tokenizers import Tokenizer

        if self.planted_strings is not None:
            return list(self.planted_strings)
        if self.text_source is None:
            raise BadInput(f"{self.name}: has no tokenizer")
        tokenizer = Tokenizer.from_file(str(self.text_source.directory / "tokenizer.json"))
        return [tokenizer.decode([i], skip_special_tokens=False) for i in range(self.model.config.d_vocab)]


def of_checkpoint(
    checkpoint: Checkpoint, data: Iterable[Path | str] = (), n_rows: int = ROWS, others: Sequence[Checkpoint] = ()
) -> Subject:
    """The subject of a checkpoint: its model, the run's step 0 and held-out rows of the data it was trained on.

    Args:
        data: where to look for the data first (see `train.locate`); without any in reach there are no rows.
        n_rows: held-out rows at most, spread evenly over the text.
        others: further checkpoints of the same data that the program may read.
    """
    facts, state = checkpoint.state["data"], checkpoint.state
    directory = find_data(facts["hash"], facts.get("directory") or "", beside=checkpoint.directory, given=data)
    source = None if directory is None else TokenFile.open(directory, "eval", checkpoint.config.n_ctx)
    n = 0 if source is None else min(n_rows, source.n_rows)
    numbers = np.array([i * source.n_rows // n for i in range(n)] if source else [], dtype=np.int64)
    untrained = None
    run = checkpoint.directory.parent
    if checkpoint.step > 0 and state["start"] is None and 0 in steps(run):
        untrained = open_step(run / f"step-{0:09d}").model().eval().requires_grad_(False)
    return Subject(
        name=f"{state['run']} at step {checkpoint.step:,}",
        variant=state["variant"],
        seed=state["seed"],
        model=checkpoint.model().eval().requires_grad_(False),
        untrained=untrained,
        rows=None if source is None else torch.cat([source.plain_rows(int(i), 1) for i in numbers]),
        row_numbers=None if source is None else numbers,
        text_source=source,
        step=checkpoint.step,
        hash=checkpoint.hash,
        from_scratch=state["start"] is None,
        others=tuple(_other(each) for each in others),
    )


def _other(checkpoint: Checkpoint) -> Other:
    state = checkpoint.state

    def model() -> Transformer:
        return checkpoint.model().eval().requires_grad_(False)

    name = f"{state['run']} at step {checkpoint.step:,}"
    return Other(name, state["variant"], state["seed"], checkpoint.config, state["start"] is None, model)
