"""Requests tokens of ServiceAccounts, as the user of a kubeconfig."""

from argparse import Namespace
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from image_share_operator.api import id_token
from image_share_operator.api.credentials import ServiceAccountCredentials
from image_share_operator.api.errors import (
    KubeError,
    KubeForbiddenError,
    KubeInvalidError,
    ObjectGoneError,
    RetryableError,
    TerminalError,
)
from image_share_operator.api.id_token import IdToken
from image_share_operator.api.reasons import Reason
from image_share_operator.cli import cluster
from image_share_operator.cli.cloud import now
from image_share_operator.kube import client
from image_share_operator.kube.client import ApiServer
from image_share_operator.settings import Settings

LIFETIME = timedelta(minutes=10)
"""The shortest lifetime that the API server accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Requests tokens of ServiceAccounts.

    Attributes:
        namespace: of the context, for resources without a namespace.
    """

    api: ApiServer
    namespace: str

    async def __call__(
        self, account: ServiceAccountCredentials, refused: IdToken | None
    ) -> tuple[IdToken, datetime]:
        """Request a token; return it with the time of its end by our clock.

        Args:
            refused: by IAM; not used, because each token is a new one.

        Raises:
            TerminalError: there is no such ServiceAccount, or the user may not request its tokens.
            RetryableError: the API server did not respond.
        """
        del refused
        began = now()
        who = f"ServiceAccount {account.name}"
        try:
            value = await self._request(account)
            token = id_token.parse(value)
        except ObjectGoneError:
            raise _unusable(
                f"{who} not found in namespace {account.namespace}; create it, or correct "
                "spec.serviceAccount.name or the context of the kubeconfig"
            ) from None
        except KubeForbiddenError:
            raise _unusable(
                f"{who}: the user of the kubeconfig lacks the permission create "
                f"serviceaccounts/token in namespace {account.namespace}"
            ) from None
        except KubeInvalidError as exc:
            raise _unusable(f"{who}: {exc}") from None
        except (KubeError, ValueError) as exc:
            raise RetryableError(f"{who}: no token from the API server: {exc}") from exc
        return token, began + token.lifetime

    async def _request(self, account: ServiceAccountCredentials) -> str:
        spec = {
            "audiences": [account.audience],
            "expirationSeconds": int(LIFETIME.total_seconds()),
        }
        parts = ("namespaces", account.namespace, "serviceaccounts", account.name, "token")
        response = await self.api.call(
            "create",
            client.path("api", "v1", *parts),
            resource="serviceaccounts/token",
            namespace=account.namespace,
            body={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
        )
        return str(response["status"]["token"])


def _unusable(why: str) -> TerminalError:
    return TerminalError(why, reason=Reason.CREDENTIALS_INVALID)


@asynccontextmanager
async def connect(asked: Namespace, settings: Settings) -> AsyncGenerator[Requester]:
    """Open the API server of the kubeconfig.

    Raises:
        CommandError: there is no usable kubeconfig.
    """
    async with cluster.connect_api(asked, settings) as (api, namespace):
        yield Requester(api=api, namespace=namespace)
