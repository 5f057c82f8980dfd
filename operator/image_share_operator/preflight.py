"""Says what is missing around the operator: the CRD, and rights of its ServiceAccount.

The watch waits for both by itself; this is for the person who wonders why nothing happens.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from kubernetes.aio import client

from image_share_operator.api import GROUP, PLURAL, VERSION
from image_share_operator.errors import KubeError, ObjectGoneError
from image_share_operator.kube import translated

log = logging.getLogger(__name__)

EVERY = timedelta(seconds=5)
"""Between two looks while something is missing."""
SETTLES = timedelta(seconds=1)
"""All parts of discovery know a new kind a moment after the first does."""

RIGHTS = (
    ("list", GROUP, PLURAL, ""),
    ("watch", GROUP, PLURAL, ""),
    ("patch", GROUP, PLURAL, ""),
    ("patch", GROUP, PLURAL, "status"),
    ("get", "", "secrets", ""),
    ("create", "events.k8s.io", "events", ""),
)
"""Verb, group, resource, subresource: without these nothing works, or not all."""


class Preflight:
    """Asks the API server what it lets us do."""

    def __init__(
        self,
        api: client.ApiClient,
        timeout: timedelta,
        namespaces: tuple[str, ...],
        *,
        complete: Callable[[], None],
    ) -> None:
        """Keep ``complete``: it is called when something was missing and is there now."""
        self._objects = client.CustomObjectsApi(api)
        self._authorization = client.AuthorizationV1Api(api)
        self._timeout = timeout.total_seconds()
        self._namespaces = namespaces or ("",)
        self._complete = complete

    async def run(self) -> None:
        """Log what is missing, once for each, until nothing is."""
        told: set[str] = set()
        while complaints := await self._complaints():
            for complaint in complaints:
                if complaint not in told:
                    log.error("%s", complaint)
            told = set(complaints)
            await asyncio.sleep(EVERY.total_seconds())
        if told:
            await asyncio.sleep(SETTLES.total_seconds())
            log.info("what was missing is there now")
            self._complete()

    async def _complaints(self) -> list[str]:
        try:
            missing = [
                f"the operator's ServiceAccount may not {right}; grant it, as the chart's roles do"
                for namespace in self._namespaces
                for right in await self._missing_rights(namespace)
            ]
            return missing or await self._missing_crd()
        except KubeError as exc:
            log.debug("no preflight: %s", exc)
            return []
        except Exception:
            # It only tells: whatever is wrong with it must not stop the work.
            log.exception("no preflight")
            return []

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
        attributes = client.V1ResourceAttributes(
            namespace=namespace,
            verb=verb,
            group=group,
            resource=resource,
            subresource=subresource,
        )
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        )
        with translated("create", "selfsubjectaccessreviews", namespace):
            said: Any = await self._authorization.create_self_subject_access_review(
                review, _request_timeout=self._timeout
            )
        return bool(said.status and said.status.allowed)

    async def _missing_crd(self) -> list[str]:
        """Whether discovery knows the kind: the watch begins there."""
        try:
            with translated("get", f"/apis/{GROUP}/{VERSION}", ""):
                found: Any = await self._objects.get_api_resources(
                    GROUP, VERSION, _request_timeout=self._timeout
                )
        except ObjectGoneError:
            found = None
        if found is not None and any(row.name == PLURAL for row in found.resources):
            return []
        crd = f"{PLURAL}.{GROUP}"
        return [f"the CRD {crd} is not installed (kubectl apply -f deploy/crds/): waiting"]
