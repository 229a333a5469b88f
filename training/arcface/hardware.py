"""What this machine computes with: precision, compilation, and how to say so in one line."""

import os
import shutil
from collections.abc import Mapping
from typing import Any

import torch

from training.arcface.distributed import World
from training.arcface.settings import Settings

# Compiling takes about a minute; these many images must follow on one device for it to come back
# (measured: MobileFaceNet on two processors 36 → 60 images a second; on a GPU the gain is smaller).
PAYS_AFTER_IMAGES = {"cpu": 20_000, "cuda": 1_000_000}


def precision(choice: str, device: torch.device) -> torch.dtype:
    """The type that convolutions compute in; `auto` is bf16 where the device multiplies it natively."""
    if choice == "auto":
        return torch.bfloat16 if _has_bf16(device) else torch.float32
    return torch.bfloat16 if choice == "bf16" else torch.float32


def compiles(choice: str, device: torch.device, images: int) -> bool:
    """Whether to use torch.compile for a run that sees so many images on this device."""
    if choice == "auto":
        has_compiler = shutil.which(os.environ.get("CXX", "g++")) is not None
        return has_compiler and images >= PAYS_AFTER_IMAGES[device.type]
    return choice == "on"


def describe(settings: Settings, world: World, hosts: int, images: int, identities: int) -> str:
    """The first line of a run."""
    device = world.device
    dtype = "bf16" if precision(settings.precision, device) == torch.bfloat16 else "fp32"
    return (
        f"start network={settings.network} device={_device_name(device)} hosts={hosts} ranks={world.size} "
        f"backend={world.backend} precision={dtype} batch={settings.batch_size * world.size} "
        f"images={images} identities={identities} torch={torch.__version__}"
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device).replace(" ", "-")
        return f"{name} cuda={torch.version.cuda}"
    return f"cpu threads={torch.get_num_threads()}"


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without these bf16 is emulated, and slower than fp32.
    found: Mapping[str, Any] = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))
