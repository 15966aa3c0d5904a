"""One training run from start to finish: what it starts from, what it goes on from, what it leaves."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train import hub, tl_files
from train.card import model_card
from train.checkpoint import Checkpoint, load, require_run_name, save_checkpoint, step_directory, steps, verified_steps
from train.config import ModelConfig, RunConfig
from train.configfile import differences, load_config, read_toml, to_toml, validate
from train.data.baselines import fit_baselines
from train.data.made_rows import made_rows
from train.data.resolve import ensure_data
from train.data.tokens import TokenFile
from train.errors import BadInput, EnvironmentProblem
from train.files import locked, remove_directory, write_atomic
from train.filesystem import require_space
from train.lineage import Lineage
from train.locate import DATA_VARIABLE, find_data, find_step
from train.loop import Training, is_permanent, steps_of, train
from train.memory import Need, free_memory, room_on, settled_memory, to_train, to_widen
from train.model import Transformer
from train.optim import build_optimizer
from train.precision import with_settled_precision
from train.processes import accelerated, require_one_run
from train.provenance import (
    BITS_ALONE,
    MAY_DIFFER,
    PATHS,
    code_facts,
    config_hash,
    environment_facts,
    inexact_because,
    run_facts,
)
from train.tracking import METRICS, Metrics, Mirror
from train.widening.moments import initial_moments, moments_of, set_moments
from train.widening.widen import RECEIPT_ROWS, widen, widened_config

if TYPE_CHECKING:
    from accelerate import Accelerator


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


@dataclass(frozen=True)
class Inputs:
    """What a run reads, opened and checked."""

    config: RunConfig
    fit: TokenFile
    held_out: TokenFile
    start: Checkpoint | None
    """The checkpoint that the run starts from."""
    resumed: Checkpoint | None
    """The run's own newest checkpoint, where an earlier start of the same command left some."""

    @property
    def is_finished(self) -> bool:
        """Whether the run has taken its last step."""
        return self.resumed is not None and self.resumed.step >= steps_of(self.config, self.fit.n_ctx)


def run(config: RunConfig | str | Path, out: str | Path, say: Callable[[str], None] = lambda line: None) -> Outcome:
    """Train a model from a run's config, or go on where an earlier start of the same command stopped.

    From Python it may be called in any thread, and any number of times; calls in several threads train one after
    another. Only in the main thread do SIGINT and SIGTERM stop it in order.

    Args:
        config: a config, or the path of a RUN.toml.
        out: the run's directory, such as checkpoints/gelu-s0; its name is the run's.
        say: takes, in the first of several processes, a line of how they share a step.

    Raises:
        BadInput: the config does not fit its data, its start, or what `out` already holds.
        EnvironmentProblem: `out` cannot be written, the processes asked for are not there, or the environment asks for
            other than the config (`train.launchers`).
        Diverged, Stopped: see `train.loop.train`.
    """
    config = config if isinstance(config, RunConfig) else load_config(RunConfig, config)
    out = Path(out)
    out = out.resolve() if out.name in ("", "..") else out  # the run is called after its directory
    require_run_name(out)
    config = with_settled_precision(config, out)
    with accelerated(config, say) as accelerator:
        require_one_run(accelerator, config_hash(config))
        data = _data(config, out)
        if not accelerator.is_main_process:
            return _run(config, out, data, accelerator)
        with locked(out):
            return _run(config, out, data, accelerator)


