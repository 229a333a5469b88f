"""The pages stay true: every `training_job.py` command is understood, the refusal shown is the one given."""

import shlex
from pathlib import Path

import pytest

from facetrain.by_hand import image
from tests.by_hand.account import role_policy
from tests.by_hand.conftest import Account, TrainingJob
from tests.cli.documentation import fenced
from training.jobs.algorithms import ALGORITHMS
from training.jobs.config import TRAIN_ARGS_ALIASES, parse_train_args, resolve

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "by-hand.md").read_text()
SCRIPT = "python training_job.py "
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = sorted(
    {
        line.partition("  #")[0]
        for page in PAGES
        for block in fenced(page.read_text(), "sh")
        for line in block.splitlines()
        if line.startswith(SCRIPT)
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_on_the_pages_leads_to_a_request(
    training_job: TrainingJob, account: Account, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    account.put("team/sagemaker_training_jobs/yolo-inputs/input/data/cfg/dataset.yaml")
    options = shlex.split(command.removeprefix(SCRIPT).replace("YOUR-BUCKET", "team"))
    assert training_job.dry(*options)["TrainingJobName"]


def test_what_is_refused_is_answered_as_shown(training_job: TrainingJob) -> None:
    (shown,) = fenced(PAGE, "console")
    typed, *said = shown.splitlines()
    image.FILE.unlink()
    ran = training_job(*shlex.split(typed.removeprefix(f"$ {SCRIPT}")))
    assert ran.code == 2
    assert ran.err.splitlines() == said


def test_the_page_names_no_wildcard_where_a_resource_can_be_named() -> None:
    statements = role_policy("team", "face-training")["Statement"]
    everywhere = {action for one in statements if one["Resource"] == "*" for action in [one["Action"]]}
    assert everywhere == {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}


@pytest.mark.parametrize(
    ("folder", "algorithm", "epochs"), [("face-inputs", "arcface", 20), ("yolo-inputs", "yolov5", 100)]
)
def test_the_example_trains_as_it_is(folder: str, algorithm: str, epochs: int) -> None:
    text = (ROOT / "examples" / folder / "input/data/cfg/train-args.json").read_text()
    assert resolve(ALGORITHMS[algorithm], parse_train_args(text), {})["epochs"] == epochs


def test_the_names_that_older_files_use_are_known() -> None:
    (sentence,) = [line for line in PAGE.splitlines() if "`backbone`" in line]
    named = set(sentence.split("`")[1::2])
    assert named <= set(TRAIN_ARGS_ALIASES) | set(ALGORITHMS["arcface"].knobs)
