"""A cold start pays for what the handler imports, and nothing may happen before the first event."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
import boto3
boto3.client("s3", region_name="us-east-1")
before = set(sys.modules)
import launch_training.handler
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""


def test_beyond_boto3_the_handler_imports_only_ours_and_two_small_modules_and_reads_no_environment() -> None:
    environment = {"PYTHONPATH": f"{ROOT / 'lambda'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= {"difflib", "launch_training", "training", "unicodedata"}
