"""A run's directory: what starts it, what it goes on from, what it leaves."""

import os
import platform
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from train.card import model_card
from train.checkpoint import Checkpoint, load, save_checkpoint, step_directory, steps, verified_steps
from train.config import RunConfig
from train.configfile import differences, read_toml, to_toml, validate
from train.data.baselines import fit_baselines
from train.data.resolve import ensure_data
from train.data.tokens import TokenFile
from train.errors import BadInput, EnvironmentProblem
from train.files import locked, remove_directory, require_space, sha256, write_atomic
from train.lineage import Lineage
from train.loop import Training, is_permanent, steps_of, train
from train.memory import free_memory, to_train, to_widen
from train.model import Transformer
from train.optim import Widened, build_optimizer
from train.tracking import Metrics
from train.widening.moments import initial_moments, moments_of, set_moments
from train.widening.widen import RECEIPT_ROWS, widen, widened_config

if TYPE_CHECKING:
    from accelerate import Accelerator

MAY_DIFFER = frozenset({"train.wandb", "train.device", "train.log_every"})
"""Keys that a resumed run may change: they do not touch its numbers."""

PATIENCE = timedelta(seconds=30)
"""How long a process waits for another before it gives up: a dead one ends all of them."""


@dataclass(frozen=True)
class Outcome:
    """What `run` did: the run's directory, whether it was there already, and its last checkpoint."""

    directory: Path
    found: bool
    checkpoint: Checkpoint

    def line(self) -> str:
        """The outcome in one line."""
        state = self.checkpoint.state
        evaluation = state["evaluation"]
        text = (
            f"{'found' if self.found else 'wrote'} {self.directory}: step {state['step']}, {state['tokens']:,} tokens, "
            f"held-out loss {evaluation['loss']:.4f} nats (unigram {evaluation['unigram']:.4f}, "
            f"bigram {evaluation['bigram']:.4f})"
        )
        lineage = self.checkpoint.lineage
        return text if lineage is None else f"{text}; widened {lineage.factor}x, {lineage.receipt.line()}"


def run(config: RunConfig, out: Path) -> Outcome:
    """Train a model from a run's config, or go on where an earlier start of the same command stopped.

    Raises:
        BadInput: the config does not fit its data, its start, or what `out` already holds.
        EnvironmentProblem: `out` cannot be written, or the processes asked for are not there.
        Diverged, Stopped: see `train.loop.train`.
    """
    out = out.resolve() if out.name in ("", "..") else out  # the run is called after its directory
    accelerator = make_accelerator(config)
    data = ensure_data(config.data)
    if not accelerator.is_main_process:
        return _run(config, out, data, accelerator)
    with locked(out):
        return _run(config, out, data, accelerator)


def _run(config: RunConfig, out: Path, data: Path, accelerator: "Accelerator") -> Outcome:
    resumed = _existing(config, out)
    start = load(config.start) if config.start is not None else None
    fit, held_out = (TokenFile.open(data, split=split, n_ctx=_n_ctx(config, start)) for split in ("fit", "eval"))
    _check_data(config, fit, start, resumed)
    accelerator.wait_for_everyone()
    _require_memory(config, fit, start, resumed, accelerator)
    model, lineage, widened = _build_model(config, fit, held_out, start, resumed)
    _freeze(model, config)
    optimizer = build_optimizer(model, config.optim, widened)
    model.to(accelerator.device)
    set_moments(model, optimizer, initial_moments(config, start, resumed, model))
    is_main = accelerator.is_main_process
    if is_main and resumed is None:
        require_space(out, 2 * 12 * model.config.n_params)
        write_atomic(out / "run.toml", to_toml(config).encode())
    facts = _facts(config, out, fit, start, model, accelerator)
    training = Training(
        config=config,
        directory=out,
        accelerator=accelerator,
        model=model,
        optimizer=optimizer,
        fit=fit,
        held_out=held_out,
        baselines=fit_baselines(fit),
        save=_saver(facts, (data / "tokenizer.json").read_bytes(), lineage),
        step=0 if resumed is None else resumed.step,
        first_row=facts["first_row"],
        evaluation=None if resumed is None else resumed.state["evaluation"],
    )
    if resumed is not None and resumed.step >= training.n_steps:
        return _finish(Outcome(out, found=True, checkpoint=resumed), config, is_main)
    if is_main:
        offset = 0 if resumed is None else resumed.state["log_offset"]
        mirror = _start_tracker(config, out, accelerator)
        training.metrics = Metrics(out / "metrics.jsonl", offset, mirror)
    try:
        train(training)
    finally:
        if training.metrics is not None:
            training.metrics.close()
            if config.train.wandb != "off":
                accelerator.end_training()
    accelerator.wait_for_everyone()
    return _finish(Outcome(out, found=False, checkpoint=load(out)), config, is_main)


