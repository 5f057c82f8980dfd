"""Settings are read once and refused at start when wrong."""

from datetime import timedelta

import pytest

from image_share_operator.settings import Settings, SettingsError


def test_settings_have_defaults() -> None:
    settings = Settings.from_env({})

    assert (settings.workers, settings.batch_images) == (2048, 50)
    assert settings.request_timeout == timedelta(seconds=30)
    assert settings.namespaces == ()
    assert settings.allow_insecure_endpoints is False
    assert settings.watch_silence == timedelta(seconds=70)
    assert settings.watch_stuck == timedelta(seconds=60)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ISA_WORKERS", "0"),
        ("ISA_WORKERS", "1.5"),
        ("ISA_WORKERS", "many"),
        ("ISA_SLOW_RETRY_S", "60"),
        ("ISA_LOG_LEVEL", "loud"),
        ("ISA_SIGNING_FORM", "b"),
        ("ISA_ALLOW_INSECURE_ENDPOINTS", "yes"),
        ("ISA_REQUEST_TIMEOUT_S", "nan"),
        ("ISA_SHARD", "3/3"),
        ("ISA_SHARD", "1"),
        ("ISA_SHARD", "-1/3"),
        ("HTTPS_PROXY", "proxy.example.com:3128"),
        ("https_proxy", "socks5://proxy.example.com"),
        ("HTTPS_PROXY", "http://proxy.example.com:port"),
    ],
)
def test_settings_name_the_one_that_is_wrong(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name.upper()):
        Settings.from_env({name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ISA_WORKERS", "0", "ISA_WORKERS='0': must be from 1 to 16384"),
        ("ISA_WORKERS", "many", "ISA_WORKERS='many': must be a number"),
        ("ISA_BATCH_IMAGES", "1.5", "ISA_BATCH_IMAGES='1.5': must be a whole number"),
        ("ISA_LOG_FORMAT", "xml", "ISA_LOG_FORMAT='xml': must be one of text, json"),
    ],
)
def test_settings_error_names_the_allowed_values(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: value})

    assert str(caught.value) == message


def test_password_of_the_proxy_is_not_shown() -> None:
    good = Settings.from_env({"HTTPS_PROXY": "http://me:secret@proxy.example.com:3128"})
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"HTTPS_PROXY": "me:secret@proxy.example.com"})

    assert good.https_proxy == "http://me:secret@proxy.example.com:3128"
    assert "secret" not in f"{good} {caught.value}".replace("secret_poll", "")
