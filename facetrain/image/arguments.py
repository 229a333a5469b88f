"""The command line of `./build-and-push.sh`, refused in one sentence before anything is done."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from facetrain.errors import InputError

EXAMPLE = "./build-and-push.sh face-training"
USAGE = f"""\
usage: ./build-and-push.sh <name-of-docker-image> [options of docker build]

Builds training/ for linux/amd64 and pushes it to the repository of that name in your account's ECR, which is
created where it is missing. Writes the image's immutable name to ecr_image_fullname.txt and what is in it to
ecr_image_sbom.cdx.json.

  {EXAMPLE}
  {EXAMPLE} --build-arg DEVICE=cpu
  {EXAMPLE} --pull              builds anew, on the newest base image

Region and credentials are found as every AWS client finds them (AWS_REGION, AWS_PROFILE, `aws configure`).
For the cloud on this machine: `facetrain local up`, then eval "$(facetrain local env)".
FACETRAIN_BUILD_OPTIONS holds options for every build. More: docs/build-and-push.md
"""
PLACE = "name-of-docker-image"
# As ECR has it (a test compares it with botocore's service model).
NAME = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
SHORTEST, LONGEST = 2, 256
_VARIABLE = re.compile(r"\$|\{\{|\}\}|[<>]|%\w+%")
_REGISTRY = re.compile(r"^(?:[^/]+\.(?:amazonaws\.com(?:\.cn)?|io|com|aws|net|org)|localhost|[^/]*:\d+)/")
_ALL_ABOUT_OUTPUT = ("--platform", "--output", "-o", "--push")


@dataclass(frozen=True)
class Wanted:
    """What to build: the repository's name, and further options of `docker build`."""

    name: str
    options: tuple[str, ...]


def parse(arguments: Sequence[str]) -> Wanted:
    """The command line's meaning. Raises InputError."""
    if not arguments:
        raise _refused(f"missing (was a variable not set?): write for example `{EXAMPLE}`; --help says more")
    name, options = arguments[0], tuple(arguments[1:])
    check_name(name)
    if options and not options[0].startswith("-"):
        raise _refused(
            f'one name, not two ("{name}" and "{options[0]}"): what follows is options of docker build'
        )
    check_options("options", options)
    return Wanted(name, options)


def check_name(name: str) -> None:
    """Refuses what ECR would refuse as a repository's name, with what was most likely meant."""
    if not name.strip():
        raise _refused(f"empty: was a variable not set? Write the name itself, `{EXAMPLE}`")
    if name.startswith("-"):
        raise _refused(f'the name comes first, then options, not "{name}": `{EXAMPLE} {name}`')
    if _VARIABLE.search(name):
        raise _refused(
            f'"{name}" holds a placeholder that was not replaced: write the name itself, `{EXAMPLE}`'
        )
    meant = _meant(name)
    if _REGISTRY.search(name):
        raise _refused(
            f'"{name}" names a registry, which is always the one of your account and region (AWS_PROFILE and '
            f"AWS_REGION choose them){meant}"
        )
    if ":" in name or "@" in name:
        raise _refused(f'"{name}" holds a tag or digest, which is made from the content{meant}')
    if not NAME.fullmatch(name):
        raise _refused(
            f'"{name}" is no name for a repository: lower-case letters and digits, joined by '
            f". _ - or /{meant}"
        )
    if not SHORTEST <= len(name) <= LONGEST:
        raise _refused(f'"{name[:40]}" is {len(name)} long: {SHORTEST} to {LONGEST} characters are allowed')


def check_options(place: str, options: Sequence[str]) -> None:
    """Refuses options that would make another image than one for SageMaker, or send it elsewhere."""
    for option in options:
        if option.partition("=")[0] in _ALL_ABOUT_OUTPUT:
            raise InputError.because(
                place,
                f"leave {option} out: images are built for linux/amd64, and pushed when they are checked",
            )


def _meant(name: str) -> str:
    """`: write "x"` where a right name can be made of a wrong one."""
    bare = _REGISTRY.sub("", name).partition("@")[0]
    bare = re.sub(r":[^/]*$", "", bare).lower()
    cleaned = re.sub(r"[^a-z0-9._/-]+", "-", bare)
    guess = "/".join(re.sub(r"[._-]{2,}", "-", part).strip("._-") for part in cleaned.split("/") if part)
    return f': write "{guess}"' if NAME.fullmatch(guess) and len(guess) >= SHORTEST else ""


def _refused(message: str) -> InputError:
    return InputError.because(PLACE, message)
