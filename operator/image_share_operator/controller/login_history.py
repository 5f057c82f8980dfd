"""Logins that earlier processes saw refused, read from the statuses that they wrote.

Without it, each restart would try the refused credentials again. No I/O, no clock.
"""

from collections import defaultdict

from image_share_operator.api.credentials import RefusedLogin
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import ConditionType, Desired, Status

ABOUT_LOGINS = (Reason.CREDENTIALS_INVALID, Reason.ACCOUNT_LOCKED)


class LoginHistory:
    """Refused logins by Secret, version and IAM endpoint, with the projects."""

    def __init__(self) -> None:
        self._refused = defaultdict[tuple[str, ...], dict[str, Reason]](dict)
        self._ready = defaultdict[tuple[str, str], set[str]](set)

    def note(self, namespace: str, desired: Desired, status: Status) -> None:
        """Record the status that an object had when it was first seen."""
        ready = status.condition(ConditionType.READY)
        if ready is None or ready.observed_generation != desired.generation:
            return
        if ready.status == "True":
            self._ready[namespace, desired.secret_name].add(desired.project_id)
        elif status.secret_version is not None and ready.reason in ABOUT_LOGINS:
            key = _key(namespace, desired, status.secret_version)
            self._refused[key][desired.project_id] = ready.reason

    def of(self, namespace: str, desired: Desired, version: str) -> RefusedLogin | None:
        """Return the refused login to expect with this version of the Secret; ``None`` for none.

        When other resources are Ready with the Secret, one more login is tried: the refused
        projects may be wrong, which some clouds report in the same way as a wrong password.
        """
        refused = self._refused.get(_key(namespace, desired, version))
        if refused is None:
            return None
        ready = self._ready.get((namespace, desired.secret_name), set[str]())
        locked = Reason.ACCOUNT_LOCKED in refused.values()
        return RefusedLogin(
            locked=locked,
            of_project=desired.project_id in refused and desired.project_id not in ready,
            of_all=not ready and (locked or len(refused) > 1),
        )


def _key(namespace: str, desired: Desired, version: str) -> tuple[str, ...]:
    return namespace, desired.secret_name, version, desired.endpoints.iam
