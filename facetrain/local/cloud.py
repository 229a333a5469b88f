"""AWS on this machine: `up`, `down`, `status`, and the environment that points any AWS client at it."""

import datetime as dt
import json
import os
import shlex
import signal
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from facetrain.local import certificates, container_image, deployment, ports, services
from facetrain.local.certificates import TlsFiles
from facetrain.local.clients import STAGE, aws_environment
from facetrain.local.credentials import credentials
from facetrain.local.deployment import Progress
from facetrain.local.errors import LocalCloudError
from facetrain.local.home import Home, read_json, write_private
from facetrain.local.routes import MINISTACK_HEALTH_PATH, SAGEMAKER_HEALTH_PATH
from facetrain.local.services import PortTakenError, Servers
from training.jobs.algorithms import ALGORITHMS

__all__ = ["Cloud", "LocalCloudError", "Status", "down", "find", "status", "up"]

DEFAULT_NAME = "default"
RUNNERS = ("process", "docker")
START_ATTEMPTS = 5
PATIENCE = 30.0  # seconds that a living process has to answer
# Variables of the user's shell that would win over the cloud's, or be mixed with them.
OVERRIDING = (
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
    *("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_USE_FIPS_ENDPOINT"),
)


@dataclass(frozen=True)
class Cloud:
    """A running cloud, as its users see it."""

    name: str
    home: Path
    endpoint: str  # https://localhost:<port>: every service but SageMaker
    sagemaker_endpoint: str
    region: str
    _environment: dict[str, str] = field(repr=False)  # holds the secret key

    def environment(self) -> dict[str, str]:
        """The variables that point the AWS CLI, boto3, the CDK and Facetrain itself at this cloud."""
        return dict(self._environment)

    def shell_exports(self) -> str:
        """The same as lines for a POSIX shell's `eval`, without what would win over them."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self._environment.items()]
        others = [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL_")]  # of single services
        unset = [*OVERRIDING, *(name for name in others if name not in self._environment)]
        return "\n".join([f"unset {' '.join(unset)}", *lines]) + "\n"


@dataclass(frozen=True)
class Status:
    """What is there of a cloud, running or not."""

    name: str
    running: bool  # both processes answer
    deployed: bool
    stage: str
    runner: str
    endpoint: str | None
    sagemaker_endpoint: str | None
    processes: dict[str, int | None]  # process ids by name
    running_jobs: list[str]
    home: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


def up(
    name: str = DEFAULT_NAME,
    progress: Progress = lambda _line: None,
    runner: str | None = None,
    port: int | None = None,
    algorithms: Collection[str] = (),
) -> Cloud:
    """Start the cloud `name` and deploy the stacks into it; harmless where both are done.

    progress is told, in one line each, what takes time. runner: what jobs run as, "process" or "docker";
    where None, as before, or "process" in a new cloud. port: MiniStack's; any free one where None.
    algorithms: whose images are built beside the first's, for containers.
    Raises LocalCloudError in one sentence with the remedy. An interrupt, like a failure, leaves nothing
    running that was not running before, and no half-made deployment.
    """
    if runner not in (None, *RUNNERS):
        raise LocalCloudError(f'there is no runner "{runner}": take {" or ".join(RUNNERS)}')
    home = Home.of(name)
    container_image.refuse(algorithms, runner or _runner(home))
    with (
        _termination_raises(),
        home.locked(lambda: progress(f'Waiting for another command on cloud "{name}"')),
    ):
        before = _healthy(home)
        _refuse_change(before, port, runner)
        with _nothing_half_made(home, ran_before=before is not None):
            if (runner or _runner(home)) == "docker":
                servers = _with_containers(home, before, port, progress, algorithms)
            else:
                servers = _with_processes(home, before, port, progress)
            if before is None:
                deployment.warm_launcher(servers)
    return _cloud(servers)


def _with_processes(home: Home, running: Servers | None, port: int | None, progress: Progress) -> Servers:
    """A cloud whose jobs are processes: what stands for the image is the checkout's own program."""
    programs = deployment.images(deployment.checkout())
    servers = running or _start(home, port, "process", programs, progress)
    deployment.deploy(servers, deployment.PROCESS_TAG, progress)
    return servers


