import sys

from training.arcface.main import leave
from training.arcface.verification.command import main

if __name__ == "__main__":
    leave(main(sys.argv[1:]))
