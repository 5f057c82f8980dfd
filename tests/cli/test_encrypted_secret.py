"""Secrets that a tool should have decrypted or filled in are never sent as a login."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cli.command import INSECURE, Ended
from otc_simulator.client import Simulator

SOPS = "ENC[AES256_GCM,data:d29ybGQ=,iv:MTIzNDU2Nzg5MDEy,tag:MTIzNDU2Nzg5MDEyMzQ1Ng==,type:str]"


def test_check_names_the_file_that_has_no_secret(run: Callable[..., Ended], tmp_path: Path) -> None:
    share = {
        "apiVersion": "ims.otc.dev/v1alpha1",
        "kind": "ImageShareAcceptance",
        "metadata": {"name": "a"},
        "spec": {},
    }
    sealed = {
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {"name": "otc"},
        "spec": {"encryptedData": {"password": "AgB"}},
    }
    (tmp_path / "share.yaml").write_text(yaml.safe_dump(share))
    (tmp_path / "sealed.yaml").write_text(yaml.safe_dump(sealed))

    ended = run("check", "share.yaml", "--secret", "sealed.yaml")

    assert ended.code == 2
    assert "--secret: sealed.yaml has no Secret (kind: Secret)" in ended.err


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("stringData", SOPS, "key password is still encrypted (SOPS)"),
        ("data", SOPS, "data.password is still encrypted (SOPS)"),
        ("stringData", "<path:kv/data/otc#password>", "key password is a placeholder"),
        ("data", "<path:kv/data/otc#password>", "data.password is a placeholder"),
        ("stringData", "${PASSWORD}", "key password is a placeholder"),
    ],
)
def test_encrypted_or_unfilled_secret_sends_no_login(
    sim: Simulator,
    run: Callable[..., Ended],
    tmp_path: Path,
    part: str,
    value: str,
    message: str,
) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "otc"}}
    login = {"username": sim.user, "domainName": sim.domain}
    given = {"password": value}
    data = {"stringData": login | given} if part == "stringData" else {part: given}
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump(secret | data))
    where = ("--iam", sim.url, "--ims", sim.url, "--project", sim.project_id, INSECURE)

    ended = run("pending", *where, "--secret", "secret.yaml")

    assert ended.code != 0
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert value not in ended.err
    assert sim.counters()["logins_failed"] == 0
