"""Reads credentials from options and the environment. Parses them as those of a Secret."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass

from image_share_operator.api import clouds_yaml, placeholders, secret
from image_share_operator.api.credentials import (
    AccessKeyCredentials,
    ApplicationCredentials,
    Credentials,
    PasswordCredentials,
    access_key_credentials,
    token_credentials,
)
from image_share_operator.cli import manifests, os_cloud
from image_share_operator.cli.exit_codes import CommandError, Exit

NONE = (
    "no credentials: set --secret, --secret-dir or --os-cloud, or the environment variables "
    "OS_CLOUD, or OS_USERNAME, OS_PASSWORD and OS_USER_DOMAIN_NAME, or OS_ACCESS_KEY and "
    "OS_SECRET_KEY, or OS_APPLICATION_CREDENTIAL_ID and OS_APPLICATION_CREDENTIAL_SECRET"
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
        return _of_cloud(cloud, env) if cloud else _of_environment(env)
    except ValueError as exc:
        where = asked.secret or asked.secret_dir
        raise CommandError(f"{where}: {exc}" if where else str(exc), Exit.NOT_FINE) from None


def _only_secret(file: str) -> Mapping[str, bytes]:
    found = manifests.read([file]).secrets
    if len(found) != 1:
        raise CommandError(f"{file}: must contain one Secret, contains {len(found)}")
    return found[0].data


def _of_cloud(name: str, env: Mapping[str, str]) -> Login:
    clouds = os_cloud.find(name, env)
    ca = os_cloud.cacert(clouds[0], env)
    return Login(
        credentials=clouds_yaml.credentials_of(clouds),
        ca=None if ca is None else secret.read_certificates(ca[1], ca[0]),
    )


def _of_environment(env: Mapping[str, str]) -> Login | None:
    credentials = _credentials(os_cloud.overrides(env))
    if credentials is None:
        return None
    ca = os_cloud.read_cacert("OS_CACERT", env["OS_CACERT"], env) if env.get("OS_CACERT") else None
    return Login(
        credentials=credentials,
        ca=None if ca is None else secret.read_certificates(ca[1], ca[0]),
    )


def _credentials(fields: Mapping[str, str]) -> Credentials | None:
    """The credentials of the fields that the environment sets; ``None`` if there are none."""
    for field, value in fields.items():
        placeholders.check(value, f"OS_{field.upper()}")
    clouds_yaml.check_auth_type(fields.get("auth_type"), "OS_AUTH_TYPE")
    if fields.get("auth_type") in clouds_yaml.APPLICATION_TYPES:
        return _application_credential(fields)
    if fields.get("auth_type") in clouds_yaml.ACCESS_KEY_TYPES:
        found = _access_key(fields)
        if found is None:
            raise ValueError(
                "OS_AUTH_TYPE needs an access key; set OS_ACCESS_KEY and OS_SECRET_KEY"
            )
        return found
    token = fields.get("token") or fields.get("auth_token")
    if token and fields.get("auth_type") not in clouds_yaml.PASSWORD_TYPES:
        return token_credentials(token, "OS_TOKEN")
    if fields.get("auth_type") in clouds_yaml.TOKEN_TYPES:
        raise ValueError("OS_AUTH_TYPE needs a token; set OS_TOKEN")
    password = fields.get("password")
    if not password:
        return _access_key(fields) or _application_credential(fields)
    if "user_id" in fields:
        return PasswordCredentials(user_id=fields["user_id"], password=password)
    domain_id, domain_name = clouds_yaml.domain_of(fields.get)
    if "username" not in fields or not (domain_id or domain_name):
        raise ValueError(
            "OS_PASSWORD has no user; set OS_USERNAME and OS_USER_DOMAIN_NAME, or OS_USER_ID"
        )
    return PasswordCredentials(
        user_name=fields["username"],
        password=password,
        domain_id=domain_id,
        domain_name=domain_name,
    )


def _access_key(fields: Mapping[str, str]) -> AccessKeyCredentials | None:
    access_key, secret_key = fields.get("access_key"), fields.get("secret_key")
    if access_key is None and secret_key is None:
        return None
    if access_key is None or secret_key is None:
        raise ValueError("an access key needs OS_ACCESS_KEY and OS_SECRET_KEY; set both")
    return access_key_credentials(
        access_key,
        secret_key,
        fields.get("security_token"),
        names=("OS_ACCESS_KEY", "OS_SECRET_KEY", "OS_SECURITY_TOKEN"),
    )


def _application_credential(fields: Mapping[str, str]) -> ApplicationCredentials | None:
    names = ("application_credential_id", "application_credential_secret")
    values = {name: fields[name] for name in names if fields.get(name)}
    if not values and "application_credential_name" not in fields:
        return None
    if len(values) < len(names):
        raise ValueError(
            "an application credential needs OS_APPLICATION_CREDENTIAL_ID and "
            "OS_APPLICATION_CREDENTIAL_SECRET; set both. A name without the ID is not supported"
        )
    return ApplicationCredentials(id=values[names[0]], secret=values[names[1]])
