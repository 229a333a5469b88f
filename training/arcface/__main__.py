"""`python -m training.arcface`: what training/train runs."""

import sys

from training.arcface.main import run

if __name__ == "__main__":
    sys.exit(run())
