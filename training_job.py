#!/usr/bin/env python3
"""Starts one training job with the SageMaker Python SDK and follows it: `python training_job.py --help`."""

import sys

try:
    from facetrain.by_hand.command import main
except ModuleNotFoundError as error:
    remedy = "run `make setup`, then `.venv/bin/python training_job.py …`"
    sys.exit(f"training_job.py: {error.name} is not installed: {remedy}")

if __name__ == "__main__":
    main()
