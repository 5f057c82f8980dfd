"""Kubernetes as far as the operator uses it: status writes and Secrets by name."""

import base64
import contextlib
import json
import os
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from image_share_operator.api import API_VERSION, FINALIZER, GROUP, KIND, PLURAL, VERSION, Key
from image_share_operator.credentials import Secret
from image_share_operator.election import Record
from image_share_operator.errors import (
    KubeError,
    KubeForbiddenError,
    KubeRetryableError,
    ObjectGoneError,
)

Api = client.ApiClient
FIELD_MANAGER = "image-share-operator"
FINALIZER_MANAGER = "image-share-operator-finalizer"
APPLY = "application/apply-patch+yaml"
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
COORDINATION = "coordination.k8s.io"
LEASES = f"leases.{COORDINATION}"
POOL = 64
"""Connections to the API server: more than passes under way, so that none waits for one."""


@contextlib.asynccontextmanager
async def connect() -> AsyncGenerator[client.ApiClient]:
    """Open the client: as the pod's ServiceAccount, or by kubeconfig outside a cluster.

    Raises:
        KubeError: neither is there.
    """
    load: Any = config  # its functions are not typed
    settings = client.Configuration()
    settings.connection_pool_maxsize = POOL
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            load.load_incluster_config(client_configuration=settings)
        else:
            await load.load_kube_config(client_configuration=settings)
    except (config.ConfigException, OSError) as exc:
        raise KubeError(f"no way to reach a Kubernetes API server: {exc}") from exc
    async with client.ApiClient(settings) as api:
        yield api


