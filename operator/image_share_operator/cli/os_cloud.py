"""Finds a cloud in the files and the environment, as the OpenStack client does.

Source: openstacksdk, "Configuring OpenStack SDK Applications"; python-openstackclient,
"Configuration": options and environment variables win over clouds.yaml.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from image_share_operator.api import bounded_yaml, clouds_yaml
from image_share_operator.api.bounded_yaml import Node
from image_share_operator.api.clouds_yaml import CloudEntry, Fields
from image_share_operator.cli.exit_codes import CommandError, Exit

_FIELDS = (
    "auth_type",
    "token",
    "auth_token",
    "password",
    "user_id",
    "username",
    "user_domain_id",
    "user_domain_name",
    "domain_id",
    "domain_name",
    "default_domain_id",
    "default_domain_name",
    "access_key",
    "secret_key",
    "security_token",
    "application_credential_id",
    "application_credential_name",
    "application_credential_secret",
)


def overrides(env: Mapping[str, str]) -> dict[str, str]:
    """The fields that the environment sets: ``OS_PASSWORD`` is ``password``.

    Raises:
        ValueError: one is not UTF-8; the message names the variable, never a value.
    """
    names = {field: f"OS_{field.upper()}" for field in _FIELDS}
    for name in names.values():
        if not _is_text(env.get(name, "")):
            raise ValueError(f"{name} is not UTF-8; set it again, encoded in UTF-8")
    return {field: env[name] for field, name in names.items() if env.get(name)}


def _is_text(value: str) -> bool:
    """Whether the value of a variable is UTF-8: Python reads other bytes as lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def find(name: str, env: Mapping[str, str]) -> tuple[CloudEntry, ...]:
    """Return the cloud with the values of each of its regions.

    Raises:
        ValueError: it can't be read; the message names file and field, never a value.
    """
    document = _merged(
        _read_first("clouds", env.get("OS_CLIENT_CONFIG_FILE"), env) or {},
        _read_first("secure", env.get("OS_CLIENT_SECURE_FILE"), env) or {},
    )
    if not document:
        named = env.get("OS_CLIENT_CONFIG_FILE")
        remedy = "set OS_CLIENT_CONFIG_FILE to its path"
        raise ValueError(
            "clouds.yaml not found in the current directory, ~/.config/openstack and "
            f"/etc/openstack; {f'correct OS_CLIENT_CONFIG_FILE={named}' if named else remedy}"
        )
    clouds = clouds_yaml.clouds_of(document)
    if name not in clouds:
        raise ValueError(f"clouds.yaml has no cloud {name}")
    return clouds_yaml.regions_of(name, _with_profile(clouds[name], env), overrides(env))


def cacert(cloud: CloudEntry, env: Mapping[str, str]) -> tuple[str, bytes] | None:
    """Return name and content of the CA certificates of the cloud; ``None`` if it has none.

    Raises:
        CommandError: the file cannot be read.
    """
    if env.get("OS_CACERT"):
        return read_cacert("OS_CACERT", env["OS_CACERT"], env)
    path = cloud.fields.get("cacert")
    return read_cacert("cacert", path, env) if isinstance(path, str) and path else None


def read_cacert(setting: str, path: str, env: Mapping[str, str]) -> tuple[str, bytes]:
    """Return name and content of a file of CA certificates.

    Args:
        setting: that has the path, for messages.

    Raises:
        CommandError: the file cannot be read.
    """
    file = _home(env) / path[2:] if path.startswith("~/") else Path(path)
    try:
        return f"{setting} {path}", file.read_bytes()
    except OSError as exc:
        raise CommandError(f"{setting} {path}: {exc.strerror}", Exit.NOT_FINE) from None


def _home(env: Mapping[str, str]) -> Path:
    return Path(env.get("HOME") or "/")


def _directories(env: Mapping[str, str]) -> Iterator[Path]:
    yield Path()
    yield Path(env.get("XDG_CONFIG_HOME") or _home(env) / ".config") / "openstack"
    yield Path(env.get("SNAP_REAL_HOME") or _home(env)) / ".config" / "openstack"
    for site in (env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        yield Path(site) / "openstack"
    yield Path("/etc/openstack")


def _read_first(stem: str, first: str | None, env: Mapping[str, str]) -> Fields | None:
    """Return the first of the files that can be read; ``None`` if there is none."""
    files = [Path(first)] if first else []
    files += [
        directory / f"{stem}{suffix}"
        for directory in _directories(env)
        for suffix in (".yaml", ".yml", ".json")
    ]
    for file in files:
        try:
            data = file.read_bytes()
        except OSError:
            continue  # as the OpenStack client does
        return clouds_yaml.parse(data, str(file), bounded_yaml.OWN)
    return None


def _merged(below: Fields, above: Fields) -> dict[str, Node]:
    """Merge mappings at all levels; the values of ``above`` win."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merged(old, value)
        else:
            merged[key] = value
    return merged


def _with_profile(cloud: Node, env: Mapping[str, str]) -> Node:
    """Add the fields of the profile in clouds-public.yaml that the cloud names.

    The profiles of the OpenStack client itself have no credentials.
    """
    if not isinstance(cloud, dict):
        return cloud
    profile = cloud.get("profile", cloud.get("cloud"))
    profiles = (_read_first("clouds-public", None, env) or {}).get("public-clouds")
    if not isinstance(profile, str) or not isinstance(profiles, dict):
        return cloud
    base = profiles.get(profile)
    return clouds_yaml.merge_cloud(base, cloud) if isinstance(base, dict) else cloud
