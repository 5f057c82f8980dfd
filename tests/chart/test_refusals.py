"""Wrong values are refused before anything is changed, in words that name the value."""

from typing import Any

import pytest

from chart.programs import Helm, HelmError

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a value that is not there": (
        {"replicaCounts": 2},
        "additional properties 'replicaCounts' not allowed",
    ),
    "a setting that is not there": (
        {"settings": {"worker": 2}},
        "at '/settings': additional properties 'worker' not allowed",
    ),
    "text for a number": ({"replicaCount": "2"}, "at '/replicaCount': got string, want integer"),
    "text for a switch": (
        {"crds": {"install": "false"}},
        "at '/crds/install': got string, want boolean",
    ),
    "a text for a list": (
        {"watchNamespaces": "team-a"},
        "at '/watchNamespaces': got string, want array",
    ),
    "a namespace in capitals": (
        {"watchNamespaces": ["Team-A"]},
        "at '/watchNamespaces/0': 'Team-A' does not match pattern",
    ),
    "a namespace twice": (
        {"watchNamespaces": ["a", "a"]},
        "at '/watchNamespaces': items at 0 and 1 are equal",
    ),
    "too many workers": (
        {"settings": {"workers": 100_000}},
        "at '/settings/workers': maximum: got 100,000, want 16,384",
    ),
    "a retry that locks accounts": (
        {"settings": {"slowRetrySeconds": 60}},
        "at '/settings/slowRetrySeconds': minimum: got 60, want 1,200",
    ),
    "a level that is not there": (
        {"settings": {"logLevel": "trace"}},
        "at '/settings/logLevel': 'trace' does not match pattern",
    ),
    "a pull policy in small letters": (
        {"image": {"pullPolicy": "always"}},
        "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
    ),
    "a digest without its algorithm": (
        {"image": {"digest": "a" * 64}},
        "at '/image/digest'",
    ),
    "an environment variable without name": (
        {"extraEnv": [{"value": "x"}]},
        "at '/extraEnv/0': missing property 'name'",
    ),
    "an environment variable that is a number": (
        {"extraEnv": [{"name": "A", "value": 1}]},
        "at '/extraEnv/0/value': got number, want string",
    ),
    "no image": (
        {"image": {"repository": ""}},
        "image.repository is required: set it to the repository of the operator image",
    ),
    "a tag in the repository": (
        {"image": {"repository": "registry.example.com/isa:1.0"}},
        "set image.tag or image.digest instead",
    ),
    "replicas without a Lease": (
        {"leaderElection": {"enabled": False}},
        "replicaCount: more than one replica requires leaderElection.enabled=true",
    ),
    "nobody to run as": (
        {"serviceAccount": {"create": False}},
        "serviceAccount.name: is required if serviceAccount.create=false",
    ),
    "authorities from two places": (
        {"extraCA": {"configMap": "a", "secret": "b"}},
        "extraCA: configMap and secret are mutually exclusive",
    ),
    "a password in the proxy's address": (
        {"proxy": {"httpsProxy": "http://me:secret@proxy:3128"}},
        "proxy.httpsProxy: must not contain a user or password",
    ),
    "a proxy without scheme": (
        {"proxy": {"httpsProxy": "proxy:3128"}},
        "at '/proxy/httpsProxy': 'proxy:3128' does not match pattern",
    ),
    "a ServiceMonitor of nothing": (
        {"metrics": {"enabled": False, "serviceMonitor": {"enabled": True}}},
        "metrics.serviceMonitor.enabled: requires metrics.enabled=true",
    ),
    "alerts on nothing": (
        {"metrics": {"enabled": False, "prometheusRule": {"enabled": True}}},
        "metrics.prometheusRule.enabled: requires metrics.enabled=true",
    ),
    "a dashboard of nothing": (
        {"metrics": {"enabled": False, "dashboard": {"enabled": True}}},
        "metrics.dashboard.enabled: requires metrics.enabled=true",
    ),
    "a variable that the chart sets itself": (
        {"extraEnv": [{"name": "ISA_WORKERS", "value": "3"}]},
        "extraEnv: another value of this chart sets ISA_WORKERS",
    ),
    "a shard beyond the last": (
        {"settings": {"shard": "2/2"}},
        'settings.shard: "2/2" has an index that is not less than the count',
    ),
    "more shards than the operator knows": (
        {"settings": {"shard": "0/1000"}},
        "at '/settings/shard': '0/1000' does not match pattern",
    ),
    "an image with a blank": (
        {"image": {"repository": "Foo Bar"}},
        'image.repository: "Foo Bar" is not a valid image repository',
    ),
    "an image in capitals": (
        {"image": {"repository": "registry.example.com/Foo"}},
        'image.repository: "registry.example.com/Foo" is not a valid image repository',
    ),
    "a label that the Deployment selects by": (
        {"podLabels": {"app.kubernetes.io/instance": "x"}},
        "podLabels: the chart sets app.kubernetes.io/instance",
    ),
    "a common label that the Deployment selects by": (
        {"commonLabels": {"app.kubernetes.io/name": "x"}},
        "commonLabels: the chart sets app.kubernetes.io/name",
    ),
    "a strategy for two leaders": (
        {
            "replicaCount": 1,
            "leaderElection": {"enabled": False},
            "strategy": {"rollingUpdate": {}},
        },
        "strategy.type: must be Recreate if leaderElection.enabled=false",
    ),
    "a volume with the name of the chart's own": (
        {"extraVolumes": [{"name": "ca", "emptyDir": {}}]},
        "extraVolumes: the chart uses the name ca",
    ),
    "a probe with a path": (
        {"livenessProbe": {"httpGet": {"path": "/"}}},
        "at '/livenessProbe': additional properties 'httpGet' not allowed",
    ),
    "egress to everything": (
        {"networkPolicy": {"extraEgress": [{}]}},
        "at '/networkPolicy/extraEgress/0': minProperties",
    ),
    "egress with null ports": (
        {"networkPolicy": {"extraEgress": [{"ports": None}]}},
        "at '/networkPolicy/extraEgress/0/ports': got null",
    ),
    "a budget of all replicas": (
        {"podDisruptionBudget": {"minAvailable": 2}},
        "podDisruptionBudget.minAvailable: must be less than replicaCount",
    ),
    "an argument that is a number": ({"extraArgs": [1]}, "at '/extraArgs/0': got number"),
    "a volume without name": ({"extraVolumes": [{}]}, "at '/extraVolumes/0': missing property"),
    "a label with a blank": (
        {"podLabels": {"team": "my team"}},
        "at '/podLabels/team': 'my team' does not match pattern",
    ),
    "a label that the chart gives to all": (
        {"metrics": {"serviceMonitor": {"labels": {"helm.sh/chart": "x"}}}},
        "metrics.serviceMonitor.labels: the chart sets helm.sh/chart",
    ),
    "memory in words": (
        {"resources": {"requests": {"memory": "lots"}}},
        "at '/resources/requests/memory': 'lots' does not match pattern",
    ),
    "a selector with a letter too few": (
        {"networkPolicy": {"metricsFrom": [{"podSelectr": {}}]}},
        "at '/networkPolicy/metricsFrom/0': additional properties 'podSelectr' not allowed",
    ),
    "a proxy behind the NetworkPolicy": (
        {"proxy": {"httpsProxy": "http://proxy:3128"}, "networkPolicy": {"enabled": True}},
        "networkPolicy.egressPorts: must contain 3128, the port of proxy.httpsProxy",
    ),
    "a proxy without port behind the NetworkPolicy": (
        {"proxy": {"httpsProxy": "http://proxy"}, "networkPolicy": {"enabled": True}},
        "networkPolicy.egressPorts: must contain 80, the port of proxy.httpsProxy",
    ),
    "a budget that blocks each drain": (
        {"podDisruptionBudget": {"maxUnavailable": 0}},
        "at '/podDisruptionBudget/maxUnavailable': minimum: got 0, want 1",
    ),
    "the same in percent": (
        {"podDisruptionBudget": {"maxUnavailable": "0%"}},
        "at '/podDisruptionBudget/maxUnavailable': '0%' does not match pattern",
    ),
}

