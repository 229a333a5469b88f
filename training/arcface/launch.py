"""From one process on each host to one process for each GPU, all in touch."""

import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from training.arcface import trainer
from training.arcface.distributed import DEFAULT_PORT, PATIENCE, Cluster, World
from training.arcface.settings import Settings
from training.container import gpus, main, user
from training.container.about import About
from training.container.errors import StoppedEarlyError, StoppedError, TrainingError, first_line
from training.container.stopping import Stop
from training.jobs import contract
from training.jobs.contract import ContainerPaths

# What torchrun tells each process it starts, beside MASTER_ADDR.
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")


class _LostError(TrainingError):
    """The ranks are no longer in touch."""


@dataclass(frozen=True)
class Meeting:
    """Where the ranks meet, and through which network interface."""

    address: str
    port: int
    interface: str

    @classmethod
    def from_environment(cls, cluster: Cluster, environment: Mapping[str, str]) -> "Meeting":
        """MASTER_ADDR and MASTER_PORT where they are set, else the first host."""
        address = environment.get("MASTER_ADDR") or cluster.hosts[0]
        return cls(address, int(environment.get("MASTER_PORT") or DEFAULT_PORT), cluster.interface)


def launch(
    paths: ContainerPaths,
    config: Mapping[str, Any],
    resources: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    resume: bool = True,
) -> int:
    """Trains with every GPU of this host, or with its processors; gives the exit status.

    Started by torchrun, it is one of the ranks instead (docs/adr/0005).
    """
    cluster = Cluster.from_resource_config(resources)
    meeting = Meeting.from_environment(cluster, environment)
    look_at_gpus(resources, environment)
    settings, about = Settings.from_config(config), About.from_environment(environment)
    with tempfile.TemporaryDirectory(prefix="facetrain-", ignore_cleanup_errors=True) as scratch:
        job = trainer.Job(paths, settings, len(cluster.hosts), Path(scratch), resume, about)
        if world := joined(environment):
            refuse_more_ranks_than(torch.cuda.device_count(), world)
            return run_rank(replace(job, hosts=world.size // world.local_size), world, meeting)
        worlds = worlds_of_this_host(cluster, max(1, torch.cuda.device_count()))
        if len(worlds) == 1:
            return run_rank(job, worlds[0], meeting)
        if len(cluster.hosts) == 1 and "MASTER_PORT" not in environment:
            meeting = replace(meeting, port=free_port())  # another job may run beside this one
        return run_ranks(job, worlds, meeting)


def look_at_gpus(resources: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Says what there is. Raises TrainingError where a GPU would lie idle; on one's own machine notes it."""
    stack, instance_type = gpus.Stack.found(), str(resources.get("current_instance_type", ""))
    if environment.get("LOCAL_RANK", "0") != "0":
        return
    main.tell(stack.line())
    if note := gpus.check(stack, environment, instance_type, refuses=user.VARIABLE in environment):
        main.tell(note)


def worlds_of_this_host(cluster: Cluster, processes: int) -> list[World]:
    first, size = cluster.current * processes, len(cluster.hosts) * processes
    return [World(first + local, size, local, processes) for local in range(processes)]


def joined(environment: Mapping[str, str]) -> World | None:
    """The rank that torchrun made of this process; None where it runs on its own.

    Raises TrainingError where its variables are there in part or hold no rank.
    """
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        return None
    try:
        rank, size, local_rank, local_size, _ = (int(environment[name]) for name in TORCHRUN)
    except (KeyError, ValueError) as error:
        raise TrainingError(
            f"environment: RANK and WORLD_SIZE say that torchrun started this process, but then {TORCHRUN} "
            f"must all be whole numbers ({first_line(error)}): unset them, or start with torchrun"
        ) from None
    if not (0 <= local_rank < local_size <= size and 0 <= rank < size and "MASTER_ADDR" in environment):
        raise TrainingError(
            f"environment: RANK={rank} WORLD_SIZE={size} LOCAL_RANK={local_rank} "
            f"LOCAL_WORLD_SIZE={local_size} name no rank, or MASTER_ADDR is missing: start with torchrun"
        )
    return World(rank, size, local_rank, local_size)


def refuse_more_ranks_than(devices: int, world: World) -> None:
    """Raises TrainingError where the host has GPUs, but none for this rank."""
    if devices and world.local_rank >= devices:
        raise TrainingError(
            f"torchrun started {world.local_size} processes on a host with {devices} GPUs: "
            f"start it with --nproc-per-node {devices}"
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def run_rank(job: trainer.Job, world: World, meeting: Meeting) -> int:
    """One rank in this process. Raises what ends it."""
    stop = Stop()
    if world.local_size > 1:  # each would take every processor, and they would wait for one another
        torch.set_num_threads(max(1, torch.get_num_threads() // world.local_size))
    with _stoppable(stop), _in_touch(world, meeting):
        stop.listen()  # until here SIGTERM ends the process: nothing of Python's runs while the ranks meet
        # Under torchrun no parent gives the ranks of a host one folder: they use the first one's.
        scratch = world.gather_objects(str(job.scratch))[world.rank - world.local_rank]
        log = main.tell if world.rank == 0 else _quiet
        trainer.train(replace(job, scratch=Path(scratch)), world, stop, log, main.tell)
    return 0


@contextmanager
def _stoppable(stop: Stop) -> Iterator[None]:
    """Raises StoppedEarlyError for what a stop brings about: lost ranks, compilers that are cut short."""
    try:
        yield
    except StoppedError:
        raise
    except Exception as error:
        if isinstance(error, _LostError) or not stop.waits:
            stop.check()
        raise


def run_ranks(job: trainer.Job, worlds: list[World], meeting: Meeting) -> int:
    """A process for each rank; SIGTERM is passed on to them, and one that fails ends the others."""
    stop = Stop().wait().listen()
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_child, args=(job, world, meeting)) for world in worlds]
    for child in children:
        child.start()
    passed_on, failed = False, 0
    while any(child.is_alive() for child in children):
        if stop.requested and not passed_on:
            passed_on = True
            _signal(children, signal.SIGTERM)
        failed = failed or _failure(children)
        if failed:
            _signal(children, signal.SIGKILL)  # the others wait for it in vain
        time.sleep(0.1)
    failed = failed or _failure(children)
    if failed < 0:
        job.paths.failure.unlink(missing_ok=True)  # the others knew only that they had lost it
        return main.fail(job.paths, main.killed_by(-failed))
    if failed:
        return 1
    return contract.EXIT_STOPPED if any(child.exitcode for child in children) else 0


# Done; stopped and saved; stopped before it listened.
_NO_FAILURE = (0, contract.EXIT_STOPPED, -signal.SIGTERM)


def _failure(children: Sequence[BaseProcess]) -> int:
    """The exit code of one that failed, negative where a signal ended it; 0 where none did.

    Of several the negative one: the others failed because they lost it.
    """
    codes = [child.exitcode for child in children if child.exitcode is not None]
    return min((code for code in codes if code not in _NO_FAILURE), default=0)


def _child(job: trainer.Job, world: World, meeting: Meeting) -> None:
    main.leave(main.guarded(job.paths, lambda: run_rank(job, world, meeting)))


def _signal(children: Sequence[BaseProcess], number: signal.Signals) -> None:
    for child in children:
        if child.is_alive() and child.pid:
            os.kill(child.pid, number)


@contextmanager
def _connected(world: World, meeting: Meeting) -> Iterator[None]:
    """Within it the ranks can talk.

    After a failure nothing is taken down, for that may wait for a rank that is gone; the process ends anyway.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(world.device)
    if world.size == 1:
        yield
        return
    if meeting.interface in {name for _, name in socket.if_nameindex()}:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", meeting.interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", meeting.interface)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        init_method=f"tcp://{meeting.address}:{meeting.port}",
        rank=world.rank,
        world_size=world.size,
        timeout=PATIENCE,
    )
    try:
        yield
    except StoppedEarlyError:
        raise  # the other ranks may be elsewhere: to take it down would be to wait for them
    except StoppedError:
        distributed.destroy_process_group()
        raise
    distributed.destroy_process_group()


@contextmanager
def _in_touch(world: World, meeting: Meeting) -> Iterator[None]:
    """Raises _LostError where the ranks do not find, or lose, each other: another knows the cause."""
    try:
        with _connected(world, meeting):
            yield
    except (distributed.DistError, RuntimeError) as error:
        named = any(name in str(error) for name in ("gloo", "Gloo", "NCCL"))  # gloo has no class for it
        if world.size == 1 or not (named or isinstance(error, distributed.DistError)):
            raise
        raise _LostError(
            f"rank {world.rank} of {world.size} does not reach the others ({meeting.address}:{meeting.port}; "
            f"{first_line(error)}): see the other hosts' logs for the cause; if they have none, let the "
            f"security group pass traffic between the job's hosts"
        ) from error


def _quiet(line: str) -> None:
    """The log of every rank but the first."""
