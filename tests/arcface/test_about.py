"""What a job is told of itself gets from the manifest to the trainer."""

from tests.jobs.examples import PLATFORM, SMALLEST, parsed
from training.container.about import About
from training.jobs.request import build_request


def test_the_trainer_reads_what_the_request_tells() -> None:
    governance = {
        "legal_basis": "consent; art. 9(2)(a)",
        "expires_at": "2027-06-30",
        "contact": "a@b.example",
    }
    request = build_request(parsed(SMALLEST | {"governance": governance}), PLATFORM, "facetrain-x-staff-1")
    told = {**request["Environment"], "TRAINING_JOB_NAME": request["TrainingJobName"], "HOME": "/root"}
    about = About.from_environment(told)
    assert (about.job, about.dataset, about.title) == ("facetrain-x-staff-1", "staff", "staff")
    assert about.governance == {"legal_basis": "consent; art. 9(2)(a)", "expires_at": "2027-06-30"}


def test_a_container_run_by_hand_is_told_nothing_and_still_has_a_title() -> None:
    assert About.from_environment({}).title == "Face recognition model"
