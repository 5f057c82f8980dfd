"""Credentials from a clouds.yaml, read by the library that owns the format.

Only who logs in is taken from it. Endpoints and project come from the spec: a Secret must not
send credentials elsewhere.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, cast

import yaml

from image_share_operator.api.credentials import Credentials, PasswordCredentials, TokenCredentials


def read(text: bytes, cloud: str | None) -> Credentials:
    """Read the credentials of one cloud of the file.

    Args:
        cloud: its name; may be ``None`` when the file holds one cloud only.

    Raises:
        ValueError: they can't be read; the message names the field, never a value.
    """
    name = _checked(text, cloud)
    return _credentials(_auth(text, name), name)


def read_own(cloud: str) -> Credentials:
    """Read the credentials of one cloud of the user's own clouds.yaml, where the library finds it.

    Raises:
        ValueError: they can't be read; the message names the field, never a value.
    """
    from openstack.config.loader import OpenStackConfig  # noqa: PLC0415

    loaded: Any = _tried(lambda: OpenStackConfig(load_envvars=False), cloud)
    if cloud not in loaded.get_cloud_names():
        raise ValueError(f"clouds.yaml has no cloud {cloud}")
    return _credentials(_auth_of(loaded, cloud), cloud)


def _credentials(auth: Mapping[str, Any], name: str) -> Credentials:
    token, password = auth.get("token"), auth.get("password")
    if token:
        return TokenCredentials(token=str(token))
    if not password:
        raise ValueError(f"clouds.yaml: cloud {name} has neither auth.password nor auth.token")
    if auth.get("user_id"):
        return PasswordCredentials(user_id=str(auth["user_id"]), password=str(password))
    domain = auth.get("user_domain_name") or auth.get("domain_name")
    if not auth.get("username") or not domain:
        raise ValueError(
            f"clouds.yaml: cloud {name} needs auth.username and auth.user_domain_name, or "
            "auth.user_id"
        )
    return PasswordCredentials(
        user_name=str(auth["username"]), password=str(password), domain_name=str(domain)
    )


def _checked(text: bytes, cloud: str | None) -> str:
    """The name of the cloud, if the file is safe to pass to the library."""
    try:
        document: object = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ValueError("clouds.yaml is not YAML") from None
    clouds = _mapping(_mapping(document).get("clouds"))
    if not clouds:
        raise ValueError("clouds.yaml has no clouds")
    if cloud is None and len(clouds) > 1:
        raise ValueError("clouds.yaml has several clouds: name one in the key cloud")
    name = cloud or next(iter(clouds))
    if name not in clouds:
        raise ValueError(f"clouds.yaml has no cloud {name}")
    for field in ("profile", "cloud"):
        if "://" in str(_mapping(clouds[name]).get(field, "")):
            # The library would fetch it: a request to a host of the tenant's choice.
            raise ValueError(f"clouds.yaml: {field} of cloud {name} must not be a URL")
    return name


def _auth(text: bytes, name: str) -> Mapping[str, Any]:
    # Imported when needed: it costs half a second and 20 MB.
    from openstack.config.loader import OpenStackConfig  # noqa: PLC0415

    memory = os.memfd_create(
        "clouds.yaml"
    )  # the library reads files only; this one is never on a disk
    try:
        os.write(memory, text)
        loaded: Any = _tried(
            lambda: OpenStackConfig(
                config_files=[f"/proc/self/fd/{memory}"],
                vendor_files=[],
                secure_files=[],
                load_envvars=False,
            ),
            name,
        )
        return _auth_of(loaded, name)
    finally:
        os.close(memory)


def _auth_of(loaded: Any, name: str) -> Mapping[str, Any]:
    region: Any = _tried(lambda: loaded.get_one(cloud=name, validate=False), name)
    return _mapping(_tried(lambda: region.config.get("auth"), name))


def _tried(step: Callable[[], Any], name: str) -> Any:
    """Call the library without its error texts, which may quote the file."""
    from openstack import exceptions  # noqa: PLC0415

    try:
        return step()
    except (exceptions.SDKException, TypeError, AttributeError, yaml.YAMLError, OSError):
        raise ValueError(f"clouds.yaml: cloud {name} can't be read") from None


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
