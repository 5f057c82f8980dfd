"""One call to the Kubernetes API server: plain JSON through the `kubernetes` package's client.

Its generated methods check each argument and copy each body: 0.5 ms of CPU for a status write, and
90 MB of memory for the models of all kinds. What is wanted of it is below them: configuration,
rotating tokens, TLS, connections.
"""

import contextlib
import json
import os
from collections.abc import AsyncGenerator, Generator, Mapping
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from image_share_operator.api.errors import (
    KubeConflictError,
    KubeError,
    KubeForbiddenError,
    KubeInvalidError,
    KubeRetryableError,
    ObjectGoneError,
)
from image_share_operator.telemetry import tracing

METHODS = {"get": "GET", "list": "GET", "create": "POST", "update": "PUT", "patch": "PATCH"}
JSON = MappingProxyType({"Accept": "application/json", "Content-Type": "application/json"})
APPLY = MappingProxyType({"Content-Type": "application/apply-patch+yaml"})
MERGE = MappingProxyType({"Content-Type": "application/merge-patch+json"})
INVALID = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
POOL = 24
"""Connections to the API server, some more than passes use: the Lease must not wait for them."""
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
MAX_BODY = 10 * 1024 * 1024
"""No object of a cluster comes near: etcd takes 1.5 MiB."""


class ApiServer:
    """Sends requests as this process's ServiceAccount or user."""

    def __init__(self, api: client.ApiClient, timeout: timedelta) -> None:
        self._api: Any = api  # is not typed
        self._timeout = timeout.total_seconds()

    async def call(
        self,
        verb: str,
        path: str,
        *,
        resource: str,
        namespace: str = "",
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] = JSON,
    ) -> Any:
        """Send one request; return the JSON object that it is answered with.

        Args:
            verb: as RBAC calls it: get, list, create, update or patch; with resource and namespace,
                what errors say was tried.
            path: made by `path`.

        Raises:
            KubeError: which one says what to do.
        """
        where = f" in namespace {namespace}" if namespace else ""
        about = {"http.request.method": METHODS[verb], "k8s.namespace.name": namespace}
        what = f"{verb} {resource}{where}"
        with tracing.span(f"{verb} {resource}", about), _translated(what):
            sent = {**JSON, **headers}
            for auth in (await self._api.configuration.auth_settings()).values():
                sent[auth["key"]] = auth["value"]
            answer = await self._api.call_api(
                METHODS[verb],
                f"{self._api.configuration.host}{path}",
                sent,
                body=body,
                _request_timeout=self._timeout,
            )
            content = await _read(answer.response, what)
            if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
                raise ApiException(http_resp=answer)
            return _object(content, f"{what}: HTTP {answer.status}")


async def _read(response: aiohttp.ClientResponse, what: str) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            response.close()
            raise KubeRetryableError(f"{what}: the answer is over {MAX_BODY >> 20} MiB")
    return bytes(body)


def _object(content: bytes, what: str) -> dict[str, Any]:
    try:
        found: object = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        # Not from the API server: a proxy on the way may say 200 to anything.
        raise KubeRetryableError(f"{what} without a JSON object")
    return cast("dict[str, Any]", found)


def path(*parts: str, **query: str) -> str:
    """A path of the API from its parts, which may hold anything."""
    made = "/" + "/".join(quote(part, safe="") for part in parts)
    return f"{made}?{urlencode(query)}" if query else made


@contextlib.asynccontextmanager
async def connect(request_timeout: timedelta) -> AsyncGenerator[ApiServer]:
    """Open the client: as the pod's ServiceAccount, or by kubeconfig outside a cluster.

    Raises:
        KubeError: neither is there.
    """
    load: Any = config  # its functions are not typed
    settings = client.Configuration()
    settings.connection_pool_maxsize = POOL
    # By default two threads are asked in each call whether a proxy or a .netrc is meant for it.
    settings.client_session_kwargs = {"trust_env": False, "cookie_jar": aiohttp.DummyCookieJar()}
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            load.load_incluster_config(client_configuration=settings)
        else:
            # Named here, or it would be what the environment said when the library was imported.
            kubeconfig = os.environ.get("KUBECONFIG")
            await load.load_kube_config(kubeconfig, client_configuration=settings)
    except (config.ConfigException, OSError) as exc:
        raise KubeError(f"no way to reach a Kubernetes API server: {exc}") from exc
    async with client.ApiClient(settings) as api:
        yield ApiServer(api, request_timeout)


def own_namespace() -> str | None:
    """The namespace of the pod that this process runs in; ``None`` outside a cluster."""
    try:
        return OWN_NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError:
        return None


@contextlib.contextmanager
def _translated(what: str) -> Generator[None]:
    """Turn the client's errors into ours.

    Bodies stay behind: one may quote what was sent.
    """
    try:
        yield
    except ApiException as exc:
        raise _refused(what, exc) from None
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        raise KubeRetryableError(
            f"{what}: no answer from the API server ({type(exc).__name__})"
        ) from exc
    except config.ConfigException as exc:
        # The client reads the token of the pod again each minute.
        raise KubeRetryableError(f"{what}: the own token can't be read: {exc}") from exc


def _refused(what: str, exc: ApiException) -> KubeError:
    told: Any = exc  # its attributes are not typed
    status = int(told.status or 0)
    if status == HTTPStatus.NOT_FOUND:
        return ObjectGoneError(f"{what}: HTTP {status}")
    if status == HTTPStatus.CONFLICT:
        return KubeConflictError(f"{what}: HTTP {status}")
    if status == HTTPStatus.FORBIDDEN:
        return KubeForbiddenError(
            f"{what}: the operator's ServiceAccount lacks this right; see the chart's ClusterRole"
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return KubeRetryableError(f"{what}: HTTP {status}", retry_after=_retry_after(told.headers))
    refused = KubeInvalidError if status in INVALID else KubeError
    return refused(f"{what}: HTTP {status} {told.reason or ''}".rstrip())


def _retry_after(headers: Mapping[str, str] | None) -> timedelta | None:
    text = str((headers or {}).get("Retry-After", ""))
    return timedelta(seconds=int(text)) if text.isdecimal() else None
