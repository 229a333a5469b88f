"""What is wrong with somebody's data."""


class DataError(ValueError):
    """Data that the user can mend: the message names what is wrong, where, and the remedy."""


class UnreadableError(ValueError):
    """The file is no image that can be used; the message says why."""
