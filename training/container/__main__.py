"""`python -m training.container`: what training/train runs."""

from training.container.main import run

if __name__ == "__main__":
    run()
