"""GPT-2 and Trainer as transformers ships them, for `benchmarks/train.py`: a model of equal shape in their loop."""

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.contestants import RATE, Rows, Shape
from train.activations import ACTIVATIONS


class Examples(Dataset[dict[str, Tensor]]):
    """Rows as Trainer takes them; the model shifts the labels itself."""

    def __init__(self, tokens: Rows):
        self.tokens = tokens

    def __len__(self) -> int:
        return 2**20

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = self.tokens.rows_at(0, index, 1)[0, : self.tokens.n_ctx]
        return {"input_ids": row, "labels": row}


class Activation(nn.Module):
    """An activation that GPT-2 has no name for, with its LayerNorm."""

    def __init__(self, act: str, d_mlp: int):
        super().__init__()
        self.function = ACTIVATIONS[act].function
        self.ln = nn.LayerNorm(d_mlp) if ACTIVATIONS[act].mid_ln else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[batch pos d_mlp] in and out."""
        return self.ln(self.function(x))


def trainer(shape: Shape, tokens: Rows, precision: str, device: str, gate: Callable[[], None]) -> None:
    """`Trainer.train`, which calls `gate` after every window; never returns."""
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

    torch.manual_seed(0)
    known = shape.act in ("relu", "gelu_new")
    config = GPT2Config(
        vocab_size=tokens.d_vocab,
        n_positions=tokens.n_ctx,
        n_embd=shape.d_model,
        n_layer=shape.n_layers,
        n_head=shape.n_heads,
        n_inner=shape.d_mlp,
        activation_function=shape.act if known else "gelu_new",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    if not known:
        for module in model.modules():
            if type(module).__name__ == "GPT2MLP":
                module.act = Activation(shape.act, shape.d_mlp)

    class Windows(TrainerCallback):
        """Ends a window."""

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step % shape.steps == 0:
                gate()

    with tempfile.TemporaryDirectory() as directory:
        arguments = TrainingArguments(
            output_dir=directory,
            max_steps=10**9,
            per_device_train_batch_size=shape.rows,
            learning_rate=RATE,
            bf16=precision == "bf16",
            use_cpu=device == "cpu",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        Trainer(model=model, args=arguments, train_dataset=Examples(tokens), callbacks=[Windows()]).train()
