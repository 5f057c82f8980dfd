"""Messages in `status.images` that the next reconcile reads. No I/O, no clock."""

from image_share_operator.api.types import ImageStatus

OVERDUE_WORDS = "did not end within spec.timeout"
NO_EFFECT_WORDS = "reported success, but the membership did not change"


def is_overdue(row: ImageStatus) -> bool:
    """Whether the job of the image ran past its timeout, and a newer job is in the status."""
    return row.message is not None and row.message.startswith(f"job {row.job_id} {OVERDUE_WORDS}")


def may_come_late(row: ImageStatus) -> bool:
    """Whether the job of the image may take effect late: it is overdue, or reported success."""
    late = tuple(f"job {row.job_id} {words}" for words in (OVERDUE_WORDS, NO_EFFECT_WORDS))
    return row.message is not None and row.message.startswith(late)
