"""Checks at the start that the CRD is installed and that the ServiceAccount has its permissions.

The watch waits for both anyway. The log lines show why no resource is reconciled.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from image_share_operator.api.errors import KubeError, ObjectGoneError
from image_share_operator.api.types import GROUP, PLURAL, VERSION
from image_share_operator.kube.client import ApiServer, path

log = logging.getLogger(__name__)

CHECK_INTERVAL = timedelta(seconds=5)
"""Between two checks while something is missing."""
DISCOVERY_DELAY = timedelta(seconds=1)
"""Discovery of the API server is eventually consistent: all its endpoints know a new kind within
this time."""

AUTHORIZATION = "authorization.k8s.io"
PERMISSIONS = (
    ("get", GROUP, PLURAL, ""),
    ("list", GROUP, PLURAL, ""),
    ("watch", GROUP, PLURAL, ""),
    ("patch", GROUP, PLURAL, ""),
    ("patch", GROUP, PLURAL, "status"),
    ("get", "", "secrets", ""),
    ("get", "", "namespaces", ""),
    ("create", "events.k8s.io", "events", ""),
    ("patch", "events.k8s.io", "events", ""),
)
"""Verb, group, resource and subresource of each permission that the operator needs."""


class Preflight:
    """Checks the CRD and the permissions until nothing is missing.

    Args:
        on_complete: called when something was missing and no longer is.
    """

    def __init__(
        self,
        api: ApiServer,
        namespaces: tuple[str, ...],
        *,
        on_complete: Callable[[], None],
    ) -> None:
        self._api = api
        self._namespaces = namespaces or ("",)
        self._on_complete = on_complete
        self._exception_level = logging.ERROR

    async def run(self) -> None:
        """Log each problem once, until a check finds none."""
        logged: set[str] = set()
        while (problems := await self._check()) != []:
            for problem in problems or ():
                if problem not in logged:
                    log.error("%s", problem)
            logged = logged if problems is None else set(problems)
            await asyncio.sleep(CHECK_INTERVAL.total_seconds())
        if logged:
            await asyncio.sleep(DISCOVERY_DELAY.total_seconds())
            log.info("preflight passed: the CRD is installed and no permission is missing")
            self._on_complete()

    async def _check(self) -> list[str] | None:
        """Return what is missing; ``None`` when the check failed."""
        try:
            missing = [
                f"the operator's ServiceAccount cannot {permission}; grant it as the chart does"
                for namespace in self._namespaces
                for permission in await self._missing_permissions(namespace)
            ]
            return missing or await self._missing_crd()
        except KubeError as exc:
            log.debug("preflight failed: %s", exc)
        except Exception as exc:
            # The operator works without this check.
            log.log(self._exception_level, "preflight failed", exc_info=exc)
            self._exception_level = logging.DEBUG  # repeats are not logged as errors
        return None

    async def _missing_permissions(self, namespace: str) -> list[str]:
        missing: list[str] = []
        for verb, group, resource, subresource in PERMISSIONS:
            if not await self._allowed(namespace, verb, group, resource, subresource):
                name = f"{resource}.{group}".rstrip(".") + (
                    f"/{subresource}" if subresource else ""
                )
                where = f"in namespace {namespace}" if namespace else "in all namespaces"
                missing.append(f"{verb} {name} {where}")
        return missing

    async def _allowed(
        self, namespace: str, verb: str, group: str, resource: str, subresource: str
    ) -> bool:
        attributes = {
            "namespace": namespace,
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": subresource,
        }
        review = await self._api.call(
            "create",
            path("apis", AUTHORIZATION, "v1", "selfsubjectaccessreviews"),
            resource=f"selfsubjectaccessreviews.{AUTHORIZATION}",
            body={
                "apiVersion": f"{AUTHORIZATION}/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            },
        )
        return review.get("status", {}).get("allowed") is True

    async def _missing_crd(self) -> list[str]:
        """Return a problem unless discovery has the kind, which is where the watch starts."""
        group = f"{GROUP}/{VERSION}"
        try:
            discovery = await self._api.call(
                "get", path("apis", GROUP, VERSION), resource=f"/apis/{group}"
            )
        except ObjectGoneError:
            discovery = None
        resources: list[dict[str, str]] = discovery["resources"] if discovery else []
        if any(row["name"] == PLURAL for row in resources):
            return []
        return [f"the CRD {PLURAL}.{GROUP} is not installed; run: kubectl apply -f deploy/crds/"]
