"""What can go wrong, sorted by what to do about it: retry (when), stop (why).

OperatorError
├── CloudError
│   ├── RetryableError          again later, perhaps not before a given time
│   │   ├── ThrottledError      the cloud asks for fewer calls
│   │   ├── RefusedForNowError  a batch was refused; if that does not pass, one image may be why
│   │   └── OutcomeUnknownError a write was sent, its answer never came: look before sending again
│   ├── TerminalError           only a change of spec or Secret helps
│   ├── ImagesRefusedError      one image of the batch spoils it: find out which
│   │   └── BatchTooLargeError  …or their number does
│   └── JobUnknownError         the cloud does not know the job (any more): look at the members
├── InvalidSpecError            the spec says something that can't be served
└── KubeError
    ├── ObjectGoneError         the object is not there (any more)
    ├── KubeForbiddenError      a right is missing; the message names verb and resource
    ├── KubeInvalidError        what was sent is refused: sending it again is of no use
    └── KubeRetryableError      again later
        └── KubeConflictError   after a look: the object is not as it was thought to be

LostLeadError is none of them: a pass must not report it, the process ends.
"""

from datetime import timedelta

from image_share_operator.api.reasons import Reason


class OperatorError(Exception):
    """Base of all errors that a pass knows how to report."""


class CloudError(OperatorError):
    """The cloud did not do what was asked."""


class RetryableError(CloudError):
    """Trying again later may help.

    Args:
        message: one line for a person.
        retry_after: the shortest wait that the cloud asked for; ``None`` when it did not say.
    """

    reason = Reason.CLOUD_UNAVAILABLE

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ThrottledError(RetryableError):
    """The cloud asks for fewer calls (429, IMG.0060, APIGW.0308)."""

    reason = Reason.THROTTLED


class RefusedForNowError(RetryableError):
    """The cloud refuses the batch for a reason that may pass; nothing was changed.

    Args:
        message: one line for a person.
        retry_after: as of any `RetryableError`.
        stubborn: whether it has had its time to pass: one image may be why.
    """

    def __init__(
        self, message: str, *, retry_after: timedelta | None = None, stubborn: bool = False
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.stubborn = stubborn


class OutcomeUnknownError(RetryableError):
    """A write was sent and may have taken effect: its answer never came.

    Args:
        answered: whether the cloud did answer, with an error of its own that may mean anything.
    """

    def __init__(
        self, message: str, *, retry_after: timedelta | None = None, answered: bool = False
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.answered = answered


class TerminalError(CloudError):
    """Nothing will change until the spec, the Secret or something in the cloud does."""

    def __init__(self, message: str, *, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class ImagesRefusedError(CloudError):
    """The cloud refuses the batch because of at least one of its images."""


class BatchTooLargeError(ImagesRefusedError):
    """The cloud refuses the batch because it is too large.

    Args:
        message: one line for a person.
        most: images that a batch may have; ``None`` when nobody knows.
    """

    def __init__(self, message: str, *, most: int | None = None) -> None:
        super().__init__(message)
        self.most = most


class JobUnknownError(CloudError):
    """The cloud does not know the job: it expired, or never was."""


class InvalidSpecError(OperatorError):
    """The spec can't be served; the message names the field."""


class KubeError(OperatorError):
    """The Kubernetes API server did not do what was asked."""


class ObjectGoneError(KubeError):
    """The object does not exist, or is another one of the same name."""


class KubeForbiddenError(KubeError):
    """The ServiceAccount of the operator lacks a right."""


class KubeInvalidError(KubeError):
    """The API server refuses what was sent; only something else may be taken."""


class KubeRetryableError(KubeError):
    """Trying again later may help."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class KubeConflictError(KubeRetryableError):
    """The object has changed, or is another one of the same name, or is there already."""


class LostLeadError(Exception):
    """This replica may not act any more: another one may be at work."""
