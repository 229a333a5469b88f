"""What goes into a build: the files that .dockerignore lets in, and the options that change the result."""

import hashlib
import itertools
import os
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from facetrain.errors import InputError

OPTIONS_VARIABLE = "FACETRAIN_BUILD_OPTIONS"
TAG_LENGTH = 20  # of hexadecimal digits
# Options that say how to build and not what: the same content has the same tag with and without them.
_FLAGS = {"--no-cache", "--pull", "--quiet", "-q", "--load", "--force-rm", "--rm"}
_WITH_VALUE = {"--network", "--secret", "--ssh", "--progress", "--cache-from", "--cache-to", "--add-host"}


def build_options() -> list[str]:
    """The further options of `docker build` that FACETRAIN_BUILD_OPTIONS holds, split as a shell would.

    Raises InputError where a quote is not closed.
    """
    text = os.environ.get(OPTIONS_VARIABLE, "")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError.because(OPTIONS_VARIABLE, f"{error} in {text!r}") from None


def revision(context: Path) -> str | None:
    """The commit that is checked out, with `-dirty` where files differ from it; None where git cannot say."""
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run(  # noqa: S603  # a list of our own, no shell reads it
        [
            git,
            "--no-optional-locks",
            "-C",
            str(context),
            "describe",
            "--always",
            "--abbrev=40",
            "--exclude=*",
            "--dirty",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None


def fingerprint(context: Path, options: Sequence[str] = ()) -> str:
    """A tag for what a build of `context` holds: 20 hexadecimal digits.

    It changes with what .dockerignore lets in (names, contents, executable bits), with the Dockerfile and
    with build options, those of FACETRAIN_BUILD_OPTIONS included; not with times, owners or how it is built.
    """
    total = hashlib.sha256()
    for entry in _sent(context):
        total.update(_described(context, entry))
    every = [*build_options(), *options]
    for option in _of_content(every):
        total.update(f"option {option}\0".encode())
    for file in _dockerfiles(every):
        if file.is_file():  # else the build will say so
            total.update(file.read_bytes())
    return total.hexdigest()[:TAG_LENGTH]


def _sent(context: Path) -> list[str]:
    """Paths, relative and sorted, of the files that Docker sends to its engine, the Dockerfile among them."""
    rules = _rules(context / ".dockerignore")
    found = {"Dockerfile"} if (context / "Dockerfile").exists() else set()
    for folder, below, files in os.walk(context):
        links = [name for name in below if (Path(folder) / name).is_symlink()]  # sent as they are, like files
        for name in [*files, *links]:
            path = (Path(folder) / name).relative_to(context).as_posix()
            if not _is_ignored(path, rules):
                found.add(path)
    return sorted(found)


def _described(context: Path, path: str) -> bytes:
    file = context / path
    mode = file.lstat().st_mode
    if stat.S_ISLNK(mode):
        kind, data = "link", str(file.readlink()).encode()
    else:
        kind, data = "program" if mode & stat.S_IXUSR else "file", file.read_bytes()
    return f"{kind} {path}\0{hashlib.sha256(data).hexdigest()}\0".encode()


def _rules(file: Path) -> list[tuple[re.Pattern[str], bool]]:
    """The lines of .dockerignore as (pattern, whether it lets in)."""
    rules = []
    for line in file.read_text().splitlines() if file.exists() else []:
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            allows = pattern.startswith("!")
            rules.append((_regex(pattern.removeprefix("!").strip().strip("/")), allows))
    return rules


def _regex(pattern: str) -> re.Pattern[str]:
    """A pattern as Docker reads it: `**` any folders, `*` and `?` within one name, [a-z] a range."""
    parts = {"**/": r"(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", pattern)
    return re.compile(
        "".join(parts.get(token, token if len(token) > 1 else re.escape(token)) for token in tokens)
    )


def _is_ignored(path: str, rules: Sequence[tuple[re.Pattern[str], bool]]) -> bool:
    """The last rule that matches the path or a folder above it decides."""
    parts = path.split("/")
    above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    ignored = False
    for pattern, allows in rules:
        if any(pattern.fullmatch(one) for one in above):
            ignored = not allows
    return ignored


def _dockerfiles(options: Sequence[str]) -> Iterator[Path]:
    """Other Dockerfiles that options name: they need not be in the context."""
    for before, option in itertools.pairwise(["", *options]):
        if before in ("-f", "--file"):
            yield Path(option)
        elif option.startswith("--file="):
            yield Path(option.removeprefix("--file="))


def _of_content(options: Sequence[str]) -> Iterator[str]:
    remaining = iter(options)
    for option in remaining:
        if option in _WITH_VALUE:
            next(remaining, None)
        elif option not in _FLAGS and option.partition("=")[0] not in _FLAGS | _WITH_VALUE:
            yield option
