"""What this machine computes with: precision, compilation, and how to say so in one line."""

import os
import shutil
from collections.abc import Mapping
from typing import Any

import torch

from training.arcface.distributed import World
from training.arcface.plan import Plan
from training.arcface.settings import Settings
from training.container.gpus import driver_here

# Compiling takes about a minute; these many images must follow on one device for it to come back
# (measured by bench/step.py: r18 on two processors gains a quarter; on a GPU the gain is smaller).
PAYS_AFTER_IMAGES = {"cpu": 20_000, "cuda": 1_000_000}
# On a CPU it hardly does for these: MobileFaceNet's layers (layers.py) gain a twentieth, a ViT's lose.
NEVER_PAYS_ON_CPU = ("mbf", "mbf_large", "vit_t", "vit_s", "vit_b")

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def precision(choice: str, device: torch.device) -> torch.dtype:
    """The type that convolutions compute in; `auto` is bf16 where the device multiplies it natively."""
    if choice == "auto":
        return torch.bfloat16 if _has_bf16(device) else torch.float32
    return TYPES[choice]


def compiles(choice: str, device: torch.device, images: int, network: str = "") -> bool:
    """Whether to use torch.compile for a run that sees so many images on this device."""
    if choice == "auto" and device.type == "cpu" and network in NEVER_PAYS_ON_CPU:
        return False
    if choice == "auto":
        has_compiler = shutil.which(os.environ.get("CXX", "g++")) is not None
        return has_compiler and images >= PAYS_AFTER_IMAGES[device.type]
    return choice == "on"


def describe(settings: Settings, world: World, hosts: int, plan: Plan, classes: int) -> str:
    """The first line of a run: what it computes with, and on how much.

    batch: images of one step on all ranks together, which each rank takes in so many parts.
    """
    names = {dtype: name for name, dtype in TYPES.items()}
    return (
        f"start network={settings.network} device={_device_name(world.device)} hosts={hosts} "
        f"ranks={world.size} backend={world.backend} "
        f"precision={names[precision(settings.precision, world.device)]} optimizer={settings.optimizer} "
        f"parts={plan.parts} batch={plan.batch} images={plan.images} identities={classes} "
        f"torch={torch.__version__}"
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cpu":
        return f"cpu threads={torch.get_num_threads()}"
    name = torch.cuda.get_device_name(device).replace(" ", "-")
    return f"{name} driver={driver_here() or 'unknown'} cuda={torch.version.cuda}"


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without these bf16 is emulated, and slower than fp32.
    found: Mapping[str, Any] = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))
