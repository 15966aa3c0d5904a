"""What the environment says of processes, arithmetic, compilation and sharding, and what of it a run refuses.

accelerate takes settings from variables: `accelerate launch` sets them (from its flags and its config file), torchrun,
MPI and shells do, and some were left behind. What a run does is its TOML. So the launcher decides about processes and
devices only; what it says of arithmetic and compilation must agree with the run; what no launcher said is overridden
with a warning; and what cannot be overridden is refused.
"""

from collections.abc import Mapping

from train.config import RunConfig
from train.errors import EnvironmentProblem

LAYOUT = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun and `accelerate launch` tell each of several processes."""

MPI = {
    "PMI_SIZE": "PMI_RANK",
    "OMPI_COMM_WORLD_SIZE": "OMPI_COMM_WORLD_RANK",
    "MV2_COMM_WORLD_SIZE": "MV2_COMM_WORLD_RANK",
}
"""Number of processes and this one's, of each MPI that accelerate knows, in the order in which it looks."""

NUMBERS = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    *MPI,
    *MPI.values(),
    *("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    *("MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"),
)
FLAGS = ("ACCELERATE_USE_CPU", "ACCELERATE_DEBUG_MODE", "ACCELERATE_CPU_AFFINITY", "FORK_LAUNCHED")
"""Taken as they are: devices and diagnostics."""

SHARDING = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "tensor, context or sequence parallelism",
    "ACCELERATE_USE_SAGEMAKER": "SageMaker",
}
"""Other ways to train than a run's; accelerate obeys these variables whatever it is passed."""

LAUNCHED = ("ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_DYNAMO_MODE")
"""`accelerate launch` always sets all of these; a shell profile hardly does."""

DYNAMO_DEFAULTS = {
    "ACCELERATE_DYNAMO_MODE": "default",
    "ACCELERATE_DYNAMO_USE_FULLGRAPH": "false",
    "ACCELERATE_DYNAMO_USE_DYNAMIC": "false",
    "ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION": "false",
}
TRUE = ("1", "true", "t", "yes", "y", "on")
FALSE = ("0", "false", "f", "no", "n", "off", "")


def check_environment(config: RunConfig, environ: Mapping[str, str], cpu: bool) -> list[str]:
    """Refuse what the environment says against the run; return warnings of what it says in vain.

    Args:
        environ: the variables, such as `os.environ`.
        cpu: whether the run is to compute on the CPU.

    Raises:
        EnvironmentProblem: naming the variable.
    """
    _check_forms(environ)
    _check_sharding(environ)
    _check_processes(environ, cpu)
    _check_kernels(config, environ, cpu)
    return _check_settings(config, environ)


def launched_as(environ: Mapping[str, str]) -> tuple[int, int]:
    """This process' number from 0, and how many there are, as torchrun and `accelerate launch` say it; (0, 1) alone.

    Raises:
        EnvironmentProblem: what is said is not whole; names the variable.
    """
    _check_forms(environ)
    rank, size = _number(environ, "RANK", 0), _number(environ, "WORLD_SIZE", 1)
    if size > 1 and "RANK" not in environ:
        raise EnvironmentProblem(f"{_said(environ, 'WORLD_SIZE')}: speaks of several processes, but RANK is not set")
    if not 0 <= rank < size:
        raise EnvironmentProblem(f"{_said(environ, 'RANK')}: is none of WORLD_SIZE={size} processes")
    return rank, size


def wants_cpu(environ: Mapping[str, str]) -> bool:
    """Whether the launcher, or a shell, asks accelerate for the CPU."""
    return environ.get("ACCELERATE_USE_CPU", "").lower() in TRUE


def _said(environ: Mapping[str, str], name: str) -> str:
    return f"{name}={environ[name]}"


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    return int(environ.get(name, default))


def _check_forms(environ: Mapping[str, str]) -> None:
    for name in NUMBERS:
        if name in environ:
            try:
                int(environ[name])
            except ValueError:
                raise EnvironmentProblem(f"{name}: {environ[name]!r} is not a whole number; unset it") from None
    for name in (*FLAGS, *SHARDING):
        if environ.get(name, "").lower() not in TRUE + FALSE:
            raise EnvironmentProblem(f"{name}: {environ[name]!r} is neither true nor false; unset it")
        if name in FLAGS and environ.get(name) == "":
            raise EnvironmentProblem(f"{name}: is set to nothing; unset it")


def _check_sharding(environ: Mapping[str, str]) -> None:
    for name, kind in SHARDING.items():
        if environ.get(name, "").lower() in TRUE:
            raise EnvironmentProblem(
                f"{_said(environ, name)}: asks for {kind}, which polysem does not train with; unset it, or leave "
                "it out of `accelerate launch` and its config file"
            )


