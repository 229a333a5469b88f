"""The network and all that changes with it: optimizer, moving average, scale of fp16's gradients."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn, optim
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import ModelEMA

from training.container.errors import TrainingError, first_line
from training.yolov5.network import Network
from training.yolov5.samples import Batch
from training.yolov5.schedule import NOMINAL, Plan, Rates
from training.yolov5.settings import Settings

LARGEST_GRADIENT = 10.0  # norm, as YOLOv5 clips it
LOSSES = ("box_loss", "cls_loss", "dfl_loss")
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def build(network: Network, classes: Sequence[str], settings: Settings) -> DetectionModel:
    """With weights that the seed gives. Raises TrainingError where its layers do not fit together."""
    torch.manual_seed(settings.seed)
    try:
        model = DetectionModel({**network.layers, "nc": len(classes)}, ch=3, nc=len(classes), verbose=False)
    except (IndexError, KeyError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise TrainingError(
            f"the network {network.name} cannot be built ({first_line(error)}): see which layers its "
            f"description takes, and their arguments"
        ) from error
    model.names = dict(enumerate(classes))
    model.args = get_cfg(overrides={"task": "detect", "imgsz": settings.image_size})
    return model


def precision(choice: str, device: torch.device) -> torch.dtype:
    """`auto` is bf16 on a GPU that has it, fp16 on another, fp32 on processors."""
    if choice != "auto":
        return TYPES[choice]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


class Learner:
    """One device's network in training. Batches add up until `step` is called."""

    def __init__(self, model: DetectionModel, settings: Settings, plan: Plan, device: torch.device):
        self.settings, self.device = settings, device
        self.dtype = precision(settings.precision, device)
        self.model = model.to(device)
        if device.type == "cuda":
            self.model = self.model.to(memory_format=torch.channels_last)
        for name, value in self.model.named_parameters():
            value.requires_grad = ".dfl" not in name  # the numbers 0 … 15, not learnt
        self.optimizer = _optimizer(self.model, settings, plan)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.average = ModelEMA(self.model)
        self.waiting = 0  # batches whose gradients are not yet used

    def add(self, batch: Batch, rates: Rates) -> dict[str, Tensor]:
        """One batch's gradients; its losses, on the device: LOSSES."""
        self.model.train()
        _set(self.optimizer, rates)
        taken = {name: batch[name].to(self.device) for name in ("img", "cls", "bboxes", "batch_idx")}
        taken["img"] = taken["img"].float() / 255
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            loss, items = self.model(taken)
        self.scaler.scale(loss.sum()).backward()
        self.waiting += 1
        if self.waiting >= rates.accumulate:
            self._step()
        return {name: value.detach() for name, value in items.items()}

    def _step(self) -> None:
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.average.update(self.model)
        self.waiting = 0

    def state(self) -> dict[str, Any]:
        """A copy of all, on the CPU."""
        gradients = {name: one.grad for name, one in self.model.named_parameters() if one.grad is not None}
        state = {
            "weights": self.model.state_dict(),
            "average": self.average.ema.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "gradients": gradients if self.waiting else {},
            "waiting": self.waiting,
        }
        copied: dict[str, Any] = _on_cpu(state)
        return copied

    def average_weights(self) -> dict[str, Tensor]:
        """A copy, on the CPU, of the weights that are measured and kept."""
        copied: dict[str, Tensor] = _on_cpu(self.average.ema.state_dict())
        return copied

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["weights"])
        self.average.ema.load_state_dict(state["average"])
        self.average.updates = state["updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.waiting = state["waiting"]
        for name, value in self.model.named_parameters():
            gradient = state["gradients"].get(name)
            value.grad = None if gradient is None else gradient.to(value)


def _optimizer(model: nn.Module, settings: Settings, plan: Plan) -> optim.Optimizer:
    """Three groups, as v6.2 has them: weights decay, those of normalisation and biases do not."""
    weights, norms, biases = [], [], []
    for module in model.modules():
        for name, value in module.named_parameters(recurse=False):
            if not value.requires_grad:
                continue
            if name == "bias":
                biases.append(value)
            elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
                norms.append(value)
            else:
                weights.append(value)
    decay = settings.weight_decay * plan.batch * plan.accumulate / NOMINAL
    groups: list[dict[str, Any]] = [
        {"params": biases, "weight_decay": 0.0},  # first: its rate in the warm-up is another
        {"params": weights, "weight_decay": decay},
        {"params": norms, "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    kind = optim.Adam if settings.optimizer == "adam" else optim.AdamW
    return kind(groups, lr=settings.lr, betas=(settings.momentum, 0.999))


def _set(optimizer: optim.Optimizer, rates: Rates) -> None:
    for number, group in enumerate(optimizer.param_groups):
        group["lr"] = rates.lr if number else rates.bias
        if "momentum" in group:
            group["momentum"] = rates.momentum
        else:
            group["betas"] = (rates.momentum, group["betas"][1])


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {name: _on_cpu(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_on_cpu(one) for one in value]
    return value
