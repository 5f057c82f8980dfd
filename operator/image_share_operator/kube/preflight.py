"""Says what is missing around the operator: the CRD, and rights of its ServiceAccount.

The watch waits for both by itself; this is for the person who wonders why nothing happens.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from image_share_operator.api.errors import KubeError, ObjectGoneError
from image_share_operator.api.types import GROUP, PLURAL, VERSION
from image_share_operator.kube.client import ApiServer, path

log = logging.getLogger(__name__)

EVERY = timedelta(seconds=5)
"""Between two looks while something is missing."""
SETTLES = timedelta(seconds=1)
"""All parts of discovery know a new kind a moment after the first does."""

AUTHORIZATION = "authorization.k8s.io"
RIGHTS = (
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
"""Verb, group, resource, subresource: without these nothing works, or not all."""


class Preflight:
    """Asks the API server what it lets us do."""

    def __init__(
        self,
        api: ApiServer,
        namespaces: tuple[str, ...],
        *,
        complete: Callable[[], None],
    ) -> None:
        """Keep ``complete``: it is called when something was missing and is there now."""
        self._api = api
        self._namespaces = namespaces or ("",)
        self._complete = complete
        self._fault_level = logging.ERROR

    async def run(self) -> None:
        """Log what is missing, once for each, until it is known that nothing is."""
        told: set[str] = set()
        while (complaints := await self._complaints()) != []:
            for complaint in complaints or ():
                if complaint not in told:
                    log.error("%s", complaint)
            told = told if complaints is None else set(complaints)
            await asyncio.sleep(EVERY.total_seconds())
        if told:
            await asyncio.sleep(SETTLES.total_seconds())
            log.info("what was missing is there now")
            self._complete()

    async def _complaints(self) -> list[str] | None:
        """What is missing; ``None`` when it could not be found out."""
        try:
            missing = [
                f"the operator's ServiceAccount may not {right}; grant it, as the chart's roles do"
                for namespace in self._namespaces
                for right in await self._missing_rights(namespace)
            ]
            return missing or await self._missing_crd()
        except KubeError as exc:
            log.debug("no preflight: %s", exc)
        except Exception as exc:
            # It only tells: whatever is wrong with it must not stop the work.
            log.log(self._fault_level, "no preflight", exc_info=exc)
            self._fault_level = logging.DEBUG  # the first says enough
        return None

    async def _missing_rights(self, namespace: str) -> list[str]:
        missing: list[str] = []
        for verb, group, resource, subresource in RIGHTS:
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
        said = await self._api.call(
            "create",
            path("apis", AUTHORIZATION, "v1", "selfsubjectaccessreviews"),
            resource=f"selfsubjectaccessreviews.{AUTHORIZATION}",
            body={
                "apiVersion": f"{AUTHORIZATION}/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            },
        )
        return said.get("status", {}).get("allowed") is True

    async def _missing_crd(self) -> list[str]:
        """Whether discovery knows the kind: the watch begins there."""
        group = f"{GROUP}/{VERSION}"
        try:
            found = await self._api.call(
                "get", path("apis", GROUP, VERSION), resource=f"/apis/{group}"
            )
        except ObjectGoneError:
            found = None
        resources: list[dict[str, str]] = found["resources"] if found else []
        if any(row["name"] == PLURAL for row in resources):
            return []
        crd = f"{PLURAL}.{GROUP}"
        return [f"the CRD {crd} is not installed (kubectl apply -f deploy/crds/): waiting"]