def _finish(outcome: Outcome, config: RunConfig, is_main: bool) -> Outcome:
    """Leave the model card, unless it is there."""
    card = outcome.directory / "README.md"
    if is_main and not (outcome.found and card.exists()):
        write_atomic(card, model_card(outcome.checkpoint, config).encode())
    return outcome


def make_accelerator(config: RunConfig) -> "Accelerator":
    """An Accelerator that is what the config and the launcher asked for, checked.

    Raises:
        EnvironmentProblem: fewer processes than the launcher announced.
        BadInput: rows that do not divide among processes and accumulation passes.
    """
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    cpu = config.train.device == "cpu" or not torch.cuda.is_available()
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision="bf16" if config.train.precision == "bf16" else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        log_with="wandb" if config.train.wandb != "off" else None,
    )
    announced = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != announced:
        raise EnvironmentProblem(f"{announced} processes announced, accelerate runs {accelerator.num_processes}")
    pieces = config.train.accumulate * accelerator.num_processes
    if config.train.rows_per_step % pieces:
        raise BadInput(
            f"train.rows_per_step: {config.train.rows_per_step} rows do not divide into train.accumulate = "
            f"{config.train.accumulate} x {accelerator.num_processes} processes"
        )
    return accelerator


def _existing(config: RunConfig, out: Path) -> Checkpoint | None:
    """The checkpoint that an earlier start of this run left, after checking that it is this run."""
    record = out / "run.toml"
    if not record.exists():
        if steps(out) or (out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir())):
            raise BadInput(f"{out}: is taken by something that is not a run; choose another --out")
        return None
    before = validate(RunConfig, read_toml(record), str(record))
    for key, (old, new) in differences(before.model_dump(mode="json"), config.model_dump(mode="json")).items():
        if key not in MAY_DIFFER:
            raise BadInput(
                f"{out}: holds a run with {key} = {old!r}, now {new!r}; choose another --out or the same config"
            )
    return next(verified_steps(out), None)


def _n_ctx(config: RunConfig, start: Checkpoint | None) -> int:
    if start is not None:
        return start.config.n_ctx
    assert config.model is not None
    return config.model.n_ctx


def _check_data(config: RunConfig, fit: TokenFile, start: Checkpoint | None, resumed: Checkpoint | None) -> None:
    """Refuse data that the weights were not made for."""
    if start is not None and start.state["data"]["tokenizer_sha256"] != fit.tokenizer_sha256:
        raise BadInput(f"data: the tokenizer of {fit.directory} is not the one of {start.directory}")
    if resumed is not None:
        if resumed.state["data"]["hash"] != fit.data_hash:
            raise BadInput(f"data: {fit.directory} has changed since {resumed.directory} was written")
        before, now = resumed.state["start"], None if start is None else start.hash
        if (None if before is None else before["hash"]) != now:
            raise BadInput(f"start: {config.start} has changed since {resumed.directory} was written")