def _with_containers(
    home: Home, running: Servers | None, port: int | None, progress: Progress, algorithms: Collection[str]
) -> Servers:
    """A cloud whose jobs are containers. What can fail for want of Docker comes first."""
    root = deployment.checkout()
    engine, tag = container_image.engine(), container_image.tag(root)
    for algorithm in dict.fromkeys([next(iter(ALGORITHMS)), *algorithms]):
        container_image.ensure_built(engine, root, algorithm, tag, progress)
    is_new = read_json(home.settings) is None
    servers = running or _start(home, port, "docker", {}, progress)
    deployment.deploy(servers, tag, progress)
    for algorithm in ALGORITHMS:
        if engine.holds(container_image.name(algorithm, tag)):
            container_image.ensure_pushed(engine, servers, algorithm, tag, progress)
        elif is_new:
            build = f"facetrain local up{_named(home.name)} --algorithm {algorithm}"
            progress(f"There is no image of {algorithm} yet, whose jobs would fail: `{build}` builds it")
    return servers


def down(name: str = DEFAULT_NAME, delete: bool = False) -> bool:
    """Stop the cloud and its jobs; with `delete`, remove what it holds. True where something was running."""
    home = Home.of(name)
    with _termination_raises(), home.locked(lambda: None):
        ran = any(_processes(home).values())
        services.stop(home)
        if delete:
            if _runner(home) == "docker":
                container_image.forget((read_json(home.settings) or {})["port"])
            home.delete()
    return ran


def find(name: str = DEFAULT_NAME) -> Cloud:
    """The running cloud `name`; LocalCloudError where it does not run."""
    servers = _healthy(Home.of(name))
    if servers is None:
        raise LocalCloudError(
            f'the cloud "{name}" is not running: start it with `facetrain local up{_named(name)}`'
        )
    return _cloud(servers)


def status(name: str = DEFAULT_NAME) -> Status:
    """What there is of the cloud `name`, which need not run or even exist."""
    home = Home.of(name)
    servers = _healthy(home)
    jobs: list[str] = []
    if servers is not None:
        health = servers.get(servers.sagemaker_endpoint + SAGEMAKER_HEALTH_PATH) or {}
        jobs = list(health.get("running", []))
    return Status(
        name=name,
        running=servers is not None,
        deployed=home.deployed.exists(),
        stage=STAGE,
        runner=_runner(home),
        endpoint=servers.endpoint if servers else None,
        sagemaker_endpoint=servers.sagemaker_endpoint if servers else None,
        processes=_processes(home),
        running_jobs=jobs,
        home=str(home.path),
    )


def _named(name: str) -> str:
    return "" if name == DEFAULT_NAME else f" --name {name}"


def _cloud(servers: Servers) -> Cloud:
    environment = aws_environment(servers)
    home = servers.home
    return Cloud(
        home.name, home.path, servers.endpoint, servers.sagemaker_endpoint, services.REGION, environment
    )


def _processes(home: Home) -> dict[str, int | None]:
    return {name: services.service(home, name).pid() for name in ("ministack", "sagemaker")}


def _servers(home: Home, settings: dict[str, Any]) -> Servers:
    return Servers(
        home=home,
        port=settings["port"],
        sagemaker_port=settings["sagemaker_port"],
        first_port=settings["first_port"],
        credentials=credentials(home),
        runner=settings.get("runner", RUNNERS[0]),
    )


def _runner(home: Home) -> str:
    """What the cloud's jobs run as, or ran as when it was last up."""
    return str((read_json(home.settings) or {}).get("runner", RUNNERS[0]))


