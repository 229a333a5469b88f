"""What is wrong with somebody's data."""


class DataError(ValueError):
    """Data that the user can mend: the message names what is wrong, where, and the remedy."""