def _run(config: RunConfig, out: Path, data: Path, accelerator: "Accelerator") -> Outcome:
    inputs = _open_inputs(config, out, data)
    resumed, is_main = inputs.resumed, accelerator.is_main_process
    accelerator.wait_for_everyone()
    if inputs.is_finished:
        assert resumed is not None
        return _finish(Outcome(out, found=True, checkpoint=resumed), config, data, is_main)
    inputs = _require_memory(inputs, out, accelerator)
    config = inputs.config
    made = made_rows(config.train, inputs.fit)  # before anything is written: it may be refused
    model, lineage = _build_model(inputs)
    model.set_recompute(config.train.memory == "recompute")
    freeze(model, config)
    optimizer = build_optimizer(model, config.optim, _copies(inputs))
    model.to(accelerator.device)
    set_moments(model, optimizer, initial_moments(config, inputs.start, resumed, model))
    if is_main and resumed is None:
        require_space(out, 2 * 12 * model.config.n_params)
        write_atomic(out / "run.toml", to_toml(config).encode())
    inexact = inexact_because(config, inputs.start, resumed, environment_facts(config, accelerator))
    facts = run_facts(config, out.name, inputs.fit, inputs.start, model, accelerator, inexact)
    if resumed is not None and "config_sha256" in resumed.state:
        # An equal config, as `_earlier` checked: a key that a later version adds makes it no other run.
        facts["config_sha256"] = resumed.state["config_sha256"]
    tokenizer = (data / "tokenizer.json").read_bytes()
    training = Training(
        config=config,
        directory=out,
        accelerator=accelerator,
        model=model,
        optimizer=optimizer,
        fit=inputs.fit,
        held_out=inputs.held_out,
        baselines=fit_baselines(inputs.fit),
        save=partial(_save, facts=facts, tokenizer_json=tokenizer, lineage=lineage, inexact=inexact),
        step=0 if resumed is None else resumed.step,
        first_row=facts["first_row"],
        made=made,
        evaluation=None if resumed is None else resumed.state["evaluation"],
    )
    mirror = Mirror(config, out) if is_main and config.train.wandb != "off" else None
    try:
        if is_main:
            training.metrics = Metrics(out / METRICS, training.step, mirror)
        try:
            train(training)
        finally:
            if training.metrics is not None:
                training.metrics.close()
        accelerator.wait_for_everyone()
        return _finish(Outcome(out, found=False, checkpoint=load(out)), config, data, is_main)
    finally:
        # Last: whatever wandb does, the checkpoints and the card are written.
        if mirror is not None:
            mirror.finish()


def _finish(outcome: Outcome, config: RunConfig, data: Path, is_main: bool) -> Outcome:
    """Leave the model card, unless it is there."""
    card = outcome.directory / "README.md"
    if is_main and not (outcome.found and card.exists()):
        write_atomic(card, model_card(outcome.checkpoint, config, data).encode())
    return outcome


def _open_inputs(config: RunConfig, out: Path, data: Path) -> Inputs:
    """Open what the run reads; refuse data that the weights were not made for, and a start that has changed.

    Raises:
        BadInput: naming what does not fit.
    """
    resumed = _earlier(config, out)
    start = _start(config, resumed)
    model = config.model or (start and start.config)
    assert model is not None
    fit, held_out = (TokenFile.open(data, split=split, n_ctx=model.n_ctx) for split in ("fit", "eval"))
    if start is not None and start.state["data"]["tokenizer_sha256"] != fit.tokenizer_sha256:
        hint = f'; prepare them with tokenizer = "{config.start}"' if "imported" in start.state else ""
        raise BadInput(f"data: the tokenizer of {fit.directory} is not the one of {start.directory}{hint}")
    if resumed is not None:
        if resumed.state["data"]["hash"] != fit.data_hash:
            raise BadInput(f"data: {fit.directory} is other data than {resumed.directory} saw, or has changed since")
        before, now = resumed.state["start"], None if start is None else start.hash
        if (None if before is None else before["hash"]) != now:
            raise BadInput(f"start: {config.start} is not what {resumed.directory} started from, or has changed since")
    return Inputs(config, fit, held_out, start, resumed)


