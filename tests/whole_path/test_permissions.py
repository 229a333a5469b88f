"""A permission taken away shows on this machine as the AccessDenied that AWS would give."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.whole_path.account import Account, manifest, until
from training.jobs import contract

pytestmark = pytest.mark.cloud


@contextmanager
def denied(account: Account, role: str, action: str) -> Iterator[None]:
    """While this lasts, the role may not do `action`: an explicit denial wins over every permission."""
    iam = account.deployment.connection.client("iam")
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": action, "Resource": "*"}]}
    iam.put_role_policy(RoleName=role, PolicyName="taken-away", PolicyDocument=json.dumps(document))
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="taken-away")


def launcher_role(account: Account) -> str:
    function = account.deployment.connection.client("lambda").get_function(
        FunctionName=account.deployment.function_name
    )
    return str(function["Configuration"]["Role"]).rpartition("/")[2]


def job_role(account: Account) -> str:
    return account.deployment.platform.role_arn.rpartition("/")[2]


def launch(account: Account, dataset: str) -> dict[str, Any]:
    payload = json.dumps({"manifest": str(account.manifest_uri(dataset))})
    client = account.deployment.connection.client("lambda")
    answer = client.invoke(FunctionName=account.deployment.function_name, Payload=payload)
    return json.load(answer["Payload"])  # type: ignore[no-any-return]


@pytest.mark.parametrize("action", ["sagemaker:CreateTrainingJob", "iam:PassRole", "sagemaker:AddTags"])
def test_a_launcher_that_may_not_start_jobs_is_told_so(account: Account, faces: Path, action: str) -> None:
    dataset = f"denied-{action.partition(':')[2].lower()}"
    account.upload(dataset, faces)
    with denied(account, launcher_role(account), action):
        account.drop(dataset, manifest())
        answer = launch(account, dataset)
    assert "AccessDenied" in json.dumps(answer)
    assert action in json.dumps(answer)


def test_a_launcher_that_may_not_read_manifests_is_told_so(account: Account, faces: Path) -> None:
    account.upload("unread", faces)
    with denied(account, launcher_role(account), "s3:GetObject*"):
        account.drop("unread", manifest())
        answer = launch(account, "unread")
    assert "AccessDenied" in json.dumps(answer)


def test_a_job_whose_role_may_not_read_its_data_fails_while_downloading(
    account: Account, faces: Path
) -> None:
    account.upload("noread", faces)
    with denied(account, job_role(account), "s3:GetObject"):
        job = account.wait_for_end(account.drop("noread", manifest()))
    assert job["TrainingJobStatus"] == "Failed"
    assert "AccessDenied" in job["FailureReason"]


def test_a_job_whose_role_may_not_list_its_data_is_refused_with_the_permission_it_lacks(
    account: Account, faces: Path
) -> None:
    account.upload("nolist", faces)
    with denied(account, job_role(account), "s3:ListBucket"):
        account.drop("nolist", manifest())
        rejection = account.deployment.dataset_folder("nolist").join(contract.REJECTION_NAME)
        until(lambda: account.exists(rejection), "the refusal")
    assert "s3:ListBucket" in account.read(rejection).decode()


def test_a_job_whose_role_may_not_write_its_model_fails_while_uploading(
    account: Account, faces: Path
) -> None:
    account.upload("nowrite", faces)
    with denied(account, job_role(account), "s3:PutObject"):
        job = account.wait_for_end(account.drop("nowrite", manifest()))
    assert job["TrainingJobStatus"] == "Failed"
    assert "AccessDenied" in job["FailureReason"]


def test_a_caller_with_wrong_keys_is_refused_by_every_service(account: Account) -> None:
    wrong = {**account.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}
    stranger = Account(account.deployment, wrong)
    for command in (("s3", "ls"), ("sagemaker", "list-training-jobs"), ("sns", "list-topics")):
        done = stranger.aws(*command)
        assert done.returncode != 0
        assert "Signature" in done.stderr


def test_a_user_without_permissions_may_neither_list_nor_start_jobs(account: Account) -> None:
    iam = account.deployment.connection.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    done = Account(account.deployment, {**account.environment, **keys}).aws("sagemaker", "list-training-jobs")
    assert "AccessDeniedException" in done.stderr
    assert "user/nobody is not authorized to perform: sagemaker:ListTrainingJobs" in done.stderr