class Kube:
    """The calls that a pass makes. Errors are `KubeError`; which one says what to do."""

    def __init__(
        self,
        api: client.ApiClient,
        timeout: timedelta,
        *,
        may_write: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep ``may_write``: it raises when this process may not write any more."""
        self._may_write = may_write
        self._api = api
        self._objects = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)
        self._timeout = timeout.total_seconds()

    async def write_status(
        self, key: Key, uid: str, status: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Write the whole status by server-side apply; return the object as it is then.

        The uid makes sure that the status of a deleted object never lands on a new one of the
        same name.
        """
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid},
            "status": dict(status),
        }
        self._may_write()
        with translated("patch", f"{PLURAL}/status", key.namespace):
            return await self._apply_status(key, body)

    async def _apply_status(self, key: Key, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send the patch without the generated method around it.

        That one checks each argument, copies the body and the answer: 0.5 ms of CPU for each of
        the two writes that an object costs, a tenth of all there is.
        """
        api: Any = self._api
        method, url, headers, _, _ = await api.param_serialize(
            method="PATCH",
            resource_path=f"/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/{PLURAL}/{{name}}/status",
            path_params={"namespace": key.namespace, "name": key.name},
            query_params=[("fieldManager", FIELD_MANAGER), ("force", "true")],
            header_params={"Accept": "application/json", "Content-Type": APPLY},
            auth_settings=["BearerToken"],
        )
        answer = await api.call_api(method, url, headers, body=body, _request_timeout=self._timeout)
        content = await answer.read()
        if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise ApiException(http_resp=answer)
        return cast("Mapping[str, Any]", json.loads(content))

    async def hold(self, key: Key, uid: str) -> Mapping[str, Any]:
        """Put our finalizer on the object; return the object as it is then."""
        return await self._apply_finalizers(key, uid, [FINALIZER])

    async def release(self, key: Key, uid: str) -> Mapping[str, Any]:
        """Take our finalizer off; an object that is being deleted may go then."""
        return await self._apply_finalizers(key, uid, [])

    async def _apply_finalizers(
        self, key: Key, uid: str, finalizers: list[str]
    ) -> Mapping[str, Any]:
        """Apply under a name of its own: what others put there stays."""
        metadata = {
            "name": key.name,
            "namespace": key.namespace,
            "uid": uid,
            "finalizers": finalizers,
        }
        self._may_write()
        with translated("patch", PLURAL, key.namespace):
            held = await self._objects.patch_namespaced_custom_object(
                GROUP,
                VERSION,
                key.namespace,
                PLURAL,
                key.name,
                {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata},
                field_manager=FINALIZER_MANAGER,
                force=True,
                _content_type=APPLY,
                _request_timeout=self._timeout,
            )
        return cast("Mapping[str, Any]", held)

    async def namespace_goes(self, namespace: str) -> bool:
        """Whether the whole namespace is being deleted."""
        try:
            with translated("get", "namespaces", namespace):
                found = await self._core.read_namespace(namespace, _request_timeout=self._timeout)
        except ObjectGoneError:
            return True
        return bool(found.metadata and found.metadata.deletion_timestamp)

    async def read_secret(self, namespace: str, name: str) -> Secret | None:
        """Read a Secret by name; ``None`` when there is none."""
        try:
            with translated("get", "secrets", namespace):
                found = await self._core.read_namespaced_secret(
                    name, namespace, _request_timeout=self._timeout
                )
        except ObjectGoneError:
            return None
        data = {key: base64.b64decode(value) for key, value in (found.data or {}).items()}
        version = found.metadata.resource_version if found.metadata else None
        return Secret(version=version or "", data=data)


class Leases:
    """One Lease. As plain dicts: the client's own model writes times that the server refuses."""

    def __init__(self, api: client.ApiClient, namespace: str, name: str) -> None:
        self._objects = client.CustomObjectsApi(api)
        self._namespace = namespace
        self._name = name

    async def read(self) -> Record | None:
        """The Lease as it is; ``None`` when there is none."""
        try:
            with translated("get", LEASES, self._namespace):
                found: Any = await self._objects.get_namespaced_custom_object(
                    COORDINATION, "v1", self._namespace, "leases", self._name
                )
        except ObjectGoneError:
            return None
        spec = cast("dict[str, Any]", found.get("spec") or {})
        return Record(
            holder=spec.get("holderIdentity") or "",
            duration=timedelta(seconds=spec.get("leaseDurationSeconds") or 0),
            acquired=spec.get("acquireTime") or "",
            renewed=spec.get("renewTime") or "",
            transitions=spec.get("leaseTransitions") or 0,
            version=found["metadata"]["resourceVersion"],
        )

    async def write(self, record: Record) -> None:
        """Create it, or replace exactly the version that the record names."""
        body = self._body(record)
        where = (COORDINATION, "v1", self._namespace, "leases")
        if not record.version:
            with translated("create", LEASES, self._namespace):
                await self._objects.create_namespaced_custom_object(*where, body)
            return
        with translated("update", LEASES, self._namespace):
            await self._objects.replace_namespaced_custom_object(*where, self._name, body)

    def _body(self, record: Record) -> dict[str, Any]:
        metadata = {"name": self._name, "namespace": self._namespace}
        if record.version:
            metadata["resourceVersion"] = record.version
        return {
            "apiVersion": f"{COORDINATION}/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": record.holder,
                "leaseDurationSeconds": int(record.duration.total_seconds()),
                "acquireTime": record.acquired or None,
                "renewTime": record.renewed or None,
                "leaseTransitions": record.transitions,
            },
        }


def own_namespace() -> str | None:
    """The namespace of the pod that this process runs in; ``None`` outside a cluster."""
    try:
        return OWN_NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError:
        return None


@contextlib.contextmanager
def translated(verb: str, resource: str, namespace: str) -> Generator[None]:
    """Turn the client's errors into ours.

    Bodies stay behind: one may quote what was sent.
    """
    what = f"{verb} {resource} in namespace {namespace}"
    try:
        yield
    except ApiException as exc:
        raise _refused(what, exc) from None
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        raise KubeRetryableError(
            f"{what}: no answer from the API server ({type(exc).__name__})"
        ) from exc


def _refused(what: str, exc: ApiException) -> KubeError:
    told: Any = exc  # its attributes are not typed
    status = int(told.status or 0)
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
        # With apply and force, the only conflict left is another uid.
        return ObjectGoneError(f"{what}: HTTP {status}")
    if status == HTTPStatus.FORBIDDEN:
        return KubeForbiddenError(
            f"{what}: the operator's ServiceAccount lacks this right; see the chart's ClusterRole"
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return KubeRetryableError(f"{what}: HTTP {status}", retry_after=_retry_after(told.headers))
    return KubeError(f"{what}: HTTP {status} {told.reason or ''}".rstrip())


def _retry_after(headers: Mapping[str, str] | None) -> timedelta | None:
    text = str((headers or {}).get("Retry-After", ""))
    return timedelta(seconds=int(text)) if text.isdecimal() else None
