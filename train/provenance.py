"""What a checkpoint says of where it comes from: its start, data and machine, and the code that wrote it."""

import importlib.metadata
import platform
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from train import products
from train.checkpoint import Checkpoint
from train.config import RunConfig
from train.data.tokens import TokenFile
from train.files import canonical_json
from train.hashes import sha256
from train.model import Transformer

if TYPE_CHECKING:
    from accelerate import Accelerator

MAY_DIFFER = frozenset({"train.wandb", "train.device", "train.log_every"})
"""Keys that a resumed run may change: they do not touch its numbers."""

BITS_ALONE = frozenset({"train.memory"})
"""Keys that a resumed run may change, and then is no longer exact: they change the last bits of its numbers."""

PATHS = frozenset({"data", "start"})
"""Keys that say where inputs lie. Their hashes are kept, so a resumed run may find the same ones at another path."""


MEMORY, PRODUCTS = "memory", "products"
USUAL = {MEMORY: "save", PRODUCTS: "torch"}
"""What an environment does not say: `train.memory`, and who multiplies its fp32 matrices."""


def run_facts(
    config: RunConfig,
    run: str,
    fit: TokenFile,
    start: Checkpoint | None,
    model: Transformer,
    accelerator: "Accelerator",
    inexact: list[str],
) -> dict[str, Any]:
    """The part of state.json that is the same at every step of a run.

    Args:
        run: name of the run's directory.
        fit: the training tokens.
        start: the checkpoint that the run starts from.
        model: the model as it trains, with its frozen parameters marked.
        inexact: the reasons of `inexact_because`.
    """
    variant = config.variant or run.removesuffix(f"-s{config.seed}")
    same_data = start is not None and start.state["data"]["hash"] == fit.data_hash
    return {
        "run": run,
        "variant": variant,
        "root_variant": variant if start is None else start.state["root_variant"],
        "seed": config.seed,
        "n_params": model.config.n_params,
        "n_trained_params": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "start": None if start is None else start_facts(start),
        "tokens_before": 0 if start is None else tokens_seen(start),
        "first_row": start.state["rows_read"] if start is not None and same_data else 0,
        "factor": (1 if start is None else start.state["factor"]) * (config.widen.factor if config.widen else 1),
        "data": {"hash": fit.data_hash, "directory": str(fit.directory), "tokenizer_sha256": fit.tokenizer_sha256},
        "config_sha256": config_hash(config),
        "exact": not inexact,
        "environment": environment_facts(config, accelerator),
    }


def config_hash(config: RunConfig) -> str:
    """sha256 of what a config says of the result: not of paths, whose contents have hashes, nor of MAY_DIFFER."""
    values = config.model_dump(mode="json", exclude=set(PATHS))
    for key in MAY_DIFFER:
        table, name = key.split(".")
        del values[table][name]
    return sha256(canonical_json(values))


def environment_facts(config: RunConfig, accelerator: "Accelerator") -> dict[str, Any]:
    """The machine, the device, the number of processes that train, and what else decides the last bits."""
    facts = {**machine_facts(), "device": str(accelerator.device), "processes": accelerator.num_processes}
    in_fp32 = config.train.precision != "bf16" and accelerator.device.type == "cpu"
    memory = "recompute" if config.train.memory == "recompute" else "save"
    chosen = {MEMORY: memory, PRODUCTS: products.library() if in_fp32 else "torch"}
    return facts | {key: value for key, value in chosen.items() if value != USUAL[key]}


def inexact_because(
    config: RunConfig, start: Checkpoint | None, resumed: Checkpoint | None, environment: dict[str, Any]
) -> list[str]:
    """Why one uninterrupted process need not give a run's very bits; empty where it does.

    Args:
        resumed: the run's own checkpoint that it goes on from.
        environment: of the processes that train now, `environment_facts`.
    """
    reasons = [] if resumed is None else _inherited(resumed)
    if config.train.compile:
        reasons.append("train.compile: compiled kernels may sum in another order from run to run")
    if environment["processes"] > 1:
        reasons.append(f"{environment['processes']} processes: they sum in another order than one")
    if start is not None and _inherited(start):
        reasons.append(f"start: {start.state['run']} step {start.step} is not exact")
    if resumed is not None:
        before = USUAL | (resumed.state.get("environment") or {})
        for key, now in (USUAL | environment).items():
            was = before.get(key, now)
            if str(was).split(":")[0] != str(now).split(":")[0]:  # cuda:1 computes as cuda:0 does
                reasons.append(f"{key}: {was} up to step {resumed.step}, then {now}")
    return list(dict.fromkeys(reasons))


def _inherited(checkpoint: Checkpoint) -> list[str]:
    """The reasons that a checkpoint hands on; earlier versions wrote none, and called several processes exact."""
    reasons = checkpoint.inexact
    n_processes = (checkpoint.state.get("environment") or {}).get("processes", 1)
    if not reasons and n_processes > 1:
        reasons = [f"{n_processes} processes: they sum in another order than one"]
    if not reasons and not checkpoint.state.get("exact", True):
        reasons = [f"step {checkpoint.step} is not exact"]
    return reasons


def machine_facts() -> dict[str, Any]:
    """What decides the last bits of a result beside the code: interpreter, torch, processor and threads."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def start_facts(start: Checkpoint) -> dict[str, Any]:
    """Which checkpoint a run starts from, as its own checkpoints name it."""
    return {"hash": start.hash, "run": start.state["run"], "step": start.step, "directory": str(start.directory)}


def tokens_seen(checkpoint: Checkpoint) -> int:
    """Tokens that a checkpoint's weights were trained on, its ancestors' included."""
    return checkpoint.state["tokens_before"] + checkpoint.state["tokens"]


@cache
def code_facts() -> dict[str, Any]:
    """Which polysem runs: its version, its commit and, in a git clone, whether tracked files differ from it.

    A fact that cannot be had is left out. A checkpoint records these without hashing them: another commit that
    computes the same weights makes the same checkpoint.
    """
    facts: dict[str, Any] = {}
    with suppress(importlib.metadata.PackageNotFoundError):
        facts["version"] = importlib.metadata.version("polysem")
    root = Path(__file__).resolve().parents[1]
    built_from = root / "train" / "commit.txt"  # setup.py writes it into wheels
    if built_from.is_file():
        facts["commit"] = built_from.read_text(encoding="utf-8").strip()
    elif (root / ".git").exists():
        with suppress(OSError, subprocess.SubprocessError):
            facts["commit"] = _git(root, "rev-parse", "HEAD")
            facts["dirty"] = bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    return facts


def _git(root: Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
