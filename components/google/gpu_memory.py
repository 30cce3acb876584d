"""How much memory CUDA has of each type of GPU, which is not what its name says. Pure."""

from collections.abc import Mapping

CUDA_GIB: Mapping[str, tuple[float, float]] = {
    "nvidia-tesla-t4": (16, 14.56),
    "nvidia-l4": (24, 22.03),
    "nvidia-tesla-a100": (40, 39.49),
    "nvidia-a100-80gb": (80, 79.15),
    "nvidia-h100-80gb": (80, 79.11),
    "nvidia-h100-mega-80gb": (80, 79.11),
    "nvidia-h200-141gb": (141, 139.80),
    "nvidia-b200": (180, 178.35),
    "nvidia-rtx-pro-6000": (96, 94.97),
}
"""Accelerator -> the memory in its name, in GB, and what CUDA has of it, in GiB: "has a total capacity of" in PyTorch's
messages of public reports, with ECC on as it is in Google's cloud (T4 and L4 up to 0.2 GiB more in some)."""


def cuda_gb(accelerator: str, nominal_gb: float) -> float:
    """What CUDA has of a GPU, or of a part of one, of `nominal_gb` by its name, in GB."""
    nominal, gib = CUDA_GIB.get(accelerator, (1.0, 0.93))
    return nominal_gb / nominal * gib * (1 << 30) / 1e9
