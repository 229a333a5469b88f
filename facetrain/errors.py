"""What a person is told when something cannot be done: one message, with its place and the remedy."""

from training.jobs.problems import Problem, ProblemsError


class OperationError(Exception):
    """What was asked for was right but could not be done. The command exits with 1."""


class InputError(ProblemsError):
    """The input is wrong; nothing was done. The command exits with 2."""

    @classmethod
    def because(cls, place: str, message: str) -> "InputError":
        """One problem at one place: an argument, an option or a path."""
        return cls([Problem(place, message)])
