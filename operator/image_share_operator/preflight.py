"""Says what is missing around the operator: the CRD, and rights of its ServiceAccount.

The watch waits for both by itself; this is for the person who wonders why nothing happens.
"""

import asyncio
import logging
from datetime import timedelta
from typing import Any

from kubernetes.aio import client

from image_share_operator.api import GROUP, PLURAL, VERSION
from image_share_operator.errors import KubeError, ObjectGoneError
from image_share_operator.kube import translated

log = logging.getLogger(__name__)

EVERY = timedelta(seconds=30)
"""Between two looks while something is missing."""

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
        self, api: client.ApiClient, timeout: timedelta, namespaces: tuple[str, ...]
    ) -> None:
        self._objects = client.CustomObjectsApi(api)
        self._authorization = client.AuthorizationV1Api(api)
        self._timeout = timeout.total_seconds()
        self._namespaces = namespaces or ("",)

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
            log.info("what was missing is there now")

    async def _complaints(self) -> list[str]:
        try:
            missing = [
                f"the operator's ServiceAccount may not {right}; grant it, as the chart's roles do"
                for namespace in self._namespaces
                for right in await self._missing_rights(namespace)
            ]
            return missing or await self._missing_crd(self._namespaces[0])
        except KubeError as exc:
            log.debug("no preflight: %s", exc)
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

    async def _missing_crd(self, namespace: str) -> list[str]:
        try:
            with translated("list", PLURAL, namespace):
                await self._list_one(namespace)
        except ObjectGoneError:
            crd = f"{PLURAL}.{GROUP}"
            return [f"the CRD {crd} is not installed (kubectl apply -f deploy/crds/): waiting"]
        return []

    async def _list_one(self, namespace: str) -> None:
        if namespace:
            await self._objects.list_namespaced_custom_object(
                GROUP, VERSION, namespace, PLURAL, limit=1, _request_timeout=self._timeout
            )
        else:
            await self._objects.list_cluster_custom_object(
                GROUP, VERSION, PLURAL, limit=1, _request_timeout=self._timeout
            )
