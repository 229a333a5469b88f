"""The pages stay true: commands, manifests, tables and targets are held against the code."""

import json
import re
import shlex
from pathlib import Path

import jsonschema
import pytest
from typer.main import get_command

from facetrain.cli.entry import app
from tests.cli.conftest import Facetrain
from tests.cli.documentation import REFUSED, WRONG, commands, error_row, fenced, knob_row
from tests.jobs.examples import NOW
from training.jobs.algorithms import ALGORITHMS
from training.jobs.manifest import parse
from training.jobs.platform import Platform
from training.jobs.uri import S3Uri

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MANIFEST_PAGE = (ROOT / "docs" / "manifest.md").read_text()
EVERY_COMMAND = sorted({command for page in PAGES for command in commands(page.read_text())})


def test_the_pages_tell_of_every_command() -> None:
    told = {tuple(command.split()[1:3]) for command in EVERY_COMMAND}
    single = {"demo", "submit", "jobs", "show", "logs", "stop", "report", "verify", "doctor"}
    assert single <= {words[0] for words in told}
    assert {
        ("local", "up"),
        ("local", "down"),
        ("local", "status"),
        ("local", "env"),
        ("dataset", "push"),
    } <= told


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_every_command_on_the_pages_is_understood(command: str) -> None:
    """Parsed by the command's own parser, which refuses unknown options and wrong numbers of arguments."""
    words = shlex.split(command)[1:]
    group = get_command(app)
    context = group.make_context("facetrain", list(words), resilient_parsing=False)
    while hasattr(context.command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, found, rest = context.command.resolve_command(context, rest)
        if not rest:
            return  # only named, as in "`facetrain submit` answers with the same errors"
        context = found.make_context(name, rest, parent=context)


def test_every_manifest_on_the_pages_is_accepted_by_code_and_schema() -> None:
    schema = json.loads((ROOT / "docs" / "manifest.schema.json").read_text())
    platform = Platform.example()
    location = S3Uri(platform.inputs_bucket, "inputs/staff/manifest.json")
    blocks = [block for page in PAGES for block in fenced(page.read_text(), "json")]
    assert len(blocks) >= 2
    for block in blocks:
        jsonschema.validate(json.loads(block), schema)
        parse(block, location, platform, NOW)


KNOBS = [(algorithm, name) for algorithm, it in ALGORITHMS.items() for name in it.knobs]


@pytest.mark.parametrize(("algorithm", "name"), KNOBS)
def test_the_table_of_hyperparameters_says_what_the_code_does(algorithm: str, name: str) -> None:
    page = MANIFEST_PAGE if algorithm == "arcface" else (ROOT / "docs" / f"{algorithm}.md").read_text()
    assert knob_row(name, ALGORITHMS[algorithm].knobs[name]) in page.splitlines()


@pytest.mark.parametrize("what", WRONG)
def test_the_table_of_mistakes_says_what_the_code_says(what: str) -> None:
    assert error_row(what) in MANIFEST_PAGE.splitlines()


def test_the_refused_manifest_is_answered_as_shown(
    no_cloud: Facetrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "staff").mkdir()
    (tmp_path / "staff" / "manifest.json").write_text(REFUSED)
    monkeypatch.chdir(tmp_path)
    (shown,) = fenced(MANIFEST_PAGE, "console")
    command, *said = shown.splitlines()
    ran = no_cloud(*shlex.split(command.removeprefix("$ facetrain ")))
    assert ran.code == 2
    assert ran.err.splitlines()[-len(said) :] == said


def test_the_make_targets_on_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for page in PAGES
        for name in re.findall(r"(?:^|`|\$ )make ([a-z]+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "test", "lint", "bench", "setup"} <= named
    assert named <= targets


def test_the_links_between_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
