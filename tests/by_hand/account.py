"""What a team that works by hand has in its account: a bucket and a role, made with plain AWS calls."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facetrain.client import Connection
from training.jobs.uri import S3Uri

BUCKET = "team-faces"
ROLE = "face-training-role"


@dataclass(frozen=True)
class Team:
    """Where the team's data and results lie, and the role that its jobs work with."""

    connection: Connection
    role_arn: str
    bucket: str = BUCKET

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def keys(self, prefix: str = "") -> set[str]:
        pages = self.connection.client("s3").get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.bucket, Prefix=prefix)
        return {item["Key"] for page in found for item in page.get("Contents", ())}

    def upload(self, folder: Path, prefix: str) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.connection.client("s3").upload_file(str(path), self.bucket, key)

    def read(self, address: str) -> bytes:
        uri = S3Uri.parse(address)
        answer = self.connection.client("s3").get_object(Bucket=uri.bucket, Key=uri.key)
        return answer["Body"].read()  # type: ignore[no-any-return]


def make_team(connection: Connection, repository: str) -> Team:
    """The bucket and the role of docs/by-hand.md, made once in the account of this connection.

    repository: the one that the role may pull from.
    """
    s3, iam = connection.client("s3"), connection.client("iam")
    if BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=BUCKET)
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(_trust(connection)))
    policy = json.dumps(role_policy(BUCKET, repository))
    iam.put_role_policy(RoleName=ROLE, PolicyName="train", PolicyDocument=policy)
    return Team(connection, iam.get_role(RoleName=ROLE)["Role"]["Arn"])


def role_policy(bucket: str, repository: str) -> dict[str, Any]:
    """The policy that docs/by-hand.md shows, for this bucket and this repository."""
    page = (Path(__file__).parents[2] / "docs" / "by-hand.md").read_text()
    text = page.partition("```jsonc\n")[2].partition("```")[0]
    text = text.replace("YOUR-BUCKET", bucket).replace("repository/face-training", f"repository/{repository}")
    return json.loads(text)  # type: ignore[no-any-return]


def _trust(connection: Connection) -> dict[str, Any]:
    """SageMaker, and the account itself: the training service on this machine is a client like any other."""
    account = connection.client("sts").get_caller_identity()["Account"]
    principal = {"Service": "sagemaker.amazonaws.com", "AWS": f"arn:aws:iam::{account}:root"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}