def _data(config: RunConfig, out: Path) -> Path:
    """The prepared data of a run; of one that goes on also where they lie now, if they have moved (`train.locate`)."""
    if not Path(config.data).exists() and (resumed := next(verified_steps(out), None)) is not None:
        facts = resumed.state["data"]
        moved = find_data(facts["hash"], facts["directory"], beside=resumed.directory)
        if moved is None:
            raise BadInput(
                f"data: {config.data} is not there, and the data of {resumed.directory} (hash {facts['hash'][:12]}) "
                f"lie neither beside it nor under {DATA_VARIABLE}; give --data"
            )
        print(f"data: {config.data} is not there; the same data lie at {moved}", flush=True)
        return moved
    return ensure_data(config.data)


def _start(config: RunConfig, resumed: Checkpoint | None) -> Checkpoint | None:
    """The checkpoint that a run starts from; of one that goes on also where it lies now, if it has moved."""
    if config.start is None:
        return None
    before = None if resumed is None else resumed.state["start"]
    if resumed is not None and before is not None and not Path(config.start).exists():
        moved = find_step(before["hash"], before["directory"], beside=resumed.directory)
        if moved is not None:
            if not config.start.startswith((hub.PREFIX, tl_files.PREFIX)):  # what was fetched lies in a cache
                print(f"start: {config.start} is not there; the same checkpoint lies at {moved}", flush=True)
            return load(moved)
    return load(config.start)


def _earlier(config: RunConfig, out: Path) -> Checkpoint | None:
    """The checkpoint that an earlier start of this run left, after checking that it is this run."""
    record = out / "run.toml"
    if not record.exists():
        if steps(out) or (out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir())):
            raise BadInput(f"{out}: is taken by something that is not a run; choose another --out")
        return None
    before, resumed = validate(RunConfig, read_toml(record), str(record)), next(verified_steps(out), None)
    for key, (old, new) in differences(before.model_dump(mode="json"), config.model_dump(mode="json")).items():
        if key not in MAY_DIFFER | BITS_ALONE and not (key in PATHS and resumed is not None):
            raise BadInput(
                f"{out}: holds a run with {key} = {old!r}, now {new!r}; choose another --out or the same config"
            )
    return resumed


