#!/usr/bin/env python3
"""Starts one training job with the SageMaker Python SDK and follows it: `python training_job.py --help`."""

import sys

REMEDY = "run `make setup`, then `.venv/bin/python training_job.py …`"
if sys.version_info < (3, 11):  # noqa: UP036  # so that an older one says this, and not what it stumbles over
    sys.exit(f"training_job.py: needs Python 3.11 or newer, this is {sys.version.split()[0]}: {REMEDY}")

try:
    from facetrain.by_hand.command import main
except ModuleNotFoundError as error:
    sys.exit(f"training_job.py: {error.name} is not installed: {REMEDY}")

if __name__ == "__main__":
    main()
