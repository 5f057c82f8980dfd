"""The calls of reconciles: statuses, finalizers, Secrets by name, tokens, and namespaces."""

import base64
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, cast

from image_share_operator.api.errors import KubeForbiddenError, ObjectGoneError
from image_share_operator.api.secret import Secret
from image_share_operator.api.types import API_VERSION, FINALIZER, GROUP, KIND, PLURAL, VERSION, Key
from image_share_operator.flowcontrol.limiter import Limiters, Limits
from image_share_operator.kube import denials
from image_share_operator.kube.client import APPLY, MERGE, ApiServer, path

FIELD_MANAGER = "image-share-operator"
FINALIZER_MANAGER = "image-share-operator-finalizer"
NO_FIELD_VALIDATION = MappingProxyType({"fieldValidation": "Ignore"})
"""Otherwise the API server parses each body twice, to warn about unknown fields, which it drops in
any case. That is an eighth of its cost of a status write."""
MAX_CONCURRENT = 16
"""Calls in progress; namespaces take turns. More calls would only wait in the API server, and each
connection uses 0.3 MB of this process."""


class ObjectClient:
    """The calls of reconciles. They raise `KubeError`; its subclass shows what to do.

    Args:
        may_write: called before each write; raises when this process may not write any more.
    """

    def __init__(self, api: ApiServer, *, may_write: Callable[[], None] = lambda: None) -> None:
        self._api = api
        self._may_write = may_write
        self._limiters = Limiters(Limits(at_once=MAX_CONCURRENT))

    async def write_status(
        self, key: Key, version: int, status: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Write the whole status by server-side apply; return the new object.

        Args:
            version: the resourceVersion that the object must have. Otherwise the status of a
                deleted object could be written to a new one of the same name: the API server does
                not compare the uid here.

        Raises:
            KubeConflictError: the object has another version.
        """
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "resourceVersion": str(version),
            },
            "status": dict(status),
        }
        return await self._apply(key, body, "status", manager=FIELD_MANAGER)

    async def read(self, key: Key) -> Mapping[str, Any]:
        """Return the object.

        Raises:
            ObjectGoneError: it does not exist.
        """
        body = await self._call(
            "get",
            path("apis", GROUP, VERSION, "namespaces", key.namespace, PLURAL, key.name),
            resource=PLURAL,
            namespace=key.namespace,
        )
        return cast("Mapping[str, Any]", body)

    async def add_finalizer(self, key: Key, uid: str) -> Mapping[str, Any]:
        """Add the finalizer of the operator; return the new object.

        Uses server-side apply with a field manager of its own, which keeps other finalizers.
        """
        metadata = {
            "name": key.name,
            "namespace": key.namespace,
            "uid": uid,
            "finalizers": [FINALIZER],
        }
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata}
        return await self._apply(key, body, manager=FINALIZER_MANAGER)

    async def remove_finalizer(self, key: Key, uid: str) -> Mapping[str, Any]:
        """Remove the finalizer of the operator, so that a deletion can finish.

        Does not use server-side apply: it would also remove finalizers that were added without
        apply, such as those of the garbage collector, if the operator created the list.

        Raises:
            ObjectGoneError: the object does not exist, or another one has its name.
            KubeConflictError: the object changed in the meantime.
        """
        metadata = (await self.read(key))["metadata"]
        if metadata["uid"] != uid:
            raise ObjectGoneError(f"{key} was deleted and created again")
        others = [name for name in metadata.get("finalizers", ()) if name != FINALIZER]
        change = {"resourceVersion": metadata["resourceVersion"], "finalizers": others}
        query = {"fieldManager": FINALIZER_MANAGER, **NO_FIELD_VALIDATION}
        return await self._patch(key, {"metadata": change}, headers=MERGE, query=query)

    async def _apply(
        self, key: Key, body: Mapping[str, Any], *subresource: str, manager: str
    ) -> Mapping[str, Any]:
        """Apply an object or its subresource; return the new object."""
        query = {"fieldManager": manager, "force": "true", **NO_FIELD_VALIDATION}
        return await self._patch(key, body, *subresource, headers=APPLY, query=query)

    async def _patch(
        self,
        key: Key,
        body: Mapping[str, Any],
        *subresource: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
    ) -> Mapping[str, Any]:
        where = (
            "apis",
            GROUP,
            VERSION,
            "namespaces",
            key.namespace,
            PLURAL,
            key.name,
            *subresource,
        )
        patched = await self._call(
            "patch",
            path(*where, **query),
            resource="/".join((PLURAL, *subresource)),
            namespace=key.namespace,
            body=body,
            headers=headers,
        )
        return cast("Mapping[str, Any]", patched)

    async def namespace_terminating(self, namespace: str) -> bool:
        """Whether the namespace is being deleted, or is deleted."""
        try:
            body = await self._call(
                "get",
                path("api", "v1", "namespaces", namespace),
                resource="namespaces",
                namespace=namespace,
            )
        except ObjectGoneError:
            return True
        return "deletionTimestamp" in body["metadata"]

    async def read_secret(self, namespace: str, name: str) -> Secret | None:
        """Read a Secret by name; ``None`` when there is none."""
        try:
            body = await self._call(
                "get",
                path("api", "v1", "namespaces", namespace, "secrets", name),
                resource="secrets",
                namespace=namespace,
            )
        except ObjectGoneError:
            return None
        data = cast("Mapping[str, str]", body.get("data") or {})
        return Secret(
            version=body["metadata"]["resourceVersion"],
            data={key: base64.b64decode(value) for key, value in data.items()},
        )

    async def request_token(
        self, namespace: str, name: str, audience: str, lifetime: timedelta
    ) -> str | None:
        """Request a token of a ServiceAccount; ``None`` when it does not exist.

        Also ``None`` in a namespace that is being deleted: it takes no requests for tokens.

        Raises:
            KubeForbiddenError: the operator may not request it.
        """
        spec = {"audiences": [audience], "expirationSeconds": int(lifetime.total_seconds())}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        try:
            response = await self._call(
                "create",
                path("api", "v1", "namespaces", namespace, "serviceaccounts", name, "token"),
                resource="serviceaccounts/token",
                namespace=namespace,
                body=body,
            )
        except ObjectGoneError:
            return None
        except KubeForbiddenError as exc:
            if await self.namespace_terminating(namespace):
                return None
            if str(exc).endswith(denials.NOT_GRANTED):
                raise KubeForbiddenError(f"{exc} with rbac.serviceAccountTokens=true") from exc
            raise
        return str(response["status"]["token"])

    async def _call(self, verb: str, path: str, *, namespace: str, **options: Any) -> Any:
        async with self._limiters.of("", namespace):
            if verb == "patch":
                self._may_write()  # after the wait, in which leadership can be lost
            return await self._api.call(verb, path, namespace=namespace, **options)
