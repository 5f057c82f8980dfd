"""Calls to the Kubernetes API server: JSON, through the client of the `kubernetes` package.

Its generated methods check each argument and copy each body: 0.5 ms of CPU for a status write, and
90 MB of memory for the models of all kinds. This module uses the layer below them, which has the
configuration, rotating tokens, TLS and connections (ADR 9).
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
import yaml
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from image_share_operator.api.errors import (
    KubeConflictError,
    KubeError,
    KubeForbiddenError,
    KubeInvalidError,
    KubeRetryableError,
    KubeTooLargeError,
    ObjectGoneError,
)
from image_share_operator.kube import denials
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
POOL_SIZE = 24
"""Connections to the API server: more than reconciles use, so that the Lease never waits."""
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT_KUBECONFIG = "~/.kube/config"
MAX_BODY = 10 * 1024 * 1024
"""Bytes of a response. An object is far smaller: etcd stores up to 1.5 MiB."""
PAGE_SIZE = 500
"""Objects per page of a list, unless the page is over `MAX_BODY`."""


class ApiServer:
    """Sends requests as this process's ServiceAccount or user."""

    def __init__(self, api: client.ApiClient, timeout: timedelta) -> None:
        self._api: Any = api  # untyped
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
        """Send one request; return the JSON object of the response.

        Args:
            verb: the verb of RBAC: get, list, create, update or patch. Error messages name it, with
                the resource and the namespace.
            path: from `path`.

        Raises:
            KubeError: its subclass shows what to do.
        """
        where = f" in namespace {namespace}" if namespace else ""
        attributes = {"http.request.method": METHODS[verb], "k8s.namespace.name": namespace}
        what = f"{verb} {resource}{where}"
        span = tracing.tracer.start_as_current_span(f"{verb} {resource}", attributes=attributes)
        with span, _mapped_errors(what):
            all_headers = {**JSON, **headers}
            for auth in (await self._api.configuration.auth_settings()).values():
                all_headers[auth["key"]] = auth["value"]
            response = await self._api.call_api(
                METHODS[verb],
                f"{self._api.configuration.host}{path}",
                all_headers,
                body=body,
                _request_timeout=self._timeout,
            )
            content = await _read(response.response, what)
            if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                error: Any = ApiException(http_resp=response)  # untyped
                error.body = content
                raise error
            return _parse_object(content, f"{what}: HTTP {response.status}")


