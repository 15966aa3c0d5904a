"""Training steps that `benchmarks/train.py` races: polysem's, TransformerLens', and a nanoGPT-like model's.

A contestant is a function that takes a number of steps. All read the same rows of the same data and clip the
gradient where polysem does; TransformerLens' is the plain loop of a user, without clipping.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.activations import ACTIVATIONS
from train.config import ModelConfig, ModelSpec, OptimConfig, RunConfig, TrainConfig
from train.data.tokens import TokenFile
from train.loop import Training, train
from train.loss import NextTokenLoss
from train.model import Transformer
from train.optim import build_optimizer
from train.processes import make_accelerator
from train.products import product
from train.tracking import Metrics

RATE = 1e-3
Advance = Callable[[int], None]
"""Takes that many optimizer steps."""


class Rows(Protocol):
    """Where rows of tokens come from: a TokenFile, or random ones."""

    @property
    def n_ctx(self) -> int:
        """Predicted tokens a row."""
        ...

    @property
    def d_vocab(self) -> int:
        """Different tokens."""
        ...

    def rows_at(self, seed: int, first: int, count: int) -> Tensor:
        """Rows `first` to `first + count`, [count, n_ctx + 1]."""
        ...


@dataclass(frozen=True)
class RandomRows:
    """Random tokens, for shapes that no prepared data has; the same few rows over and over."""

    n_ctx: int
    d_vocab: int

    @cached_property
    def _rows(self) -> Tensor:
        return torch.randint(self.d_vocab, (64, self.n_ctx + 1), generator=torch.Generator().manual_seed(0))

    def rows_at(self, seed: int, first: int, count: int) -> Tensor:
        """As `TokenFile.rows_at`."""
        return self._rows[(torch.arange(first, first + count) + seed) % len(self._rows)]


@dataclass(frozen=True)
class Shape:
    """A model of the race; n_ctx and vocabulary are the data's, or its own where tokens are random."""

    act: str
    d_mlp: int
    steps: int
    """Steps of a window."""
    n_layers: int = 1
    d_model: int = 128
    n_heads: int = 4
    rows: int = 16
    """Rows of a step."""
    random: tuple[int, int] | None = None
    """n_ctx and vocabulary, where tokens are random; None: the prepared data's."""

    def source(self, data: Path) -> Rows:
        """The rows that contestants train on."""
        return RandomRows(*self.random) if self.random else TokenFile.open(data)

    def config(self, tokens: Rows) -> ModelConfig:
        """The polysem model of this shape."""
        return ModelConfig(
            n_layers=self.n_layers,
            d_model=self.d_model,
            n_heads=self.n_heads,
            n_ctx=tokens.n_ctx,
            d_vocab=tokens.d_vocab,
            act=self.act,  # type: ignore[arg-type]
            widths=(self.d_mlp,) * self.n_layers,
        )


SHAPES = {
    "A": Shape("gelu_new", 512, steps=10),
    "B": Shape("relu", 12_800, steps=3),
    "C": Shape("solu_ln", 512, steps=10),
    "D": Shape("solu_ln", 12_800, steps=2),
    "quickstart": Shape("gelu_new", 256, steps=10, d_model=64),
    "paper": Shape("gelu_new", 2048, steps=10, d_model=512, n_heads=8, rows=32, random=(1024, 48_262)),
    "paper-wide": Shape("gelu_new", 51_200, steps=4, d_model=512, n_heads=8, rows=32, random=(1024, 48_262)),
    "tiny": Shape("gelu_new", 64, steps=2, d_model=32, n_heads=2, rows=4, random=(32, 300)),
}
"""`paper` and `paper-wide` are for a GPU: 32,768 tokens a step. `tiny` shows that the benchmark itself runs."""


def flops_per_token(config: ModelConfig) -> float:
    """Of one training step's matrix products, a multiplication and an addition each; causal attention halved."""
    d = config.d_model
    matrices = d * config.d_vocab + sum(4 * d * d + 2 * d * width for width in config.widths)
    return 6 * matrices + 6 * config.n_layers * config.n_ctx * d


def autocast(precision: str, device: str) -> AbstractContextManager[object]:
    """The arithmetic of a peer's forward pass."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")


def bare_step(shape: Shape, tokens: Rows, precision: str, device: str, compiled: bool) -> Advance:
    """polysem's model, loss and optimizer on rows already in memory: no data, logs or accelerate."""
    model = Transformer(shape.config(tokens)).to(device)
    loss_module, config = NextTokenLoss(model), OptimConfig(lr=RATE)
    if compiled:
        loss_module.compile()
    optimizer = build_optimizer(model, config, {})
    rows = tokens.rows_at(0, 0, shape.rows).to(device)

    def advance(n_steps: int) -> None:
        for _ in range(n_steps):
            with autocast(precision, device):
                loss = loss_module(rows)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return advance


