"""What Docker's programs say when something fails, said again with what to do about it."""

import re

from facetrain.errors import OperationError


class ImageError(OperationError):
    """An image could not be built, pushed or run: one sentence with the remedy."""


_BASE = ", or name another base with --build-arg BASE=… (FACETRAIN_BUILD_OPTIONS keeps such options)"
NOT_EMULATED = (
    "it cannot run linux/amd64 programs, which SageMaker's machines need: `docker run --privileged --rm "
    "tonistiigi/binfmt --install amd64` teaches it to, or build on an x86-64 machine"
)
_REMEDIES = (
    (
        r"permission denied while trying to connect|dial unix .*permission denied",
        "this user may not talk to Docker's engine: `sudo usermod -aG docker $USER`, then log in again",
    ),
    (
        r"cannot connect to the docker daemon|failed to connect to the docker api|error during connect"
        r"|docker daemon is not running",
        "start Docker Desktop, or `sudo systemctl start docker` (`docker context ls` and DOCKER_HOST say "
        "which engine is asked)",
    ),
    (
        r"client version .* is too old",
        "this docker program is older than its engine can talk to: install a newer one",
    ),
    (
        r"no space left on device|not enough free space|disk quota exceeded",
        "the disk of Docker's engine is full: `docker system df` says what holds it, `docker builder prune` "
        "and `docker image prune` free it",
    ),
    (
        r"exec format error",
        f"Docker's engine is on another kind of processor; {NOT_EMULATED}",
    ),
    (
        r"toomanyrequests|429 too many requests|pull rate limit",
        "the base image's registry answers no more for now: `docker login` raises Docker Hub's limit" + _BASE,
    ),
    (
        r"(?:failed to (?:resolve source metadata|do request|authorize|fetch)|error getting credentials|"
        r"get \"?https://[^ ]*docker\.io).*(?:x509|certificate)",
        f"the base image's registry is not trusted: add the company's certificate to Docker's engine{_BASE}",
    ),
    (
        r"failed to resolve source metadata|failed to authorize"
        r"|failed to do request: head|failed to fetch (?:anonymous|oauth) token|pull access denied for"
        r"|error pulling image configuration|registry-1\.docker\.io",
        "the base image cannot be had: check its name, the network (Docker's engine has a proxy setting of "
        f"its own) and, where it is private, `docker login`{_BASE}",
    ),
    (
        r"certificate_verify_failed|self[- ]signed certificate in certificate chain",
        "the network's proxy has a certificate of its own: add --secret id=ca,src=<its CA bundle>",
    ),
    (
        r"temporary failure (?:in name resolution|resolving)|name or service not known"
        r"|could not resolve '?[\w.]+|could not find a version that satisfies|no matching distribution found",
        "the build could not fetch packages: try --network=host, or --build-arg HTTPS_PROXY=… behind a proxy "
        "(FACETRAIN_BUILD_OPTIONS keeps such options)",
    ),
    (
        r"requires (?:exactly )?1 argument",
        "one name, then only options of `docker build`, each beginning with -",
    ),
    (
        r"unknown (?:shorthand )?flag",
        "that is no option of this docker's `build`: see `docker build --help` and FACETRAIN_BUILD_OPTIONS",
    ),
    (
        r"no basic auth credentials|authorization token has expired",
        "the registry did not take the login: run the command again",
    ),
    (
        r"http: server gave http response to https client|connection refused",
        "nothing answers there for Docker's engine: it must be on this machine where the registry is (the "
        "cloud's: `facetrain local status`)",
    ),
)
_LOOKED_AT = 40  # lines: BuildKit ends with the last twenty or so of the step that failed
_LONGEST = 300  # characters of a line of Docker's: it may hold a whole RUN instruction
# What stands before the words that count: programs' names, times, steps.
_NOISE = re.compile(
    r"^(?:ERROR: |Error response from daemon: |error: |failed to build: |failed to solve: |#\d+ |\d+\.\d+ "
    r"|rpc error: code = \w+ desc = |failed to solve with frontend dockerfile.v0: "
    r"|failed to create LLB definition: )+"
)
_DENIED = re.compile(r"not authorized to perform: (?P<action>ecr:\w+) on resource: (?P<resource>\S+)")


def explain(said: str) -> str:
    """Docker's last words, with the remedy where the trouble is a known one.

    said: everything that the program wrote. The known trouble may stand above the last line, but not far
    above: what was said there may have been overcome.
    """
    if denied := _DENIED.search(said):
        return may_not(denied["action"], denied["resource"])
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line in reversed(lines[-_LOOKED_AT:]):
        for pattern, remedy in _REMEDIES:
            if re.search(pattern, line, re.IGNORECASE):
                return f"{_tidy(line)}: {remedy}"
    return _tidy(lines[-1]) if lines else "it said nothing"


def may_not(action: str, resource: str) -> str:
    """Which permission is missing, and who can help."""
    return (
        f"these credentials may not {action} on {resource}: ask an administrator for that permission "
        "(docs/build-and-push.md lists them)"
    )


def _tidy(line: str) -> str:
    line = _NOISE.sub("", line).rstrip(".?")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …"
