"""Reads and patches the resources of a cluster, as the user of a kubeconfig."""

from argparse import Namespace
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from image_share_operator.api.errors import (
    KubeError,
    KubeForbiddenError,
    KubeRetryableError,
    ObjectGoneError,
)
from image_share_operator.api.types import GROUP, PLURAL, VERSION, Key
from image_share_operator.cli.exit_codes import CommandError, Exit
from image_share_operator.kube import client
from image_share_operator.kube.client import MERGE, ApiServer
from image_share_operator.settings import Settings

Json = Mapping[str, Any]
FIELD_MANAGER = "image-share-operator-cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSelection:
    """Which resources a command reads: those with ``names``, or all.

    Attributes:
        namespace: ``None`` for all namespaces, in which case ``names`` is empty.
    """

    namespace: str | None
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The API server, and the selection of the command line."""

    api: ApiServer
    selection: ResourceSelection

    async def read(self) -> tuple[Json, ...]:
        """Return the selected resources.

        Raises:
            CommandError: a resource does not exist, or a request failed.
        """
        namespace, names = self.selection.namespace, self.selection.names
        if namespace is not None and names:
            unique = dict.fromkeys(names)
            return tuple([await self._get(Key(namespace, name)) for name in unique])
        return await self._list(namespace)

    async def patch(self, key: Key, change: Json) -> Json:
        """Send a merge patch; return the new object."""
        query = {"fieldManager": FIELD_MANAGER}
        url = client.path(*_parts(key.namespace), key.name, **query)
        return await self._call("patch", url, namespace=key.namespace, body=change, headers=MERGE)

    async def _get(self, key: Key) -> Json:
        try:
            return await self._call(
                "get", client.path(*_parts(key.namespace), key.name), namespace=key.namespace
            )
        except _NotFoundError:
            raise CommandError(
                f"{PLURAL} {key.name!r} not found in namespace {key.namespace}; "
                "set --namespace, or check the name",
                Exit.NOT_FINE,
            ) from None

    async def _list(self, namespace: str | None) -> tuple[Json, ...]:
        rows: list[Json] = []
        parts = _parts(namespace)
        try:
            async for page in client.pages(
                self.api, *parts, resource=PLURAL, namespace=namespace or ""
            ):
                rows += cast("Sequence[Json]", page["items"])
        except ObjectGoneError:
            raise CommandError(
                f"the cluster has no {PLURAL}.{GROUP}; install the CRD of the operator",
                Exit.NOT_FINE,
            ) from None
        except KubeError as exc:
            _fail(exc, _what("list", namespace or ""))
        return tuple(rows)

    async def _call(self, verb: str, url: str, *, namespace: str, **options: Any) -> Json:
        try:
            return cast(
                "Json",
                await self.api.call(verb, url, resource=PLURAL, namespace=namespace, **options),
            )
        except ObjectGoneError:
            raise _NotFoundError from None
        except KubeError as exc:
            _fail(exc, _what(verb, namespace))


def _what(verb: str, namespace: str) -> str:
    return f"{verb} {PLURAL}" + (f" in namespace {namespace}" if namespace else "")


class _NotFoundError(Exception):
    """HTTP 404."""


def _fail(error: KubeError, what: str) -> NoReturn:
    if isinstance(error, KubeForbiddenError):
        message = f"{what}: HTTP 403: the user of the kubeconfig lacks this permission"
        raise CommandError(message, Exit.NOT_FINE) from None
    code = Exit.UNREACHABLE if isinstance(error, KubeRetryableError) else Exit.NOT_FINE
    raise CommandError(str(error), code) from None


def _parts(namespace: str | None) -> tuple[str, ...]:
    where = () if namespace is None else ("namespaces", namespace)
    return ("apis", GROUP, VERSION, *where, PLURAL)


@asynccontextmanager
async def connect_api(
    asked: Namespace, settings: Settings
) -> AsyncGenerator[tuple[client.ApiServer, str]]:
    """Open the API server of the kubeconfig; yield it with the namespace of the context.

    Raises:
        CommandError: there is no usable kubeconfig.
    """
    async with AsyncExitStack() as stack:
        try:
            found = await stack.enter_async_context(
                client.connect_as_user(asked.kubeconfig, asked.context, settings.request_timeout)
            )
        except KubeError as exc:
            raise CommandError(str(exc)) from None
        yield found


@asynccontextmanager
async def connect(asked: Namespace, settings: Settings) -> AsyncGenerator[Cluster]:
    """Open the API server of the kubeconfig.

    Raises:
        CommandError: there is no usable kubeconfig.
    """
    async with connect_api(asked, settings) as (api, default):
        namespace = None if asked.all_namespaces else asked.namespace or default
        yield Cluster(api, ResourceSelection(namespace=namespace, names=tuple(asked.names)))
