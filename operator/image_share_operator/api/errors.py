"""Errors, classified by what to do about them: retry (when) or stop (why).

OperatorError
├── CloudError
│   ├── RetryableError          retry later, maybe not before a given time
│   │   ├── ThrottledError      the cloud asks for fewer requests
│   │   ├── RefusedForNowError  a batch was refused; if retries do not help, one image may be why
│   │   └── OutcomeUnknownError a write without a response: read before sending again
│   ├── TerminalError           only a change of the spec or the Secret helps
│   │   └── LoginBlockedError   credentials that were refused are not used again before a given time
│   ├── ImagesRefusedError      an image of the batch is refused: find out which
│   │   └── BatchTooLargeError  the batch has too many images
│   └── JobUnknownError         the cloud does not know the job: read the memberships
├── InvalidSpecError            the spec has a value that can't be served
└── KubeError
    ├── ObjectGoneError         the object does not exist
    ├── KubeForbiddenError      the request is denied: by RBAC, admission or a quota
    ├── KubeInvalidError        the request is refused: sending it again does not help
    └── KubeRetryableError      retry later
        ├── KubeTooLargeError   retry with fewer objects
        └── KubeConflictError   retry after a read: the object has changed

LostLeadError is not an OperatorError: a reconcile must not report it, the process exits.
"""

from datetime import datetime, timedelta

from image_share_operator.api.reasons import Reason


class OperatorError(Exception):
    """Base of all errors that a reconcile can report."""


class CloudError(OperatorError):
    """The cloud refused a request or did not respond."""


class RetryableError(CloudError):
    """A retry later may help.

    Args:
        message: one line for a person.
        retry_after: the shortest wait that the cloud asked for; ``None`` when it did not.
        cause: the start of the message that all requests share in an outage: the endpoint, and
            how it fails. The whole message when it has no other details.
    """

    reason = Reason.CLOUD_UNAVAILABLE

    def __init__(
        self, message: str, *, retry_after: timedelta | None = None, cause: str | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.cause = message if cause is None else cause


class ThrottledError(RetryableError):
    """The cloud asks for fewer requests (429, IMG.0060, APIGW.0308)."""

    reason = Reason.THROTTLED


class RefusedForNowError(RetryableError):
    """The cloud refuses the batch with a transient error; nothing was changed.

    Args:
        message, retry_after, cause: as of any `RetryableError`.
        persistent: whether the retries are used up, so that one image may be the cause.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        cause: str | None = None,
        persistent: bool = False,
    ) -> None:
        super().__init__(message, retry_after=retry_after, cause=cause)
        self.persistent = persistent


class OutcomeUnknownError(RetryableError):
    """A write was sent and may have taken effect: there was no usable response.

    Args:
        message, retry_after, cause: as of any `RetryableError`.
        answered: whether there was a response, with an error that leaves the outcome open.
        persistent: whether the retries are used up, so that one image may be the cause.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        cause: str | None = None,
        answered: bool = False,
        persistent: bool = False,
    ) -> None:
        super().__init__(message, retry_after=retry_after, cause=cause)
        self.answered = answered
        self.persistent = persistent


class TerminalError(CloudError):
    """A retry does not help before the spec, the Secret or something in the cloud changes."""

    def __init__(self, message: str, *, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class LoginBlockedError(TerminalError):
    """Credentials that were refused are not sent again yet: IAM locks accounts.

    Args:
        message: of the error with which they were refused.
        reason: of this error.
        until: when the next login may be sent.
    """

    def __init__(self, message: str, *, reason: Reason, until: datetime) -> None:
        super().__init__(message, reason=reason)
        self.until = until


class ImagesRefusedError(CloudError):
    """The cloud refuses the batch because of at least one of its images."""


class BatchTooLargeError(ImagesRefusedError):
    """The cloud refuses the batch because it is too large.

    Args:
        message: one line for a person.
        most: images that a batch may have; ``None`` when not known.
    """

    def __init__(self, message: str, *, most: int | None = None) -> None:
        super().__init__(message)
        self.most = most


class JobUnknownError(CloudError):
    """The cloud does not know the job: it expired or never existed."""


class InvalidSpecError(OperatorError):
    """The spec can't be served; the message names the field."""


class KubeError(OperatorError):
    """The Kubernetes API server refused a request or did not respond."""


class ObjectGoneError(KubeError):
    """The object does not exist, or another one has its name."""


class KubeForbiddenError(KubeError):
    """The API server denies the request: by RBAC, a policy or a quota, as the message says."""


class KubeInvalidError(KubeError):
    """The API server refuses the request; the same request is refused again."""


class KubeRetryableError(KubeError):
    """A retry later may help."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class KubeTooLargeError(KubeRetryableError):
    """The response is over the size limit: request fewer objects."""


class KubeConflictError(KubeRetryableError):
    """The object has changed, already exists, or another one has its name."""


class LostLeadError(Exception):
    """This replica is not the leader any more: another one may be."""
