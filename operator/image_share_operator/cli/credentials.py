"""Reads credentials from options and the environment. Parses them as those of a Secret."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass

from image_share_operator.api import clouds_yaml, secret
from image_share_operator.api.credentials import Credentials, PasswordCredentials, TokenCredentials
from image_share_operator.cli import manifests
from image_share_operator.cli.exit_codes import CommandError

NONE = (
    "no credentials: set --secret, --secret-dir or --os-cloud, or the environment variables "
    "OS_CLOUD, or OS_USERNAME, OS_PASSWORD and OS_USER_DOMAIN_NAME"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Credentials, with the CA certificates of the same source."""

    credentials: Credentials
    ca: str | None = None


def of_data(data: Mapping[str, bytes]) -> Login:
    """Parse the keys of a Secret.

    Raises:
        ValueError: a key is missing or invalid; the message contains no value.
    """
    return Login(credentials=secret.parse(data), ca=secret.parse_ca(data))


def given(asked: Namespace, env: Mapping[str, str]) -> Login | None:
    """Return the credentials of the options or the environment; ``None`` if there are none.

    Raises:
        CommandError: the credentials are invalid.
    """
    try:
        if asked.secret is not None:
            return of_data(_only_secret(asked.secret))
        if asked.secret_dir is not None:
            return of_data(manifests.read_directory(asked.secret_dir))
        cloud = asked.os_cloud or env.get("OS_CLOUD")
        if cloud:
            return Login(credentials=clouds_yaml.read_own(cloud))
        found = _of_environment(env)
    except ValueError as exc:
        where = asked.secret or asked.secret_dir
        raise CommandError(f"{where}: {exc}" if where else str(exc)) from None
    return None if found is None else Login(credentials=found)


def _only_secret(file: str) -> Mapping[str, bytes]:
    found = manifests.read([file]).secrets
    if len(found) != 1:
        raise CommandError(f"{file}: must contain one Secret, contains {len(found)}")
    return found[0].data


def _of_environment(env: Mapping[str, str]) -> Credentials | None:
    token = env.get("OS_TOKEN") or env.get("OS_AUTH_TOKEN")
    if token:
        return TokenCredentials(token=token)
    if not env.get("OS_PASSWORD"):
        return None
    keys = {"password": env["OS_PASSWORD"]}
    if env.get("OS_USER_ID"):
        return PasswordCredentials(user_id=env["OS_USER_ID"], **keys)
    domain = env.get("OS_USER_DOMAIN_NAME") or env.get("OS_DOMAIN_NAME")
    if not env.get("OS_USERNAME") or not domain:
        raise ValueError(
            "OS_PASSWORD has no user; set OS_USERNAME and OS_USER_DOMAIN_NAME, or OS_USER_ID"
        )
    return PasswordCredentials(user_name=env["OS_USERNAME"], domain_name=domain, **keys)
