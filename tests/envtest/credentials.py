"""Certificates, keys and kubeconfig files of the local control plane."""

import json
import os
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

ADMIN_GROUP = "system:masters"


def write_server_certificate(directory: Path) -> None:
    """Write `ca.crt`, `server.crt` and `server.key` for 127.0.0.1 and localhost."""
    ca = trustme.CA(organization_name="image-share-operator envtest")
    server = ca.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
    ca.cert_pem.write_to_path(directory / "ca.crt")
    write_private(directory / "server.key", server.private_key_pem.bytes().decode())
    for position, blob in enumerate(server.cert_chain_pems):
        blob.write_to_path(directory / "server.crt", append=position > 0)


def write_signing_key(path: Path) -> None:
    """Write the key that signs service account tokens."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    write_private(path, pem.decode())


def write_kubeconfig(path: Path, *, url: str, ca_file: Path, user: str, token: str) -> None:
    """Write a kubeconfig with one context; JSON is YAML, so no library is needed to write it."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "envtest", "cluster": {"server": url, "certificate-authority": str(ca_file)}}
        ],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "envtest", "context": {"cluster": "envtest", "user": user}}],
        "current-context": "envtest",
    }
    write_private(path, json.dumps(document, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
