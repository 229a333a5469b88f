"""Which ranks there are, and what they say to each other.

One process per GPU (one per host without GPUs): NCCL between GPUs, gloo between CPUs. The hosts come from
SageMaker's resourceconfig.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from training.container.errors import TrainingError

_Value = TypeVar("_Value")

DEFAULT_PORT = 29500
MESSAGE_BYTES = 256 * 2**20  # below what a message's length may be counted in
PATIENCE = timedelta(minutes=30)  # the slowest a peer may be: one that is still decoding its images


@dataclass(frozen=True)
class Cluster:
    """The hosts of the job as this one sees them."""

    hosts: tuple[str, ...] = ("localhost",)
    current: int = 0
    interface: str = ""

    @classmethod
    def from_resource_config(cls, config: Mapping[str, Any]) -> "Cluster":
        """Raises TrainingError where the current host is not among the hosts."""
        hosts = tuple(sorted(config.get("hosts") or ["localhost"]))
        name = config.get("current_host", hosts[0])
        if name not in hosts:
            raise TrainingError(
                f'resourceconfig.json: current_host "{name}" is not among hosts {list(hosts)}'
            )
        return cls(hosts, hosts.index(name), config.get("network_interface_name", ""))


@dataclass(frozen=True)
class World:
    """This process's place among all, and the exchanges that training needs.

    A world of one exchanges nothing.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", self.local_rank) if torch.cuda.is_available() else torch.device("cpu")

    @property
    def backend(self) -> str:
        return distributed.get_backend() if self.size > 1 else "none"

    def shard(self, count: int) -> tuple[int, int]:
        """First and last + 1 of this rank's part of range(count); the parts differ by one at most."""
        return self._shard_of(self.rank, count)

    def _shard_of(self, rank: int, count: int) -> tuple[int, int]:
        return rank * count // self.size, (rank + 1) * count // self.size

    def row_counts(self, rows: int) -> list[int]:
        """What every rank passes here, in rank order. Between processors, so that no GPU is waited for."""
        if self.size == 1:
            return [rows]
        counts = torch.empty(self.size, dtype=torch.int64)
        distributed.all_gather_single(counts, torch.tensor([rows]))
        return counts.tolist()

    def gather(self, tensor: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """The rows of all ranks, one rank after the other.

        tensor: (n, …), of the same shape on every rank but for n, which `counts` tells of each (from
        `row_counts`); without it all have the same n.
        """
        if self.size == 1:
            return tensor
        most = max(counts or [len(tensor)])
        padded = tensor.new_zeros((most, *tensor.shape[1:]))
        padded[: len(tensor)] = tensor
        gathered = tensor.new_empty((self.size * most, *tensor.shape[1:]))
        distributed.all_gather_single(gathered, padded)
        if counts is None or min(counts) == most:
            return gathered
        return torch.cat(
            [part[:rows] for part, rows in zip(torch.split(gathered, most), counts, strict=True)]
        )

    def rows_of_this_rank(self, gathered: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """Undoes `gather`: this rank's rows of (sum of counts, …)."""
        sizes = counts or [len(gathered) // self.size] * self.size
        return torch.split(gathered, list(sizes))[self.rank]

    def sum(self, tensor: Tensor) -> Tensor:
        return self._reduce(tensor, distributed.ReduceOp.SUM)

    def maximum(self, tensor: Tensor) -> Tensor:
        return self._reduce(tensor, distributed.ReduceOp.MAX)

    def _reduce(self, tensor: Tensor, operation: Any) -> Tensor:
        if self.size == 1:
            return tensor
        total = tensor.clone()
        distributed.all_reduce(total, operation)
        return total

    def from_first(self, value: _Value) -> _Value:
        """Rank 0's value (anything that pickles: the ranks trust each other), on every rank."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gather_objects(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order, on every rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def to_first(self, shard: Tensor) -> list[Tensor] | None:
        """Copies of all ranks' tensors in rank 0's main memory, in rank order; None on the others.

        They go from processor to processor, so no GPU holds more than its own. Shapes may differ but for the
        first rank's type.
        """
        mine = shard.detach().to("cpu", copy=True)
        shapes = self.gather_objects(tuple(mine.shape))
        if self.rank != 0:
            for piece in _pieces(mine):
                distributed.send(piece, dst=0)
            return None
        others = [mine.new_empty(shape) for shape in shapes[1:]]
        for rank, other in enumerate(others, start=1):
            for piece in _pieces(other):
                distributed.recv(piece, src=rank)
        return [mine, *others]

    def shard_from_first(self, whole: Tensor | None, count: int) -> Tensor:
        """This rank's rows of rank 0's (count, …) tensor, in main memory; the others give None."""
        of_a_row: Any = (tuple(whole.shape[1:]), whole.dtype) if whole is not None else None
        shape, kind = self.from_first(of_a_row)
        first, last = self.shard(count)
        if whole is None:
            mine = torch.empty((last - first, *shape), dtype=kind)
            for piece in _pieces(mine):
                distributed.recv(piece, src=0)
            return mine
        for rank in range(1, self.size):
            start, end = self._shard_of(rank, count)
            for piece in _pieces(whole[start:end].contiguous()):
                distributed.send(piece, dst=rank)
        return whole[first:last]

    def barrier(self) -> None:
        if self.size > 1:
            distributed.barrier()


def _pieces(tensor: Tensor) -> list[Tensor]:
    """Views that one message can hold, each of at least a row."""
    rows = max(1, MESSAGE_BYTES * len(tensor) // max(1, tensor.nbytes))
    return list(torch.split(tensor, rows)) if len(tensor) else []