def _require_memory(inputs: Inputs, out: Path, accelerator: "Accelerator") -> Inputs:
    """Settle `train.memory`, and refuse a run that would not fit, before anything large is made.

    Raises:
        EnvironmentProblem: with the bytes needed, the bytes free and what to lower.
    """
    config, start = inputs.config, inputs.start
    shape, lower = shape_of(config, start, inputs.fit.d_vocab)
    if start is not None and config.widen is not None and inputs.resumed is None:
        free = free_memory() // accelerator.num_processes
        to_widen(start.config, shape).require("widen: widening", free, "lower widen.factor")
    passes, device = config.train.accumulate * accelerator.num_processes, accelerator.device
    n_tokens = config.train.rows_per_step // passes * inputs.fit.n_ctx
    sharing = accelerator.num_processes if device.type == "cpu" else 1
    needs = needs_of(config, shape, n_tokens, device.type)
    config = settled_memory(config, needs["save"].total, room_on(device, sharing), out)
    recomputes = config.train.memory == "recompute"
    remedy = f"raise train.accumulate or lower {lower}"
    if not recomputes and needs["recompute"].total < needs["save"].total:
        remedy = f"give --train.memory recompute ({needs['recompute'].total / 1e9:.1f} GB), {remedy}"
    need = needs["recompute" if recomputes else "save"]
    need.require("train: a process", free_memory(device) // sharing, remedy)
    return replace(inputs, config=config)


def shape_of(config: RunConfig, start: Checkpoint | None, d_vocab: int) -> tuple[ModelConfig, str]:
    """The shape of a run's model as it trains, and the key that makes it smaller.

    Args:
        start: the checkpoint that the run starts from.
        d_vocab: of its data.
    """
    if start is None:
        assert config.model is not None
        return config.model.resolve(d_vocab), "model.mlp_ratio"
    if config.widen is None:
        return start.config, "train.rows_per_step"
    return widened_config(start.config, config.widen), "widen.factor"


def needs_of(config: RunConfig, shape: ModelConfig, tokens_per_pass: int, device: str) -> dict[str, Need]:
    """What one process needs with each way of `train.memory`: "save" and "recompute"."""
    blank = Transformer(shape, seed=None, device="meta")
    freeze(blank, config)
    n_trained = sum(parameter.numel() for parameter in blank.parameters() if parameter.requires_grad)
    l1, precision = config.optim.l1 > 0, config.train.precision
    return {
        way: to_train(
            shape, n_trained, tokens_per_pass, l1, precision=precision, recompute=way == "recompute", device=device
        )
        for way in ("save", "recompute")
    }


def _build_model(inputs: Inputs) -> tuple[Transformer, Lineage | None]:
    """The model as the run's next step finds it, in training mode on the CPU, and the descent of its neurons."""
    config, start = inputs.config, inputs.start
    if inputs.resumed is not None:
        return inputs.resumed.model().train(), inputs.resumed.lineage
    if start is None:
        assert config.model is not None
        return Transformer(config.model.resolve(inputs.fit.d_vocab), config.seed).train(), None
    if config.widen is None:
        return start.model().train(), start.lineage
    rows = inputs.held_out.plain_rows(0, min(RECEIPT_ROWS, inputs.held_out.n_rows))
    model, lineage = widen(start.model(), config.widen, rows)
    return model.train(), lineage.of(start.hash, start.lineage)


def _copies(inputs: Inputs) -> dict[int, int]:
    """Layer -> copies of each neuron, by this run's widening and those that its start descends from."""
    start, plan = inputs.start, inputs.config.widen
    copies = {} if start is None or start.lineage is None else start.lineage.copies
    if start is not None and plan is not None and plan.copies == "tiled":
        for layer in plan.layers_in(start.config.n_layers):
            copies[layer] = copies.get(layer, 1) * plan.factor
    return copies


def freeze(model: Transformer, config: RunConfig) -> None:
    """Let those parameters train that `trainable` matches; by default the widened MLPs, else everything."""
    patterns = ["*"]
    if config.trainable is not None:
        patterns = [config.trainable]
    elif config.widen is not None:
        layers = ("*",) if config.widen.layers == "all" else config.widen.layers
        patterns = [f"layers.{layer}.mlp.*" for layer in layers]
    parameters = dict(model.named_parameters())
    trained = {name for name in parameters for pattern in patterns if fnmatchcase(name, pattern)}
    if not trained:
        raise BadInput(f"trainable: {' '.join(patterns)!r} matches no parameter; there are {', '.join(parameters)}")
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)


def _save(
    training: Training, facts: dict[str, Any], tokenizer_json: bytes, lineage: Lineage | None, inexact: list[str]
) -> None:
    """Write a checkpoint of the current step, and delete those that need no longer be kept.

    Raises:
        EnvironmentProblem: it could not be written; on every process.
    """
    problem: list[str | None] = [None]
    if training.metrics is not None:
        state = {
            **facts,
            "step": training.step,
            "tokens": training.step * training.tokens_per_step,
            "rows_read": training.first_row + training.step * training.config.train.rows_per_step,
            "evaluation": training.evaluation,
        }
        moments = moments_of(training.model, training.optimizer)
        training.metrics.sync()
        code = {**code_facts(), "precision": training.config.train.precision}
        try:
            save_checkpoint(training.directory, training.model, moments, state, tokenizer_json, lineage, code, inexact)
            _retain(training.directory, training.n_steps)
        except OSError as failure:
            problem = [f"{training.directory}: step {training.step} was not saved ({failure.strerror or failure})"]
    if training.accelerator.num_processes > 1:
        from accelerate.utils import broadcast_object_list

        problem = broadcast_object_list(problem)
    if problem[0] is not None:
        raise EnvironmentProblem(problem[0])


def _retain(run_directory: Path, last: int) -> None:
    """Delete resume points that are neither permanent nor among the last two."""
    present = steps(run_directory)
    for step in present[:-2]:
        if not is_permanent(step) and step != last:
            remove_directory(step_directory(run_directory, step))
