"""What can end a job, other than its work being done."""

from training.formats.errors import DataError


class TrainingError(DataError):
    """Something that the user can mend: the message names what is wrong, where, and the remedy."""


class StoppedError(Exception):
    """The job was told to stop (SIGTERM), and everything worth keeping is saved."""


class StoppedEarlyError(StoppedError):
    """Told to stop where there was nothing to save yet; the ranks do not come to this together."""


def first_line(error: Exception) -> str:
    """What an error of another library says, short enough to be quoted."""
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
