"""The closed set of condition reasons: the reason shows what to do, the message has details."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a condition has its status. Users alert on these; a rename breaks them."""

    PROGRESSING = "Progressing"
    """Nothing is sent yet. Changes without action."""

    JOB_RUNNING = "JobRunning"
    """A batch was sent and its job has not settled. Changes without action."""

    ACCEPTED = "Accepted"
    """All images of the spec are accepted."""

    REJECTED = "Rejected"
    """All images of the spec are rejected."""

    PARTIALLY_FAILED = "PartiallyFailed"
    """Some images have the wanted membership, others failed; each failed row has a message."""

    NOT_SHARED = "NotShared"
    """An image is not shared with the project: its owner must share it."""

    NOTHING_SELECTED = "NothingSelected"
    """The selector selects no image. The operator checks again."""

    LIMIT_EXCEEDED = "LimitExceeded"
    """The selector selects more images than its limit. Nothing new is submitted."""

    DRY_RUN = "DryRun"
    """Something would be submitted if `spec.dryRun` were false."""

    WAITING_FOR_SHARE = "WaitingForShare"
    """Reconciling only: the operator checks again until the owner shares the image."""

    CLOUD_UNAVAILABLE = "CloudUnavailable"
    """No usable response (network, 5xx). Retried with growing delays."""

    THROTTLED = "Throttled"
    """The cloud asks for fewer requests. Retried when the cloud allows."""

    CREDENTIALS_INVALID = "CredentialsInvalid"
    """The Secret lacks a key, or the cloud refuses its credentials. The Secret must change."""

    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - the name of a reason
    """The Secret named by the spec does not exist in the namespace of the resource."""

    ACCOUNT_LOCKED = "AccountLocked"
    """IAM locked the account after failed logins. No login is tried before IAM unlocks it."""

    PERMISSION_DENIED = "PermissionDenied"
    """The user of the Secret may not do this in the project."""

    INVALID_REQUEST = "InvalidRequest"
    """The cloud refuses the request, or the spec can't be served."""

    JOB_TIMEOUT = "JobTimeout"
    """The job did not settle within `spec.timeout`. It is still polled, rarely."""

    CONFLICT = "Conflict"
    """An older resource has the opposite decision for an image. One of the two must change."""

    REJECTING = "Rejecting"
    """The resource is being deleted; its shares are rejected first."""
