"""What the cloud on this machine says when it cannot do what was asked."""


class LocalCloudError(RuntimeError):
    """One sentence that names what failed, where, and what to do about it."""
