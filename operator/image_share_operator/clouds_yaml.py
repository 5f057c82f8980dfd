"""Credentials from a clouds.yaml, read by the library that owns the format.

Only who logs in is taken from it. Endpoints and project come from the spec: a Secret must not
send credentials elsewhere.
"""

import os
from collections.abc import Mapping
from typing import Any, cast

import yaml

from image_share_operator.identity import Credentials, PasswordCredentials, TokenCredentials


def read(text: bytes, cloud: str | None) -> Credentials:
    """Read the credentials of one cloud of the file.

    Args:
        cloud: its name; may be ``None`` when the file holds one cloud only.

    Raises:
        ValueError: they can't be read; the message names the field, never a value.
    """
    name = _checked(text, cloud)
    auth = _auth(text, name)
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
    """The name of the cloud, if the file may be handed to the library."""
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
            # The library would fetch it: a request to wherever the Secret says.
            raise ValueError(f"clouds.yaml: {field} of cloud {name} must not be a URL")
    return name


def _auth(text: bytes, name: str) -> Mapping[str, Any]:
    # Half a second and 20 MB that only those pay who use it.
    from openstack import exceptions  # noqa: PLC0415
    from openstack.config.loader import OpenStackConfig  # noqa: PLC0415

    memory = os.memfd_create("clouds.yaml")  # the library reads files: this one is never on disk
    try:
        os.write(memory, text)
        loaded: Any = OpenStackConfig(
            config_files=[f"/proc/self/fd/{memory}"],
            vendor_files=[],
            secure_files=[],
            load_envvars=False,
        )
        region: Any = loaded.get_one(cloud=name, validate=False)
        return _mapping(region.config.get("auth"))
    except (exceptions.SDKException, TypeError, AttributeError):
        raise ValueError(f"clouds.yaml: cloud {name} can't be read") from None
    finally:
        os.close(memory)


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
