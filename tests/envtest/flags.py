"""The command lines of etcd and kube-apiserver; paths are relative to their directory."""

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


def etcd() -> list[str]:
    """Sockets instead of ports: none to race for, and as relative paths they are short enough.

    A member must advertise hosts and ports; this one has no peers, so nothing connects there.
    """
    return [
        "--data-dir=etcd",
        "--unsafe-no-fsync",
        "--log-level=warn",
        "--listen-client-urls=unix://etcd.sock",
        "--advertise-client-urls=http://localhost:2379",
        "--listen-peer-urls=unix://etcd-peer.sock",
        "--initial-advertise-peer-urls=http://localhost:2380",
        "--initial-cluster=default=http://localhost:2380",
    ]


def apiserver(*, port: int | None, audit: bool) -> list[str]:
    """RBAC and the TokenRequest API as in a cluster; flow control has its defaults too."""
    chosen = [
        "--etcd-servers=unix://etcd.sock",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--permit-port-sharing=true",  # with the socket that keeps the port ours
        "--tls-cert-file=server.crt",
        "--tls-private-key-file=server.key",
        "--token-auth-file=tokens.csv",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-account-key-file=service-accounts.key",
        "--service-account-signing-key-file=service-accounts.key",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--endpoint-reconciler-type=none",  # no Service leads here
        "--profiling=false",
    ]
    if audit:
        chosen += ["--audit-policy-file=audit-policy.json", "--audit-log-path=audit.log"]
    return chosen
