"""Where a person's credentials come from. The same forms as in a Secret, read by the same code."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass

from image_share_operator.api import clouds_yaml, secret
from image_share_operator.api.credentials import Credentials, PasswordCredentials, TokenCredentials
from image_share_operator.cli import manifests
from image_share_operator.cli.exit_codes import CommandError

NONE = (
    "no credentials: give --secret, --secret-dir or --os-cloud, or set OS_CLOUD, or OS_USERNAME, "
    "OS_PASSWORD and OS_USER_DOMAIN_NAME"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Credentials, and the private authority that they come with."""

    credentials: Credentials
    ca: str | None = None


def of_data(data: Mapping[str, bytes]) -> Login:
    """Read the keys of a Secret.

    Raises:
        ValueError: one is missing or wrong; no value is shown.
    """
    return Login(credentials=secret.parse(data), ca=secret.parse_ca(data))


def given(asked: Namespace, env: Mapping[str, str]) -> Login | None:
    """The credentials that the command line or the environment names; ``None`` for none.

    Raises:
        CommandError: they can't be used.
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
        raise CommandError(f"{file}: one Secret is needed, {len(found)} are there")
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
        raise ValueError("with OS_PASSWORD, set OS_USERNAME and OS_USER_DOMAIN_NAME, or OS_USER_ID")
    return PasswordCredentials(user_name=env["OS_USERNAME"], domain_name=domain, **keys)
