"""What the service refuses, and what makes a job fail."""


class ServiceError(Exception):
    """An error answer: `code` goes into __type, `message` to the caller."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class ValidationError(ServiceError):
    """The request is well formed, but not one that the service takes."""

    def __init__(self, message: str) -> None:
        super().__init__("ValidationException", message)


class JobFailed(Exception):  # noqa: N818 - a job's end, not an error of ours
    """Ends a job as Failed; the text becomes its FailureReason."""


class JobStopped(Exception):  # noqa: N818 - asked for, not an error
    """Somebody stopped the job, or its time was up, while it was not yet training."""


class EndpointStopping(Exception):  # noqa: N818 - asked for, not an error
    """The endpoint itself is going down; the job is left for its next start."""
