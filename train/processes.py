"""The processes and devices that train one model, as the launcher started them."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch

from train.config import RunConfig
from train.devices import best_device
from train.errors import BadInput, EnvironmentProblem
from train.launchers import check_environment, wants_cpu

if TYPE_CHECKING:
    from accelerate import Accelerator

PATIENCE = timedelta(seconds=30)
"""How long a process waits for another before it gives up: a dead one ends all of them."""

_ONE_AT_A_TIME = threading.RLock()
"""accelerate keeps its state in the process: runs in two threads take turns."""


@contextmanager
def accelerated(config: RunConfig, say: Callable[[str], None] = lambda line: None) -> Iterator["Accelerator"]:
    """The Accelerator that the config and the launcher ask for, for the length of the block.

    accelerate's state belongs to the process and is made once. The block begins with a blank one and puts back what
    was there, so that any number of runs, of any precision, and other people's Accelerators share a process. A second
    run in another thread waits until the first is done.

    Args:
        say: takes, in the first process, a line of how many processes share a step, and how.

    Raises:
        EnvironmentProblem: the environment says otherwise than the config, a process did not come, trains another
            config, or was lost.
        BadInput: rows that do not divide among processes and accumulation passes.
    """
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        print("waiting: another run trains in this process", file=sys.stderr, flush=True)
        _ONE_AT_A_TIME.acquire()
    try:
        with _blank_state():
            accelerator = make_accelerator(config)
            with _lost_processes_named(accelerator.num_processes):
                if accelerator.is_main_process:
                    say(layout_line(config, accelerator))
                yield accelerator
    finally:
        _ONE_AT_A_TIME.release()


@contextmanager
def _blank_state() -> Iterator[None]:
    from accelerate.state import AcceleratorState, GradientState, PartialState

    # Objects that exist share these very dictionaries: they are emptied and filled, not replaced.
    states: list[dict[str, Any]] = [kind._shared_state for kind in (AcceleratorState, GradientState, PartialState)]
    before = [dict(state) for state in states]
    for state in states:
        state.clear()
    try:
        yield
    finally:
        for state, values in zip(states, before, strict=True):
            state.clear()
            state.update(values)


@contextmanager
def _lost_processes_named(n_processes: int) -> Iterator[None]:
    """Of several processes, one that ends or hangs is a failure of the machine for the others."""
    try:
        yield
    except RuntimeError as failure:
        if n_processes > 1 and (isinstance(failure, torch.distributed.DistError) or "gloo" in str(failure)):
            raise EnvironmentProblem(
                f"another of the {n_processes} processes ended or did not answer for {PATIENCE.seconds} s ({failure})"
            ) from None
        raise


def make_accelerator(config: RunConfig) -> "Accelerator":
    """The Accelerator that the config and the launcher ask for, checked; `accelerated` cares for its state.

    Raises:
        EnvironmentProblem: see `accelerated`.
        BadInput: rows that do not divide among processes and accumulation passes.
    """
    from accelerate import Accelerator
    from accelerate.utils import (
        DataLoaderConfiguration,
        DynamoBackend,
        GradientAccumulationPlugin,
        InitProcessGroupKwargs,
        TorchDynamoPlugin,
    )

    cpu = config.train.device == "cpu" or wants_cpu(os.environ) or best_device().type == "cpu"
    warnings = check_environment(config, os.environ, cpu)
    _check_torch(config)
    precision = "bf16" if config.train.precision == "bf16" else "no"
    try:
        # What is not passed, accelerate takes from the environment.
        accelerator = Accelerator(
            device_placement=True,
            cpu=cpu,
            mixed_precision=precision,
            # The loop divides by train.accumulate itself.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            dataloader_config=DataLoaderConfiguration(split_batches=False, even_batches=True),
            # The loop compiles, where train.compile says so.
            dynamo_plugin=TorchDynamoPlugin(
                backend=DynamoBackend.NO, mode="default", fullgraph=False, dynamic=False, use_regional_compilation=False
            ),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
    except (RuntimeError, ValueError, ImportError, NotImplementedError, OSError) as failure:
        raise EnvironmentProblem(_no_start(failure)) from None
    _check_accelerator(accelerator, config, cpu)
    for warning in warnings:
        if accelerator.is_main_process:
            print(f"warning: {warning}", file=sys.stderr, flush=True)
    _check_rows(config, accelerator)
    return accelerator


def _check_rows(config: RunConfig, accelerator: "Accelerator") -> None:
    """Every process has the same config and sees the same fault: the first one tells it.

    Raises:
        BadInput: a step's rows that processes and passes cannot share.
    """
    rows, shares = config.train.rows_per_step, config.train.accumulate * accelerator.num_processes
    if rows % shares == 0:
        return
    if not accelerator.is_main_process:
        raise SystemExit(BadInput.exit_code)
    raise BadInput(
        f"train.rows_per_step: {rows} rows do not divide into train.accumulate = {config.train.accumulate} x "
        f"{accelerator.num_processes} processes; take a multiple of {shares}, such as {-(-rows // shares) * shares}"
    )


def layout_line(config: RunConfig, accelerator: "Accelerator") -> str:
    """How many processes train, how they exchange gradients, and what each does of a step."""
    size, passes, rows = accelerator.num_processes, config.train.accumulate, config.train.rows_per_step
    if size == 1:
        kind, share = str(accelerator.device), ""
    else:
        backend = torch.distributed.get_backend()
        kind, share = f"{accelerator.distributed_type.value} over {backend}, {accelerator.device.type}", " a process"
    each = rows // (passes * size)
    return (
        f"{size} process{'es' * (size > 1)} ({kind}); a step is {rows} rows: {passes} "
        f"pass{'es' * (passes > 1)} of {each} row{'s' * (each > 1)}{share}"
    )


def require_one_run(accelerator: "Accelerator", config_hash: str) -> None:
    """Refuse processes that do not train the same run, as where a node has another copy of the config.

    Args:
        config_hash: of this process' config; see `train.provenance.config_hash`.

    Raises:
        EnvironmentProblem: naming a process that differs.
    """
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import gather_object

    backend = torch.distributed.get_backend()
    expected = "gloo" if accelerator.device.type == "cpu" else "nccl"
    if backend != expected:
        raise EnvironmentProblem(f"processes on {accelerator.device.type} speak {backend}, a run's {expected}")
    mine = (accelerator.process_index, config_hash, torch.__version__)
    theirs = sorted(gather_object([mine]))
    if [each[0] for each in theirs] != [*range(accelerator.num_processes)]:
        raise EnvironmentProblem(f"RANK: the processes call themselves {[each[0] for each in theirs]}")
    for rank, trained, version in theirs:
        if trained != theirs[0][1]:
            raise EnvironmentProblem(f"process {rank} has another config than process 0; give all nodes one RUN.toml")
        if version != theirs[0][2]:
            raise EnvironmentProblem(f"process {rank} has torch {version}, process 0 {theirs[0][2]}")


def _no_start(failure: Exception) -> str:
    size = os.environ.get("WORLD_SIZE", "1")
    if size == "1":
        said = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("ACCELERATE_")]
        return f"{', '.join(['accelerate does not start', *said])} ({failure})"
    where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    return (
        f"WORLD_SIZE={size}: the processes did not meet at MASTER_ADDR:MASTER_PORT = {where} within "
        f"{PATIENCE.seconds} s; start all of them, or unset WORLD_SIZE to train with one ({failure})"
    )


def _check_torch(config: RunConfig) -> None:
    """Refuse settings of torch that a caller left behind and that would change the run's arithmetic."""
    if torch.get_default_dtype() != torch.float32:
        raise EnvironmentProblem(f"torch.set_default_dtype: is {torch.get_default_dtype()}, a run needs torch.float32")
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        raise EnvironmentProblem("torch.autocast: is on around the run, whose arithmetic is train.precision")
    if not torch.is_grad_enabled():
        raise EnvironmentProblem("torch.no_grad: is on around the run, which needs gradients")
    chosen = torch.get_float32_matmul_precision()
    if config.train.precision == "fp32" and chosen != "highest":
        raise EnvironmentProblem(
            f'torch.set_float32_matmul_precision: is "{chosen}", a run with train.precision = "fp32" needs "highest"'
        )