def _check_processes(environ: Mapping[str, str], cpu: bool) -> None:
    """Several processes are told all of LAYOUT; a part of it, or another launcher's variables, mislead accelerate."""
    size, rank, local = (_number(environ, *each) for each in (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", -1)))
    telling = [
        name
        for name, says in (("WORLD_SIZE", size > 1), ("RANK", rank > 0), ("LOCAL_RANK", local >= 0))
        if name in environ and says
    ]
    missing = [name for name in LAYOUT if not environ.get(name)]
    if telling and not missing:
        if not 0 <= rank < size:
            raise EnvironmentProblem(f"{_said(environ, 'RANK')}: is none of {_said(environ, 'WORLD_SIZE')} processes")
        return
    sizes = {name: _number(environ, name, 1) for name in MPI if name in environ}
    if len(set(sizes.values())) > 1:  # accelerate takes the first, whatever the others say
        said = ", ".join(_said(environ, name) for name in sizes)
        raise EnvironmentProblem(f"{said}: contradict one another; unset those that another launcher left")
    mpi = [name for name, size in sizes.items() if size > 1]
    if mpi and cpu and MPI[mpi[0]] in environ and environ.get("MASTER_ADDR") and not telling:
        return  # mpirun's processes, such as `accelerate launch --mpirun_hostfile` starts
    if telling:
        raise EnvironmentProblem(
            f"{_said(environ, telling[0])}: speaks of several processes, but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set; start with torchrun or `accelerate launch`, or unset "
            f"{', '.join(telling)}"
        )
    if mpi:
        raise EnvironmentProblem(
            f"{_said(environ, mpi[0])}: speaks of several processes of MPI, which a run takes on CPUs only and with "
            "MASTER_ADDR set; start with torchrun or `accelerate launch`, or unset it"
        )
    if _number_or(environ.get("SLURM_STEP_NUM_TASKS"), 1) > 1:
        raise EnvironmentProblem(
            f"{_said(environ, 'SLURM_STEP_NUM_TASKS')}: srun started several tasks, each of which would train the "
            "whole run; start torchrun in one task a node, or unset it where each task trains a run of its own"
        )
    launched_on_cpu = all(name in environ for name in LAUNCHED) and wants_cpu(environ)
    if launched_on_cpu and environ.get("MASTER_ADDR") and environ.get("MASTER_PORT"):
        raise EnvironmentProblem(
            f"{_said(environ, 'MASTER_ADDR')}: several CPU processes were asked for, of which `accelerate launch` "
            "starts one without --mpirun_hostfile; start them with torchrun, or set num_processes to 1"
        )


def _number_or(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() else default


def _check_kernels(config: RunConfig, environ: Mapping[str, str], cpu: bool) -> None:
    """Variables of the libraries below accelerate that change arithmetic or compilation and that nothing overrides."""
    if config.train.precision == "fp32":
        for name in ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"):
            if cpu and environ.get(name, "STRICT").upper() not in ("STRICT", ""):
                raise EnvironmentProblem(f"{_said(environ, name)}: lowers precision, the run says fp32; unset it")
        for name in ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "NVIDIA_TF32_OVERRIDE"):
            if not cpu and environ.get(name, "0").lower() in TRUE:
                raise EnvironmentProblem(f"{_said(environ, name)}: lowers precision, the run says fp32; unset it")
    if config.train.compile:
        for name in ("TORCHDYNAMO_DISABLE", "TORCH_COMPILE_DISABLE"):
            if environ.get(name, "0") == "1":
                raise EnvironmentProblem(f"{_said(environ, name)}: the run says train.compile = true; unset it")


def _check_settings(config: RunConfig, environ: Mapping[str, str]) -> list[str]:
    """Compare what is said of precision, compilation and accumulation with the run.

    "no" is what the launcher writes where nobody said anything, so it contradicts nothing.
    """
    precision, compiles = config.train.precision, config.train.compile
    differs: dict[str, str] = {}
    if environ.get("ACCELERATE_MIXED_PRECISION", "no").lower() not in ("no", "", precision):
        differs["ACCELERATE_MIXED_PRECISION"] = f'train.precision = "{precision}"'
    backend = environ.get("ACCELERATE_DYNAMO_BACKEND", "no").lower()
    if backend not in ("no", "", "inductor" if compiles else "no"):
        differs["ACCELERATE_DYNAMO_BACKEND"] = f"train.compile = {str(compiles).lower()}"
    if backend not in ("no", ""):
        for name, default in DYNAMO_DEFAULTS.items():
            if environ.get(name, default).lower() not in (default, "0", ""):
                differs.setdefault(name, "no such key: train.compile is torch's default")
    accumulate = environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    if accumulate not in ("1", "", "auto", str(config.train.accumulate)):
        differs["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"] = f"train.accumulate = {config.train.accumulate}"
    launched = all(name in environ for name in LAUNCHED)
    for name, ours in differs.items():
        if launched:
            raise EnvironmentProblem(
                f"{_said(environ, name)}: `accelerate launch` (its flags, --config_file or default_config.yaml) says "
                f"so, the run says {ours}; make them agree"
            )
    return [f"{_said(environ, name)} is not obeyed: the run says {ours}" for name, ours in differs.items()]