FINE: dict[str, dict[str, Any]] = {
    "a registry with a port": {"image": {"repository": "localhost:5000/a_b/isa-2"}},
    "a name alone": {"image": {"repository": "isa"}},
    "the last shard": {"settings": {"shard": "998/999"}},
    "a processor and a half": {"resources": {"requests": {"cpu": 1.5, "memory": "0.5Gi"}}},
    "a proxy on an open port": {
        "proxy": {"httpsProxy": "https://proxy"},
        "networkPolicy": {"enabled": True},
    },
    "scrapers by address": {"networkPolicy": {"metricsFrom": [{"ipBlock": {"cidr": "::/0"}}]}},
}


@pytest.mark.parametrize("values", FINE.values(), ids=FINE.keys())
def test_not_refused(values: dict[str, Any], helm: Helm) -> None:
    assert helm.render({"image": {"repository": "isa"}, **values})


@pytest.mark.parametrize(("values", "words"), WRONG.values(), ids=WRONG.keys())
def test_refused(values: dict[str, Any], words: str, helm: Helm) -> None:
    image = {"repository": "registry.example.com/isa", **values.get("image", {})}

    with pytest.raises(HelmError) as refused:
        helm.render({**values, "image": image})

    assert words in str(refused.value)


def test_refusal_keeps_the_password_to_itself(helm: Helm) -> None:
    proxy = {"httpsProxy": "http://me:hunter2@proxy:3128"}

    with pytest.raises(HelmError) as refused:
        helm.render({"image": {"repository": "x"}, "proxy": proxy})

    assert "hunter2" not in str(refused.value)