def loop(shape: Shape, tokens: Rows, precision: str, device: str, gate: Callable[[], None]) -> None:
    """`train.loop.train` itself, with data, rates, log lines and accelerate; never returns.

    Evaluation and checkpoints are left out: none is due but a resume point at the end of every window, whose writing
    is replaced by `gate`, which ends the window and waits for the next.
    """
    config = RunConfig(
        data="benchmark",
        model=ModelSpec(
            act=shape.act,  # type: ignore[arg-type]
            n_layers=shape.n_layers,
            d_model=shape.d_model,
            n_heads=shape.n_heads,
            n_ctx=tokens.n_ctx,
            widths=(shape.d_mlp,) * shape.n_layers,
        ),
        optim=OptimConfig(lr=RATE),
        train=TrainConfig(
            tokens=10**12,
            rows_per_step=shape.rows,
            precision=precision,  # type: ignore[arg-type]
            device="cpu" if device == "cpu" else "auto",
            eval_every=10**9,
            checkpoint_every=shape.steps,
        ),
    )

    def save(run: Training) -> None:
        if run.step % shape.steps == 0:
            gate()

    unused: Any = tokens  # evaluation is never due
    with tempfile.TemporaryDirectory() as directory:
        accelerator = make_accelerator(config)
        model = Transformer(shape.config(tokens)).train().to(accelerator.device)
        training = Training(
            config=config,
            directory=Path(directory),
            accelerator=accelerator,
            model=model,
            optimizer=build_optimizer(model, config.optim, {}),
            fit=unused,
            held_out=unused,
            baselines=unused,
            save=save,
            step=600 // shape.steps * shape.steps,  # past the permanent checkpoints of a run's beginning
            metrics=Metrics(Path(directory, "metrics.jsonl"), 0, None),
        )
        train(training)


def transformer_lens(shape: Shape, tokens: Rows, precision: str, device: str) -> Advance:
    """A native bridge trained as its documentation does: return_type="loss", AdamW."""
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    config = TransformerBridgeConfig(
        d_model=shape.d_model,
        d_head=shape.d_model // shape.n_heads,
        n_layers=shape.n_layers,
        n_ctx=tokens.n_ctx,
        n_heads=shape.n_heads,
        d_vocab=tokens.d_vocab,
        d_mlp=shape.d_mlp,
        act_fn=shape.act,
        normalization_type="LN",
        architecture="TransformerLensNative",
        seed=0,
    )
    bridge = TransformerBridge.boot_native(config)  # type: ignore[attr-defined]  # attached at import
    bridge.to(device)
    bridge.train()
    optimizer = torch.optim.AdamW(bridge.parameters(), lr=RATE)
    row = 0

    def advance(n_steps: int) -> None:
        nonlocal row
        for _ in range(n_steps):
            rows = tokens.rows_at(0, row, shape.rows).to(device)
            row += shape.rows
            with autocast(precision, device):
                loss = bridge(rows[:, :-1], return_type="loss")
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return advance


class PeerBlock(nn.Module):
    """A GPT-2 block as nanoGPT describes it: one qkv matrix, fused attention, a two-matrix MLP."""

    def __init__(self, shape: Shape):
        super().__init__()
        d, activation = shape.d_model, ACTIVATIONS[shape.act]
        self.n_heads = shape.n_heads
        self.ln_1, self.ln_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.c_attn, self.c_proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, shape.d_mlp), nn.Linear(shape.d_mlp, d)
        self.mid = nn.LayerNorm(shape.d_mlp) if activation.mid_ln else nn.Identity()
        self.activation = activation.function

    def forward(self, x: Tensor) -> Tensor:
        """[batch pos d_model] in and out."""
        batch, pos, d = x.shape
        split = self.c_attn(self.ln_1(x)).split(d, dim=2)
        q, k, v = (part.view(batch, pos, self.n_heads, d // self.n_heads).transpose(1, 2) for part in split)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(mixed.transpose(1, 2).contiguous().view(batch, pos, d))
        return x + self.down(self.mid(self.activation(self.up(self.ln_2(x)))))


class Peer(nn.Module):
    """A plain PyTorch GPT of the same shape: all logits at once, the library's cross-entropy."""

    def __init__(self, shape: Shape, tokens: Rows):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(tokens.d_vocab, shape.d_model), nn.Embedding(tokens.n_ctx, shape.d_model)
        self.blocks = nn.ModuleList(PeerBlock(shape) for _ in range(shape.n_layers))
        self.ln_f = nn.LayerNorm(shape.d_model)
        self.lm_head = nn.Linear(shape.d_model, tokens.d_vocab, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, idx: Tensor, targets: Tensor) -> Tensor:
        """The mean loss."""
        x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1], device=idx.device))
        for block in self.blocks:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


def peer(shape: Shape, tokens: Rows, precision: str, device: str, compiled: bool) -> Advance:
    """The nanoGPT-like loop: fused AdamW with decay of matrices, clipping."""
    model = Peer(shape, tokens).to(device)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95), fused=True)
    forward = torch.compile(model) if compiled else model
    row = 0

    def advance(n_steps: int) -> None:
        nonlocal row
        for _ in range(n_steps):
            rows = tokens.rows_at(0, row, shape.rows).to(device)
            row += shape.rows
            with autocast(precision, device):
                loss = forward(rows[:, :-1], rows[:, 1:])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return advance


def matrix_peak(precision: str, device: str) -> Advance:
    """Steps that are products of square matrices, in the arithmetic of the race, by the faster library."""
    size = MATRIX[device]
    a = torch.ones(size, size, dtype=torch.bfloat16 if precision == "bf16" else torch.float32, device=device)

    def advance(n_steps: int) -> None:
        for _ in range(n_steps):
            product(a, a)

    return advance


MATRIX = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of the matrices whose products show the peak."""


def build(name: str, shape: Shape, data: Path, precision: str, device: str) -> Advance:
    """The contestant `name`, but for "polysem, train run" and Trainer, which have loops of their own."""
    tokens = shape.source(data)
    torch.manual_seed(0)
    match name.split(",", maxsplit=1)[0]:
        case "matrix products":
            return matrix_peak(precision, device)
        case "TransformerLens":
            return transformer_lens(shape, tokens, precision, device)
        case "nanoGPT-like":
            return peer(shape, tokens, precision, device, compiled="compiled" in name)
        case "polysem":
            return bare_step(shape, tokens, precision, device, compiled="compiled" in name)
    raise ValueError(name)


def quiet_stdout() -> int:
    """A descriptor of the real standard output; what libraries print goes to standard error from now on."""
    own = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return own
