"""Logins that earlier processes saw refused, read from the statuses that they wrote.

Without it, each restart would try the refused credentials again. No I/O, no clock.
"""

from cachetools import FIFOCache

from image_share_operator.api.credentials import RefusedLogin
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    Agency,
    ConditionType,
    CredentialsRef,
    Desired,
    SecretRef,
    Status,
)

ABOUT_LOGINS = (Reason.CREDENTIALS_INVALID, Reason.ACCOUNT_LOCKED)
MAX_SECRETS = 10_000
"""Secrets that are kept, the latest ones: each new version of a Secret is one more. Without an
older one, its refused login may be tried once more."""


_Key = tuple[str, CredentialsRef, str, str]
"""Namespace, reference, version and IAM endpoint."""


_Use = tuple[str, Agency | None]
"""Project and agency: with another agency, the same credentials may be accepted."""


class LoginHistory:
    """Refused logins by Secret, version and IAM endpoint, with the projects and agencies."""

    def __init__(self) -> None:
        self._refused: FIFOCache[_Key, dict[_Use, Reason]] = FIFOCache(MAX_SECRETS)
        self._ready: FIFOCache[tuple[str, CredentialsRef], set[str]] = FIFOCache(MAX_SECRETS)

    def __len__(self) -> int:
        """How many Secrets are kept, Ready ones and versions of refused ones."""
        return len(self._refused) + len(self._ready)

    def note(self, namespace: str, desired: Desired, status: Status) -> None:
        """Record the status that an object had when it was first seen."""
        ready = status.condition(ConditionType.READY)
        if ready is None or ready.observed_generation != desired.generation:
            return
        if not isinstance(desired.credentials, SecretRef):
            return  # a refused token of a ServiceAccount locks no account
        if ready.status == "True":
            where = namespace, desired.credentials
            self._ready.setdefault(where, set()).add(desired.project_id)
        elif status.secret_version is not None and ready.reason in ABOUT_LOGINS:
            key = _key(namespace, desired, status.secret_version)
            self._refused.setdefault(key, {})[_use(desired)] = ready.reason

    def of(self, namespace: str, desired: Desired, version: str) -> RefusedLogin | None:
        """Return the refused login to expect with this version of the Secret; ``None`` for none.

        When other resources are Ready with the Secret, one more login is tried: the refused
        projects may be wrong, which some clouds report in the same way as a wrong password.
        """
        refused = self._refused.get(_key(namespace, desired, version))
        if refused is None:
            return None
        ready = self._ready.get((namespace, desired.credentials), set[str]())
        locked = Reason.ACCOUNT_LOCKED in refused.values()
        return RefusedLogin(
            locked=locked,
            of_project=_use(desired) in refused and desired.project_id not in ready,
            of_all=not ready and (locked or len(refused) > 1),
        )


def _key(namespace: str, desired: Desired, version: str) -> _Key:
    return namespace, desired.credentials, version, desired.endpoints.iam


def _use(desired: Desired) -> _Use:
    return desired.project_id, desired.agency
