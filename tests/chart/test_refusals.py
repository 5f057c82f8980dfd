"""Wrong values are refused before anything is changed, in words that name the value."""

from typing import Any

import pytest
import yaml

from chart.programs import Helm, HelmError

WRONG = {
    "replicaCounts: 2": "additional properties 'replicaCounts' not allowed",
    "settings: {worker: 2}": "at '/settings': additional properties 'worker' not allowed",
    "replicaCount: '2'": "at '/replicaCount': got string, want integer",
    "crds: {install: 'false'}": "at '/crds/install': got string, want boolean",
    "watchNamespaces: team-a": "at '/watchNamespaces': got string, want array",
    "watchNamespaces: [Team-A]": "at '/watchNamespaces/0': 'Team-A' does not match pattern",
    "watchNamespaces: [a, a]": "at '/watchNamespaces': items at 0 and 1 are equal",
    "settings: {workers: 100000}": "at '/settings/workers': maximum: got 100,000, want 16,384",
    "settings: {slowRetrySeconds: 60}": (
        "at '/settings/slowRetrySeconds': minimum: got 60, want 1,200"
    ),
    "settings: {logLevel: trace}": "at '/settings/logLevel': 'trace' does not match pattern",
    "image: {pullPolicy: always}": (
        "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"
    ),
    f"image: {{digest: {'a' * 64}}}": "at '/image/digest'",
    "extraEnv: [{value: x}]": "at '/extraEnv/0': missing property 'name'",
    "extraEnv: [{name: A, value: 1}]": "at '/extraEnv/0/value': got number, want string",
    "image: {repository: ''}": (
        "image.repository is required: set it to the repository of the operator image"
    ),
    "image: {repository: 'registry.example.com/isa:1.0'}": "set image.tag or image.digest instead",
    "leaderElection: {enabled: false}": (
        "replicaCount: more than one replica requires leaderElection.enabled=true"
    ),
    "serviceAccount: {create: false}": (
        "serviceAccount.name: is required if serviceAccount.create=false"
    ),
    "extraCA: {configMap: a, secret: b}": "extraCA: configMap and secret are mutually exclusive",
    "proxy: {httpsProxy: 'http://me:secret@proxy:3128'}": (
        "proxy.httpsProxy: must not contain a user or password"
    ),
    "proxy: {httpsProxy: 'proxy:3128'}": (
        "at '/proxy/httpsProxy': 'proxy:3128' does not match pattern"
    ),
    "metrics: {enabled: false, serviceMonitor: {enabled: true}}": (
        "metrics.serviceMonitor.enabled: requires metrics.enabled=true"
    ),
    "metrics: {enabled: false, prometheusRule: {enabled: true}}": (
        "metrics.prometheusRule.enabled: requires metrics.enabled=true"
    ),
    "metrics: {enabled: false, dashboard: {enabled: true}}": (
        "metrics.dashboard.enabled: requires metrics.enabled=true"
    ),
    "extraEnv: [{name: ISA_WORKERS, value: '3'}]": (
        "extraEnv: another value of this chart sets ISA_WORKERS"
    ),
    "settings: {shard: 2/2}": 'settings.shard: "2/2" has an index that is not less than the count',
    "settings: {shard: 0/1000}": "at '/settings/shard': '0/1000' does not match pattern",
    "image: {repository: Foo Bar}": 'image.repository: "Foo Bar" is not a valid image repository',
    "image: {repository: registry.example.com/Foo}": (
        'image.repository: "registry.example.com/Foo" is not a valid image repository'
    ),
    "podLabels: {app.kubernetes.io/instance: x}": (
        "podLabels: the chart sets app.kubernetes.io/instance"
    ),
    "commonLabels: {app.kubernetes.io/name: x}": (
        "commonLabels: the chart sets app.kubernetes.io/name"
    ),
    "{replicaCount: 1, leaderElection: {enabled: false}, strategy: {rollingUpdate: {}}}": (
        "strategy.type: must be Recreate if leaderElection.enabled=false"
    ),
    "extraVolumes: [{name: ca, emptyDir: {}}]": "extraVolumes: the chart uses the name ca",
    "livenessProbe: {httpGet: {path: /}}": (
        "at '/livenessProbe': additional properties 'httpGet' not allowed"
    ),
    "networkPolicy: {extraEgress: [{}]}": "at '/networkPolicy/extraEgress/0': minProperties",
    "networkPolicy: {extraEgress: [{ports: null}]}": (
        "at '/networkPolicy/extraEgress/0/ports': got null"
    ),
    "podDisruptionBudget: {minAvailable: 2}": (
        "podDisruptionBudget.minAvailable: must be less than replicaCount"
    ),
    "extraArgs: [1]": "at '/extraArgs/0': got number",
    "extraVolumes: [{}]": "at '/extraVolumes/0': missing property",
    "podLabels: {team: my team}": "at '/podLabels/team': 'my team' does not match pattern",
    "metrics: {serviceMonitor: {labels: {helm.sh/chart: x}}}": (
        "metrics.serviceMonitor.labels: the chart sets helm.sh/chart"
    ),
    "metrics: {prometheusRule: {additionalLabels: {helm.sh/chart: x}}}": (
        "metrics.prometheusRule.additionalLabels: the chart sets helm.sh/chart"
    ),
    "extraContainers: [{name: operator, image: x}]": (
        "extraContainers: the chart uses the name operator"
    ),
    "{watchNamespaces: [a], metrics: {kubeStateMetrics: {enabled: true, serviceAccount: x}}}": (
        "metrics.kubeStateMetrics.serviceAccount: needs a ClusterRole"
    ),
    "initContainers: [{name: wait}]": "at '/initContainers/0': missing property 'image'",
    "resources: {requests: {memory: lots}}": (
        "at '/resources/requests/memory': 'lots' does not match pattern"
    ),
    "networkPolicy: {metricsFrom: [{podSelectr: {}}]}": (
        "at '/networkPolicy/metricsFrom/0': additional properties 'podSelectr' not allowed"
    ),
    "{proxy: {httpsProxy: 'http://proxy:3128'}, networkPolicy: {enabled: true}}": (
        "networkPolicy.egressPorts: must contain 3128, the port of proxy.httpsProxy"
    ),
    "{proxy: {httpsProxy: 'http://proxy'}, networkPolicy: {enabled: true}}": (
        "networkPolicy.egressPorts: must contain 80, the port of proxy.httpsProxy"
    ),
    "podDisruptionBudget: {maxUnavailable: 0}": (
        "at '/podDisruptionBudget/maxUnavailable': minimum: got 0, want 1"
    ),
    "podDisruptionBudget: {maxUnavailable: 0%}": (
        "at '/podDisruptionBudget/maxUnavailable': '0%' does not match pattern"
    ),
}
"""Values, and what the refusal says."""

