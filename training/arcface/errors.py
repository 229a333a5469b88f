"""What can end a job, other than its work being done."""


class TrainingError(ValueError):
    """Something the user can mend: the message names what is wrong, where, and the remedy."""


class StoppedError(Exception):
    """The job was told to stop (SIGTERM), and everything worth keeping is saved."""
