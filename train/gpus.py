"""Graphics cards by name: what their makers say of them, and what of it a training is reckoned to get."""

from dataclasses import dataclass

from train.errors import BadInput, did_you_mean

OF_PRODUCTS = 0.4
"""Share of the peak that matrix products are reckoned to reach. Assumed: nothing was measured on a GPU."""

OF_BANDWIDTH = 0.7
"""Share of the memory's bandwidth that everything between the products is reckoned to reach; assumed as well."""


@dataclass(frozen=True)
class Gpu:
    """One card, by its data sheet: dense products, without sparsity."""

    name: str
    title: str
    memory: int
    """Bytes."""
    fp32: float
    """Operations a second, in fp32 proper: a run with `precision = "fp32"` takes no TF32."""
    bf16: float | None
    """In bf16 with sums in fp32; None where the card has none, and a run takes fp32."""
    bandwidth: float
    """Bytes a second."""


GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        Gpu("b200", "NVIDIA B200", 180 * 10**9, 75e12, 2250e12, 8.0e12),
        Gpu("h200", "NVIDIA H200 SXM", 141 * 10**9, 67e12, 989e12, 4.8e12),
        Gpu("h100", "NVIDIA H100 SXM, 80 GB", 80 * 10**9, 67e12, 989e12, 3.35e12),
        Gpu("h100-pcie", "NVIDIA H100 PCIe, 80 GB", 80 * 10**9, 51e12, 756e12, 2.0e12),
        Gpu("a100", "NVIDIA A100 SXM, 80 GB", 80 * 10**9, 19.5e12, 312e12, 2.04e12),
        Gpu("a100-40", "NVIDIA A100 SXM, 40 GB", 40 * 10**9, 19.5e12, 312e12, 1.56e12),
        Gpu("l40s", "NVIDIA L40S", 48 * 10**9, 91.6e12, 362e12, 0.864e12),
        Gpu("l4", "NVIDIA L4", 24 * 10**9, 30.3e12, 121e12, 0.30e12),
        Gpu("a10g", "NVIDIA A10G", 24 * 10**9, 31.2e12, 70e12, 0.60e12),
        Gpu("rtx4090", "NVIDIA GeForce RTX 4090", 24 * 10**9, 82.6e12, 165e12, 1.01e12),
        Gpu("rtx3090", "NVIDIA GeForce RTX 3090", 24 * 10**9, 35.6e12, 71e12, 0.936e12),
        Gpu("v100", "NVIDIA V100 SXM, 32 GB", 32 * 10**9, 15.7e12, None, 0.90e12),
        Gpu("t4", "NVIDIA T4", 16 * 10**9, 8.1e12, None, 0.32e12),
    )
}


def gpu_named(name: str) -> Gpu:
    """The card of that name, in whatever case.

    Raises:
        BadInput: not one of GPUS; names the nearest.
    """
    known = name.strip().lower().replace(" ", "-").removeprefix("nvidia-")
    if known not in GPUS:
        raise BadInput(f"--gpu {name}: not in the table{did_you_mean(known, list(GPUS))}")
    return GPUS[known]
