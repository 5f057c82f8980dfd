"""The Grafana dashboard as data; `hack/generate.py` writes it into the chart.

A panel is one line here: what it shows, its unit, and what it asks of Prometheus.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TITLE = "Image Share Operator"
UID = "image-share-operator"
SELECTOR = 'job=~"$job", namespace=~"$namespace"'
WIDTH = 24
ROW = 1
"""Height of a heading, in Grafana's grid."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel.

    Attributes:
        asks: legend and PromQL of each line; ``$`` stands for the operator's prefix, ``%`` for the
            labels that select this operator.
        red: from where on a number is bad; ``None`` when none is.
        least: below which a number is bad; ``None`` when none is.
    """

    title: str
    about: str
    unit: str
    asks: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    stacked: bool = False
    red: float | None = None
    least: float | None = None
    decimals: int | None = None

    @property
    def queries(self) -> Iterator[tuple[str, str]]:
        """Legend and PromQL as Grafana gets it."""
        for legend, expression in self.asks:
            whole = expression.replace("$", "image_share_operator_").replace("%", SELECTOR)
            yield legend, whole.replace("RANGE", "$__rate_interval")


def stat(title: str, about: str, unit: str, ask: str, **more: Any) -> Panel:
    """A number."""
    return Panel(title=title, about=about, unit=unit, asks=(("", ask),), kind="stat", **more)


def lines(title: str, about: str, unit: str, *asks: tuple[str, str], **more: Any) -> Panel:
    """Lines over time."""
    return Panel(title=title, about=about, unit=unit, asks=asks, **more)


def quantiles(title: str, about: str, metric: str) -> Panel:
    """Median and 95th percentile of a histogram of seconds."""
    return lines(
        title,
        about,
        "s",
        *(
            (
                legend,
                f"histogram_quantile({share}, sum by (le) (rate(${metric}_bucket{{%}}[RANGE])))",
            )
            for legend, share in (("median", 0.5), ("95 %", 0.95))
        ),
    )


def rates(title: str, about: str, metric: str, label: str, unit: str = "ops") -> Panel:
    """How many in a second, by a label."""
    ask = (f"{{{{{label}}}}}", f"sum by ({label}) (rate(${metric}{{%}}[RANGE]))")
    return lines(title, about, unit, ask)


SECTIONS: tuple[tuple[str, int, int, tuple[Panel, ...]], ...] = (
    (
        "At a glance",
        6,
        4,
        (
            stat("Resources", "All that this operator serves.", "none", "sum($objects{%})"),
            stat(
                "Ready",
                "Share of resources whose images have the wanted membership.",
                "percentunit",
                'sum($objects{%, ready="True"}) / sum($objects{%})',
                least=1,
                decimals=1,
            ),
            stat(
                "Not Ready",
                "Resources that wait for something or somebody; below by reason.",
                "none",
                'sum($objects{%, ready="False"}) or vector(0)',
                red=1,
            ),
            stat(
                "Replicas at work",
                "One; another number for longer than a minute is a fault.",
                "none",
                "sum($leader{%})",
                red=2,
                least=1,
            ),
            stat(
                "Endpoints left alone",
                "Endpoints of the cloud that do not answer: one request at a time looks.",
                "none",
                "max($circuits_open{%})",
                red=1,
            ),
            stat(
                "Oldest due",
                "How long a resource has waited for its turn.",
                "s",
                "max($queue_oldest_due_seconds{%})",
                red=60,
                decimals=1,
            ),
        ),
    ),
    (
        "Resources",
        3,
        8,
        (
            lines(
                "By reason",
                "Reason of the Ready condition.",
                "none",
                ("{{reason}}", "sum by (reason) ($objects{%})"),
                stacked=True,
            ),
            quantiles(
                "From change to Ready",
                "From a spec first seen, or Ready lost, to Ready True: mostly the cloud's job.",
                "change_to_ready_seconds",
            ),
            lines(
                "Trouble and drift",
                "Passes that come back by themselves, by reason; images set right again.",
                "ops",
                ("{{reason}}", "sum by (reason) (rate($retries_total{%}[RANGE])) > 0"),
                ("drifted images", "sum(rate($drifted_images_total{%}[RANGE]))"),
            ),
        ),
    ),
    (
        "The cloud",
        3,
        8,
        (
            rates(
                "Requests",
                "Exchanges with IAM and IMS, by route.",
                "cloud_request_duration_seconds_count",
                "route",
                "reqps",
            ),
            lines(
                "Refusals and missing answers",
                "By kind: what the operator does about each is in the failure modes.",
                "ops",
                ("all", "sum(rate($cloud_errors_total{%}[RANGE]))"),
                ("{{error}}", "sum by (error) (rate($cloud_errors_total{%}[RANGE])) > 0"),
            ),
            lines(
                "Time of a request, 95 %",
                "By route.",
                "s",
                (
                    "{{route}}",
                    (
                        "histogram_quantile(0.95, sum by (le, route) "
                        "(rate($cloud_request_duration_seconds_bucket{%}[RANGE])))"
                    ),
                ),
            ),
            lines(
                "Batches",
                "PUTs by result, and refused ones that were divided.",
                "ops",
                ("{{result}}", "sum by (result) (rate($batches_total{%}[RANGE]))"),
                ("divided", "sum(rate($batch_splits_total{%}[RANGE]))"),
            ),
            lines(
                "Images in a batch",
                "On average.",
                "none",
                (
                    "images",
                    (
                        "sum(rate($batch_images_sum{%}[RANGE])) "
                        "/ sum(rate($batch_images_count{%}[RANGE]))"
                    ),
                ),
            ),
            quantiles("Jobs", "By the cloud's own times.", "job_duration_seconds"),
        ),
    ),
    (
        "The operator",
        3,
        8,
        (
            lines(
                "Queue",
                "Resources that wait for their turn, and passes under way, which mostly wait.",
                "none",
                ("due", "sum($queue_depth{%})"),
                ("under way", "sum($passes_under_way{%})"),
            ),
            quantiles("Passes", "One pass over one resource.", "pass_duration_seconds"),
            rates(
                "Status writes",
                "To the API server: two for a change, none for what did not change.",
                "status_writes_total",
                "result",
            ),
            lines(
                "Logins and tokens",
                "Logins at IAM by result; below, how old the oldest token in use is.",
                "ops",
                ("{{result}}", "sum by (result) (rate($logins_total{%}[RANGE]))"),
            ),
            lines(
                "Age of the oldest token",
                "A token lives for 24 h, and is renewed before.",
                "s",
                ("age", "max($token_age_seconds{%})"),
            ),
            lines(
                "Faults and dropped Events",
                "Faults of the operator itself; Events that were not written, too many waited.",
                "ops",
                ("faults", "sum(rate($faults_total{%}[RANGE]))"),
                ("events", "sum(rate($events_dropped_total{%}[RANGE]))"),
            ),
            lines(
                "CPU",
                "Of a replica, in cores.",
                "none",
                ("{{instance}}", "rate(process_cpu_seconds_total{%}[RANGE])"),
            ),
            lines(
                "Memory",
                "Of a replica, resident.",
                "bytes",
                ("{{instance}}", "process_resident_memory_bytes{%}"),
            ),
            lines(
                "Version",
                "Replicas by version.",
                "none",
                ("{{version}}", "count by (version) ($build_info{%})"),
                stacked=True,
            ),
        ),
    ),
)


def panels() -> Iterator[Panel]:
    """All panels, from top to bottom."""
    for _, _, _, section in SECTIONS:
        yield from section


def render() -> str:
    """The dashboard as JSON."""
    made: list[Json] = []
    top = 0
    for title, columns, height, section in SECTIONS:
        made.append(_heading(title, top, len(made) + 1))
        top += ROW
        for place, panel in enumerate(section):
            row, column = divmod(place, columns)
            width = WIDTH // columns
            grid = {"x": column * width, "y": top + row * height, "w": width, "h": height}
            made.append(_panel(panel, grid, len(made) + 1))
        top += -(-len(section) // columns) * height
    return json.dumps(_dashboard(made), indent=2) + "\n"


def _dashboard(made: list[Json]) -> Json:
    return {
        "annotations": {"list": []},
        "description": "What the operator of ImageShareAcceptance does, and what it waits for.",
        "editable": True,
        "graphTooltip": 1,
        "links": [],
        "panels": made,
        "refresh": "30s",
        "schemaVersion": 39,
        "tags": ["kubernetes", "open-telekom-cloud", "image-share-operator"],
        "templating": {"list": [_source(), _variable("namespace"), _variable("job")]},
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "title": TITLE,
        "uid": UID,
    }


def _source() -> Json:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
    }


def _variable(label: str) -> Json:
    known = "image_share_operator_build_info"
    inner = known if label == "namespace" else f'{known}{{namespace=~"$namespace"}}'
    query = f"label_values({inner}, {label})"
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": _asked(),
        "definition": query,
        "query": {"query": query, "refId": label},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "sort": 1,
    }


def _asked() -> Json:
    return {"type": "prometheus", "uid": "${datasource}"}


def _heading(title: str, top: int, number: int) -> Json:
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "panels": [],
        "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": ROW},
    }


def _panel(panel: Panel, grid: Json, number: int) -> Json:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _asked(),
        "gridPos": grid,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": _asked(),
                "expr": expression,
                "legendFormat": legend or "__auto",
                "range": panel.kind != "stat",
                "instant": panel.kind == "stat",
            }
            for place, (legend, expression) in enumerate(panel.queries)
        ],
    }


def _defaults(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.least is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": panel.least}]
    if panel.red is not None:
        steps.append({"color": "red", "value": panel.red})
    made: Json = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.decimals is not None:
        made["decimals"] = panel.decimals
    if panel.kind == "timeseries":
        made["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 40 if panel.stacked else 10,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        }
    return made


def _options(panel: Panel) -> Json:
    if panel.kind == "stat":
        return {
            "colorMode": "value",
            "graphMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