def _check_accelerator(accelerator: "Accelerator", config: RunConfig, cpu: bool) -> None:
    """Hold what accelerate made against the run: whatever it takes from elsewhere in a later version is seen here."""
    from accelerate.utils import DynamoBackend

    announced = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != announced:
        raise EnvironmentProblem(
            f"WORLD_SIZE={announced}: processes announced, accelerate runs {accelerator.num_processes}"
        )
    state, kinds = accelerator.state, ("NO", "MULTI_CPU" if cpu else "MULTI_GPU")
    made = {
        "distributed type": (str(accelerator.distributed_type.value), kinds),
        "device": (accelerator.device.type, ("cpu" if cpu else best_device().type,)),
        "mixed precision": (state.mixed_precision, ("bf16" if config.train.precision == "bf16" else "no",)),
        "dynamo backend": (str(getattr(state.dynamo_plugin, "backend", None)), (str(DynamoBackend.NO),)),
        "gradient accumulation": (accelerator.gradient_accumulation_steps, (1,)),
        "split batches": (accelerator.split_batches, (False,)),
        "even batches": (accelerator.even_batches, (True,)),
        "gradient scaler": (accelerator.scaler, (None,)),
    }
    for name, (value, expected) in made.items():
        if value not in expected:
            variable = (
                "ACCELERATE_TORCH_DEVICE: " if name == "device" and "ACCELERATE_TORCH_DEVICE" in os.environ else ""
            )
            raise EnvironmentProblem(
                f"{variable}accelerate runs with {name} = {value}, the run with {expected[0]}; see `accelerate env`"
            )