FINE = [
    "image: {repository: 'localhost:5000/a_b/isa-2'}",
    "image: {repository: isa}",
    "settings: {shard: 998/999}",
    "resources: {requests: {cpu: 1.5, memory: 0.5Gi}}",
    "{proxy: {httpsProxy: 'https://proxy'}, networkPolicy: {enabled: true}}",
    "networkPolicy: {metricsFrom: [{ipBlock: {cidr: '::/0'}}]}",
]


@pytest.mark.parametrize("text", FINE)
def test_not_refused(text: str, helm: Helm) -> None:
    assert helm.render({"image": {"repository": "isa"}, **yaml.safe_load(text)})


@pytest.mark.parametrize(("text", "words"), WRONG.items(), ids=WRONG.keys())
def test_refused(text: str, words: str, helm: Helm) -> None:
    values: dict[str, Any] = yaml.safe_load(text)
    image = {"repository": "registry.example.com/isa", **values.get("image", {})}

    with pytest.raises(HelmError) as refused:
        helm.render({**values, "image": image})

    assert words in str(refused.value)


def test_refusal_keeps_the_password_to_itself(helm: Helm) -> None:
    proxy = {"httpsProxy": "http://me:hunter2@proxy:3128"}

    with pytest.raises(HelmError) as refused:
        helm.render({"image": {"repository": "x"}, "proxy": proxy})

    assert "hunter2" not in str(refused.value)