def _healthy(home: Home) -> Servers | None:
    """The cloud's servers where both live, answer, and have a certificate that will last; else None."""
    settings = read_json(home.settings)
    if settings is None or not all(_processes(home).values()):
        return None
    servers = _servers(home, settings)
    if not certificates.is_fresh(servers.tls, dt.datetime.now(dt.UTC)):
        return None
    health = (
        servers.endpoint + MINISTACK_HEALTH_PATH,
        servers.sagemaker_endpoint + SAGEMAKER_HEALTH_PATH,
    )
    # Patient, for both processes live: a cloud that is only slow must not be restarted under its jobs.
    return servers if all(servers.get(address, PATIENCE) is not None for address in health) else None


def _refuse_change(servers: Servers | None, port: int | None, runner: str | None) -> None:
    """LocalCloudError where a running cloud would have to be another one."""
    if servers is None:
        return
    stop_it = f"stop it with `facetrain local down{_named(servers.home.name)}` before"
    if port not in (None, servers.port):
        raise LocalCloudError(
            f'the cloud "{servers.home.name}" already runs on port {servers.port}: '
            f"{stop_it} giving it port {port}"
        )
    if runner not in (None, servers.runner):
        raise LocalCloudError(
            f'the cloud "{servers.home.name}" already runs, with --runner {servers.runner}: '
            f"{stop_it} starting it with --runner {runner}"
        )


def _start(
    home: Home, port: int | None, runner: str, programs: Mapping[str, Path], progress: Progress
) -> Servers:
    """Start both processes on free ports; whatever is left of an earlier run is stopped first."""
    services.stop(home)
    home.create()
    if port is not None:
        ports.require_free(port)
    tls = TlsFiles.below(home.tls)
    now = dt.datetime.now(dt.UTC)
    if not certificates.is_fresh(tls, now):
        certificates.make(tls, now)
    progress(f'Starting the cloud "{home.name}"')
    for attempt in range(START_ATTEMPTS):
        servers = _servers(home, _settings(home, port, runner))
        try:
            servers.start(programs)
        except PortTakenError:
            services.stop(home)
            if attempt == START_ATTEMPTS - 1 or port is not None:
                raise
            progress("Another program took the port meanwhile: taking another one")
        else:
            return servers
    raise AssertionError("the last attempt returns or raises")


def _settings(home: Home, port: int | None, runner: str) -> dict[str, Any]:
    """Runner and ports to use from now on, written down: the ports from before where they are free."""
    old = read_json(home.settings) or {}
    remembered = [old[key] for key in ("port", "sagemaker_port") if key in old]
    gateway, sagemaker = ports.choose(2, remembered)
    gateway = port or gateway
    first = old["first_port"] if home.deployed.exists() and "first_port" in old else gateway
    settings = {"port": gateway, "sagemaker_port": sagemaker, "first_port": first, "runner": runner}
    write_private(home.settings, json.dumps(settings))
    return settings


@contextmanager
def _nothing_half_made(home: Home, *, ran_before: bool) -> Iterator[None]:
    """Where `up` does not come to its end, go back to the last deployment that did.

    MiniStack is killed rather than asked, for it would save half a deployment on its way out; what it saved
    last is whole. Only a cloud that ran before and failed (not: was interrupted) goes on running.
    """
    existed = home.path.exists()
    try:
        yield
    except BaseException as problem:
        with _signals(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if isinstance(problem, Exception) and ran_before:
                raise
            services.stop(home, grace=0)
            if not home.deployed.exists():
                home.forget_contents()
            if not existed and not isinstance(problem, Exception):
                home.delete()  # a failure's logs are worth keeping, an interrupt's are not
        raise


@contextmanager
def _termination_raises() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that they leave nothing running either."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _signals(leave, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def _signals(handler: Any, *numbers: signal.Signals) -> Iterator[None]:
    """Handle these signals so for a while; only the main thread may, and only it receives them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
