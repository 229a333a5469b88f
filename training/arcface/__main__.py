"""`python -m training.arcface`: what training/train runs."""

from training.arcface.main import run

if __name__ == "__main__":
    run()