def _require_memory(
    config: RunConfig, fit: TokenFile, start: Checkpoint | None, resumed: Checkpoint | None, accelerator: "Accelerator"
) -> None:
    """Refuse a run that would not fit, before anything large is made.

    Raises:
        EnvironmentProblem: naming the figure, what is free and what to lower.
    """
    if resumed is not None and resumed.step >= steps_of(config, fit.n_ctx):
        return
    if start is None:
        assert config.model is not None
        shape, lower = config.model.resolve(fit.d_vocab), "model.mlp_ratio"
    else:
        shape, lower = start.config, "train.rows_per_step"
        if config.widen is not None:
            shape, lower = widened_config(start.config, config.widen), "widen.factor"
            if resumed is None:
                free = free_memory() // accelerator.num_processes
                to_widen(start.config, shape).require("widen: widening", free, "lower widen.factor")
    blank = Transformer(shape, seed=None)  # pages that nobody writes to take no memory
    _freeze(blank, config)
    n_trained = sum(parameter.numel() for parameter in blank.parameters() if parameter.requires_grad)
    passes = config.train.accumulate * accelerator.num_processes
    need = to_train(shape, n_trained, config.train.rows_per_step // passes * fit.n_ctx, config.optim.l1 > 0)
    on_cpu = accelerator.device.type == "cpu"
    free = free_memory(accelerator.device) // (accelerator.num_processes if on_cpu else 1)
    need.require("train: a process", free, f"raise train.accumulate or lower {lower}")


def _build_model(
    config: RunConfig,
    fit: TokenFile,
    held_out: TokenFile,
    start: Checkpoint | None,
    resumed: Checkpoint | None,
) -> tuple[Transformer, Lineage | None, Widened]:
    widened = _widened(config, start)
    if resumed is not None:
        return resumed.model().train(), resumed.lineage, widened
    if start is None:
        assert config.model is not None
        return Transformer(config.model.resolve(fit.d_vocab), config.seed).train(), None, widened
    if config.widen is None:
        return start.model().train(), start.lineage, widened
    widened_config(start.config, config.widen)
    rows = held_out.plain_rows(0, min(RECEIPT_ROWS, held_out.n_rows))
    model, lineage = widen(start.model(), config.widen, rows)
    return model.train(), lineage.of(start.hash, start.lineage), widened


def _widened(config: RunConfig, start: Checkpoint | None) -> Widened:
    """The widenings that this run trains: its own, and those that its start descends from."""
    copies = {} if start is None or start.lineage is None else start.lineage.copies
    if start is not None and config.widen is not None and config.widen.copies == "tiled":
        for layer in config.widen.layers_in(start.config.n_layers):
            copies[layer] = copies.get(layer, 1) * config.widen.factor
    return Widened(copies)


def trainable_pattern(config: RunConfig) -> tuple[str, ...]:
    """Globs over parameter names that train: as given, else the widened MLPs, else everything."""
    if config.trainable is not None:
        return (config.trainable,)
    if config.widen is not None:
        layers = ("*",) if config.widen.layers == "all" else config.widen.layers
        return tuple(f"layers.{layer}.mlp.*" for layer in layers)
    return ("*",)


def _freeze(model: Transformer, config: RunConfig) -> None:
    patterns = trainable_pattern(config)
    names = [name for name, _ in model.named_parameters()]
    if not any(fnmatchcase(name, pattern) for name in names for pattern in patterns):
        raise BadInput(f"trainable: {' '.join(patterns)!r} matches no parameter; there are {', '.join(names)}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(fnmatchcase(name, pattern) for pattern in patterns))


def _facts(
    config: RunConfig,
    out: Path,
    fit: TokenFile,
    start: Checkpoint | None,
    model: Transformer,
    accelerator: "Accelerator",
) -> dict[str, Any]:
    """What every checkpoint of the run says of itself."""
    variant = config.variant or out.name.removesuffix(f"-s{config.seed}")
    origin = None
    if start is not None:
        origin = {
            "hash": start.hash,
            "run": start.state["run"],
            "step": start.step,
            "directory": str(start.directory),
        }
    same_data = start is not None and start.state["data"]["hash"] == fit.data_hash
    return {
        "run": out.name,
        "variant": variant,
        "root_variant": variant if start is None else start.state["root_variant"],
        "seed": config.seed,
        "n_params": model.config.n_params,
        "n_trained_params": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "start": origin,
        "tokens_before": 0 if start is None else start.state["tokens_before"] + start.state["tokens"],
        "first_row": start.state["rows_read"] if start is not None and same_data else 0,
        "factor": (1 if start is None else start.state["factor"]) * (config.widen.factor if config.widen else 1),
        "data": {
            "hash": fit.data_hash,
            "directory": str(fit.directory),
            "tokenizer_sha256": fit.tokenizer_sha256,
        },
        "config_sha256": sha256(to_toml(config).encode()),
        # Compiled kernels may sum in another order from run to run.
        "exact": not config.train.compile,
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "machine": platform.machine(),
            "device": str(accelerator.device),
            "processes": accelerator.num_processes,
            "threads": torch.get_num_threads(),
        },
    }


def _saver(facts: dict[str, Any], tokenizer_json: bytes, lineage: Lineage | None) -> Any:
    def save(training: Training) -> None:
        problem: list[str | None] = [None]
        if training.is_main:
            assert training.metrics is not None
            n_rows = training.step * training.config.train.rows_per_step
            state = {
                **facts,
                "step": training.step,
                "tokens": training.step * training.tokens_per_step,
                "rows_read": training.first_row + n_rows,
                "evaluation": training.evaluation,
                "log_offset": training.metrics.sync(),
            }
            moments = moments_of(training.model, training.optimizer)
            try:
                save_checkpoint(training.directory, training.model, moments, state, tokenizer_json, lineage)
                _retain(training.directory, training.n_steps)
            except OSError as failure:
                problem = [f"{training.directory}: step {training.step} was not saved ({failure.strerror or failure})"]
        if training.accelerator.num_processes > 1:
            from accelerate.utils import broadcast_object_list

            problem = broadcast_object_list(problem)
        if problem[0] is not None:
            raise EnvironmentProblem(problem[0])

    return save


def _retain(run_directory: Path, last: int) -> None:
    """Delete resume points that are neither permanent nor among the last two."""
    present = steps(run_directory)
    for step in present[:-2]:
        if not is_permanent(step) and step != last:
            remove_directory(step_directory(run_directory, step))


def _start_tracker(config: RunConfig, out: Path, accelerator: "Accelerator") -> "Accelerator | None":
    if config.train.wandb == "off":
        return None
    try:
        accelerator.init_trackers(
            "polysem",
            config=config.model_dump(mode="json"),
            init_kwargs={"wandb": {"mode": config.train.wandb, "dir": str(out), "name": out.name}},
        )
    except Exception as failure:
        print(f"warning: wandb did not start ({failure}); metrics.jsonl is the record", flush=True)
        return None
    return accelerator
