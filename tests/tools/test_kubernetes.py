"""kube-apiserver of another version of Kubernetes: the go.mod that builds it."""

from tools.kubernetes import go_mod

RELEASE = """\
module k8s.io/kubernetes

go 1.22.8

require k8s.io/api v0.0.0

replace (
\tk8s.io/api => ./staging/src/k8s.io/api
\tk8s.io/client-go => ./staging/src/k8s.io/client-go
)

replace k8s.io/mount-utils => ./staging/src/k8s.io/mount-utils
"""


def test_staging_modules_have_the_version_of_the_release() -> None:
    text = go_mod("v1.28.15", RELEASE)

    assert [line.strip() for line in text.splitlines() if "=>" in line] == [
        "k8s.io/api => k8s.io/api v0.28.15",
        "k8s.io/client-go => k8s.io/client-go v0.28.15",
        "k8s.io/mount-utils => k8s.io/mount-utils v0.28.15",
    ]


def test_language_version_is_that_of_the_release() -> None:
    assert "\ngo 1.22.8\n" in go_mod("v1.28.15", RELEASE)
