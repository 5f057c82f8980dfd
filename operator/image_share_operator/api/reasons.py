"""The closed set of condition reasons: each says what to do, the message says the rest."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a condition has its status. Users alert on these; a rename breaks them."""

    PROGRESSING = "Progressing"
    """Seen, nothing sent yet. Leaves by itself."""

    JOB_RUNNING = "JobRunning"
    """The batch is with the cloud and its job has not settled. Leaves by itself."""

    ACCEPTED = "Accepted"
    """Every image of the spec was seen accepted."""

    REJECTED = "Rejected"
    """Every image of the spec was seen rejected."""

    PARTIALLY_FAILED = "PartiallyFailed"
    """Some images have the wanted membership, others failed; each failed one says why."""

    NOT_SHARED = "NotShared"
    """An image is not shared with the project: its owner must share it."""

    WAITING_FOR_SHARE = "WaitingForShare"
    """Reconciling only: the operator looks again by itself until the owner shares the image."""

    CLOUD_UNAVAILABLE = "CloudUnavailable"
    """No usable answer (network, 5xx). Retried with growing delays."""

    THROTTLED = "Throttled"
    """The cloud asks for fewer calls. Retried when it says."""

    CREDENTIALS_INVALID = "CredentialsInvalid"
    """The Secret lacks a key, or the cloud refuses what is in it. The Secret must change."""

    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - the name of a reason
    """The Secret named by the spec does not exist in the namespace of the resource."""

    ACCOUNT_LOCKED = "AccountLocked"
    """IAM locked the account after failed logins. Nothing is tried before it opens again."""

    PERMISSION_DENIED = "PermissionDenied"
    """The user of the Secret may not do this in the project."""

    INVALID_REQUEST = "InvalidRequest"
    """The cloud refuses what the spec asks for, or the spec can't be served."""

    JOB_TIMEOUT = "JobTimeout"
    """The job did not settle within `spec.timeout`. It is still looked at, rarely."""

    REJECTING = "Rejecting"
    """The resource is being deleted; its shares are rejected first."""