async def pages(
    api: ApiServer,
    *parts: str,
    resource: str,
    namespace: str,
    headers: Mapping[str, str] = JSON,
) -> AsyncGenerator[Any]:
    """List objects, page by page. Pages become smaller when one is over `MAX_BODY`.

    The managed fields of a resource with 500 images are 115 KB, so 100 of them are over it.

    Args:
        parts: the path, as of `path`.

    Raises:
        KubeError: a page could not be read.
    """
    limit, more = PAGE_SIZE, ""
    while True:
        query = {"limit": str(limit), **({"continue": more} if more else {})}
        url = path(*parts, **query)
        try:
            page = await api.call(
                "list", url, resource=resource, namespace=namespace, headers=headers
            )
        except KubeTooLargeError:
            if limit == 1:
                raise
            limit = max(limit // 10, 1)
            continue
        yield page
        more = page["metadata"].get("continue") or ""
        if not more:
            return


async def _read(response: aiohttp.ClientResponse, what: str) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            response.close()
            raise KubeTooLargeError(f"{what}: the response is over {MAX_BODY >> 20} MiB")
    return bytes(body)


def _parse_object(content: bytes, what: str) -> dict[str, Any]:
    try:
        body: object = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        # Not from the API server: a proxy may return 200 for any request.
        raise KubeRetryableError(f"{what} without a JSON object")
    return cast("dict[str, Any]", body)


def path(*parts: str, **query: str) -> str:
    """Return a URL path, with all parts and query values quoted."""
    joined = "/" + "/".join(quote(part, safe="") for part in parts)
    return f"{joined}?{urlencode(query)}" if query else joined


@contextlib.asynccontextmanager
async def connect(request_timeout: timedelta) -> AsyncGenerator[ApiServer]:
    """Open the client, with the ServiceAccount of the pod, or with a kubeconfig outside a cluster.

    Raises:
        KubeError: there is no usable configuration.
    """
    load: Any = config  # untyped
    settings = _configuration()
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            load.load_incluster_config(client_configuration=settings)
        else:
            # The library reads the variable only once, when it is imported.
            kubeconfig = os.environ.get("KUBECONFIG")
            await load.load_kube_config(kubeconfig, client_configuration=settings)
    except (config.ConfigException, OSError) as exc:
        raise KubeError(
            f"no Kubernetes configuration: {exc}; run the operator in a pod, or set KUBECONFIG"
        ) from exc
    async with client.ApiClient(settings) as api:
        yield ApiServer(api, request_timeout)


@contextlib.asynccontextmanager
async def connect_as_user(
    kubeconfig: str | None, context: str | None, request_timeout: timedelta
) -> AsyncGenerator[tuple[ApiServer, str]]:
    """Open the client of a user; yield it with the namespace of the context.

    Args:
        kubeconfig: path; ``None`` for KUBECONFIG or ``~/.kube/config``. Without a file, the
            ServiceAccount of the pod is used, as kubectl does.
        context: ``None`` for the current context.

    Raises:
        KubeError: there is no usable configuration.
    """
    load: Any = config  # untyped
    settings = _configuration()
    paths = kubeconfig or os.environ.get("KUBECONFIG") or DEFAULT_KUBECONFIG
    try:
        if _has_file(paths):
            loader = await load.load_kube_config(
                paths, context, client_configuration=settings, persist_config=False
            )
            namespace = loader.current_context["context"].get("namespace")
        elif kubeconfig is None and context is None and os.environ.get("KUBERNETES_SERVICE_HOST"):
            load.load_incluster_config(client_configuration=settings)
            namespace = own_namespace()
        else:
            raise KubeError(f"no kubeconfig at {paths}; set --kubeconfig or KUBECONFIG")
    except (config.ConfigException, OSError, TypeError, KeyError, yaml.YAMLError) as exc:
        # A broken file is a TypeError or a KeyError of the library, and a message quotes the file.
        reason = str(exc) if isinstance(exc, config.ConfigException) else type(exc).__name__
        raise KubeError(f"kubeconfig {paths} is not usable: {reason}") from exc
    async with client.ApiClient(settings) as api:
        yield ApiServer(api, request_timeout), namespace or "default"


def _has_file(paths: str) -> bool:
    return any(Path(path).expanduser().exists() for path in paths.split(os.pathsep) if path)


def _configuration() -> client.Configuration:
    settings = client.Configuration()
    settings.connection_pool_maxsize = POOL_SIZE
    # By default each call checks for a proxy and a .netrc file, in two threads.
    settings.client_session_kwargs = {"trust_env": False, "cookie_jar": aiohttp.DummyCookieJar()}
    return settings


def own_namespace() -> str | None:
    """Return the namespace of the pod of this process; ``None`` outside a cluster."""
    try:
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    except OSError:
        return None


@contextlib.contextmanager
def _mapped_errors(what: str) -> Generator[None]:
    """Map the errors of the client to `KubeError`.

    Messages contain no response body, which may quote what was sent. The exception is a denial, as
    by an admission policy: it has a message for the user.
    """
    try:
        yield
    except ApiException as exc:
        raise _error_of(what, exc) from None
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        raise KubeRetryableError(
            f"{what}: no response from the API server ({type(exc).__name__})"
        ) from exc
    except config.ConfigException as exc:
        # The client reads the token file of the pod again each minute.
        raise KubeRetryableError(
            f"{what}: failed to read the token of the ServiceAccount: {exc}"
        ) from exc


def _error_of(what: str, exc: ApiException) -> KubeError:
    response: Any = exc  # untyped
    status = int(response.status or 0)
    if status == HTTPStatus.NOT_FOUND:
        return ObjectGoneError(f"{what}: HTTP {status}")
    if status == HTTPStatus.CONFLICT:
        return KubeConflictError(f"{what}: HTTP {status}")
    if status == HTTPStatus.FORBIDDEN:
        return KubeForbiddenError(
            f"{what}: HTTP {status}: {denials.explain(status, response.body)}"
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return KubeRetryableError(
            f"{what}: HTTP {status}", retry_after=_retry_after(response.headers)
        )
    if status in INVALID:
        cause = denials.explain(status, response.body)
        return KubeInvalidError(
            f"{what}: HTTP {status} {response.reason or ''}".rstrip()
            if cause is None
            else f"{what}: HTTP {status}: {cause}"
        )
    return KubeError(f"{what}: HTTP {status} {response.reason or ''}".rstrip())


def _retry_after(headers: Mapping[str, str] | None) -> timedelta | None:
    text = str((headers or {}).get("Retry-After", ""))
    return timedelta(seconds=int(text)) if text.isdecimal() else None
