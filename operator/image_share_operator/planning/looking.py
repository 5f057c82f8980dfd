"""What to say while it is looked whether a batch without an answer was taken. No I/O, no clock."""

from dataclasses import replace
from datetime import datetime, timedelta

from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import ConditionType, Decision, Desired, ImageStatus
from image_share_operator.planning import requeue
from image_share_operator.planning.model import Facts, Outlook, Report, Standing


def begun(decision: Decision) -> Standing:
    """Say that a batch was sent, and that nobody knows whether it was taken."""
    return Standing(
        ready="False",
        reason=Reason.JOB_RUNNING,
        message=(
            f"A batch was sent to {decision.lower()} images, and its answer was lost: looking "
            "whether it was done before anything else is sent, for a minute at most."
        ),
        outlook=Outlook.MOVING,
    )


def on(desired: Desired, facts: Facts, images: tuple[ImageStatus, ...], now: datetime) -> Report:
    """Look again; the words stay those in which the trouble was told."""
    batch, said = facts.status.unanswered, facts.status.condition(ConditionType.READY)
    standing = begun(batch.decision if batch else desired.decision)
    if (
        said is not None
        and said.observed_generation == desired.generation
        and said.reason is Reason.CLOUD_UNAVAILABLE
    ):
        standing = replace(standing, reason=said.reason, message=said.message)
    age = now - batch.since if batch else timedelta()
    return Report(standing=standing, again=requeue.settle_after(age), images=images)
