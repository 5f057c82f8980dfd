"""Kubernetes as far as the operator uses it: status writes, Secrets by name, the Lease."""

import base64
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

from image_share_operator.api.errors import ObjectGoneError
from image_share_operator.api.secret import Secret
from image_share_operator.api.types import API_VERSION, FINALIZER, GROUP, KIND, PLURAL, VERSION, Key
from image_share_operator.flowcontrol.limiter import Limiters, Limits
from image_share_operator.kube.client import APPLY, MERGE, ApiServer, path

FIELD_MANAGER = "image-share-operator"
FINALIZER_MANAGER = "image-share-operator-finalizer"
UNCHECKED = MappingProxyType({"fieldValidation": "Ignore"})
"""Else the API server parses each body once more, to warn of fields that the CRD does not know and
that it leaves out in any case: an eighth of what a status write costs it."""
AT_ONCE = 16
"""Calls of passes under way together; namespaces take turns for them. More would only queue in the
API server, where each connection also costs this process 0.3 MB."""


class ObjectClient:
    """The calls that a pass makes. Errors are `KubeError`; which one says what to do."""

    def __init__(self, api: ApiServer, *, may_write: Callable[[], None] = lambda: None) -> None:
        """Keep ``may_write``: it raises when this process may not write any more."""
        self._api = api
        self._may_write = may_write
        self._gates = Limiters(Limits(at_once=AT_ONCE))

    async def write_status(
        self, key: Key, version: int, status: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Write the whole status by server-side apply; return the object as it is then.

        Only onto this very version (a resourceVersion): the status of a deleted object must not
        land on a new one of the same name, and a uid is not compared there.

        Raises:
            KubeConflictError: it is not this version any more.
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
        """The object as it is.

        Raises:
            ObjectGoneError: there is none.
        """
        found = await self._call(
            "get",
            path("apis", GROUP, VERSION, "namespaces", key.namespace, PLURAL, key.name),
            resource=PLURAL,
            namespace=key.namespace,
        )
        return cast("Mapping[str, Any]", found)

    async def add_finalizer(self, key: Key, uid: str) -> Mapping[str, Any]:
        """Put our finalizer on the object; return the object as it is then.

        By server-side apply, under a name of its own: what others put there stays.
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
        """Take our finalizer off; an object that is being deleted may go then.

        Not by server-side apply: it takes finalizers along that nobody's apply put there, such as
        the garbage collector's, when the list was ours first.

        Raises:
            ObjectGoneError: it does not exist, or is another one of the same name.
            KubeConflictError: it changed meanwhile.
        """
        metadata = (await self.read(key))["metadata"]
        if metadata["uid"] != uid:
            raise ObjectGoneError(f"{key} is another one by now")
        left = [name for name in metadata.get("finalizers", ()) if name != FINALIZER]
        change = {"resourceVersion": metadata["resourceVersion"], "finalizers": left}
        query = {"fieldManager": FINALIZER_MANAGER, **UNCHECKED}
        return await self._patch(key, {"metadata": change}, headers=MERGE, query=query)

    async def _apply(
        self, key: Key, body: Mapping[str, Any], *part: str, manager: str
    ) -> Mapping[str, Any]:
        """Apply a part of a resource; return the whole of it as it is then."""
        query = {"fieldManager": manager, "force": "true", **UNCHECKED}
        return await self._patch(key, body, *part, headers=APPLY, query=query)

    async def _patch(
        self,
        key: Key,
        body: Mapping[str, Any],
        *part: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
    ) -> Mapping[str, Any]:
        where = ("apis", GROUP, VERSION, "namespaces", key.namespace, PLURAL, key.name, *part)
        held = await self._call(
            "patch",
            path(*where, **query),
            resource="/".join((PLURAL, *part)),
            namespace=key.namespace,
            body=body,
            headers=headers,
        )
        return cast("Mapping[str, Any]", held)

    async def namespace_terminating(self, namespace: str) -> bool:
        """Whether the whole namespace is being deleted."""
        try:
            found = await self._call(
                "get",
                path("api", "v1", "namespaces", namespace),
                resource="namespaces",
                namespace=namespace,
            )
        except ObjectGoneError:
            return True
        return "deletionTimestamp" in found["metadata"]

    async def read_secret(self, namespace: str, name: str) -> Secret | None:
        """Read a Secret by name; ``None`` when there is none."""
        try:
            found = await self._call(
                "get",
                path("api", "v1", "namespaces", namespace, "secrets", name),
                resource="secrets",
                namespace=namespace,
            )
        except ObjectGoneError:
            return None
        content = cast("Mapping[str, str]", found.get("data") or {})
        return Secret(
            version=found["metadata"]["resourceVersion"],
            data={key: base64.b64decode(value) for key, value in content.items()},
        )

    async def _call(self, verb: str, path: str, *, namespace: str, **asked: Any) -> Any:
        async with self._gates.of("", namespace):
            if verb == "patch":
                self._may_write()  # not before: the lead may be lost while waiting
            return await self._api.call(verb, path, namespace=namespace, **asked)
