import sys

from training.arcface.verification.command import main
from training.container.main import leave

if __name__ == "__main__":
    leave(main(sys.argv[1:]))
