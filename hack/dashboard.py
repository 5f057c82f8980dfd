"""The Grafana dashboard as data; `hack/generate.py` renders it into the chart.

Each panel has a title, a description, a unit and PromQL queries.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

TITLE = "Image Share Operator"
UID = "image-share-operator"
SELECTOR = 'job=~"$job", namespace=~"$namespace"'
WIDTH = 24
ROW = 1
"""Height of a row heading, in units of the Grafana grid."""

GREEN, BLUE, YELLOW, ORANGE, RED = "green", "blue", "yellow", "orange", "red"
"""Good; in progress; ends without action or needs another party; unusual; needs action."""
UNCOLOURED = "text"
MEMORY_LIMIT_BYTES = 512 * 1024**2
"""The limit of the chart."""

REASONS = {
    "Accepted": GREEN,
    "Rejected": GREEN,
    "Progressing": BLUE,
    "JobRunning": BLUE,
    "Rejecting": BLUE,
    "DryRun": BLUE,
    "NotShared": YELLOW,
    "NothingSelected": YELLOW,
    "WaitingForShare": YELLOW,
    "CloudUnavailable": ORANGE,
    "Throttled": ORANGE,
    "PartiallyFailed": RED,
    "CredentialsInvalid": RED,
    "SecretNotFound": RED,
    "AccountLocked": RED,
    "PermissionDenied": RED,
    "InvalidRequest": RED,
    "JobTimeout": RED,
    "Conflict": RED,
    "LimitExceeded": RED,
}
SELECTIONS = {"Selected": GREEN, "TooYoung": BLUE, "Inactive": YELLOW, "OverLimit": RED}
"""The others are what the selector is meant to leave out, and have no colour."""
RESULTS = {
    "ok": GREEN,
    "accepted": GREEN,
    "gone": BLUE,
    "refused": RED,
    "failed": RED,
    "bisected": ORANGE,
}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel.

    Attributes:
        asks: legend and PromQL of each query. ``$`` is replaced by the metric prefix, ``%`` by the
            labels that select this operator, ``RANGE`` by the rate interval.
        steps: colour of the value from each threshold on, lowest first; the first threshold is
            ignored. Without steps the value has no colour.
        colours: colour of a line by its legend.
        shade: colour whose shades the other lines have. Without it they have Grafana's palette.
    """

    title: str
    about: str
    unit: str
    asks: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    stacked: bool = False
    steps: tuple[tuple[float, str], ...] = ()
    colours: Mapping[str, str] = field(default_factory=dict)
    shade: str | None = None
    decimals: int | None = None

    @property
    def queries(self) -> Iterator[tuple[str, str]]:
        """Legend and PromQL of each query, with all placeholders replaced."""
        for legend, expression in self.asks:
            whole = expression.replace("$", "image_share_operator_").replace("%", SELECTOR)
            yield legend, whole.replace("RANGE", "$__rate_interval")


def stat(title: str, about: str, unit: str, ask: str, **more: Any) -> Panel:
    """Return a panel with one number."""
    return Panel(title=title, about=about, unit=unit, asks=(("", ask),), kind="stat", **more)


def lines(title: str, about: str, unit: str, *asks: tuple[str, str], **more: Any) -> Panel:
    """Return a panel with a time series per query."""
    return Panel(title=title, about=about, unit=unit, asks=asks, **more)


def quantiles(title: str, about: str, metric: str) -> Panel:
    """Return a panel with the median and the 95th percentile of a histogram in seconds."""
    return lines(
        title,
        about,
        "s",
        *(
            (
                legend,
                f"histogram_quantile({share}, sum by (le) (rate(${metric}_bucket{{%}}[RANGE])))",
            )
            for legend, share in (("p50", 0.5), ("p95", 0.95))
        ),
    )


def rates(title: str, about: str, metric: str, label: str, **more: Any) -> Panel:
    """Return a panel with the rate of a counter per second, by a label."""
    ask = (f"{{{{{label}}}}}", f"sum by ({label}) (rate(${metric}{{%}}[RANGE]))")
    return lines(title, about, more.pop("unit", "ops"), ask, **more)


SECTIONS: tuple[tuple[str, int, int, tuple[Panel, ...]], ...] = (
    (
        "Overview",
        6,
        4,
        (
            stat(
                "Resources", "Resources that this operator reconciles.", "none", "sum($objects{%})"
            ),
            stat(
                "Ready",
                "Share of resources with Ready True.",
                "percentunit",
                'sum($objects{%, ready="True"}) / sum($objects{%})',
                steps=((0, RED), (0.9, YELLOW), (1, GREEN)),
                decimals=1,
            ),
            stat(
                "Not Ready",
                "Resources with Ready False. The panel By reason shows the reasons.",
                "none",
                'sum($objects{%, ready="False"}) or vector(0)',
                steps=((0, GREEN), (1, YELLOW)),
            ),
            stat(
                "Leaders",
                "Replicas that are leader. Another number than 1 for over a minute is an error.",
                "none",
                "sum($leader{%})",
                steps=((0, RED), (1, GREEN), (2, RED)),
            ),
            stat(
                "Open circuits",
                "Unavailable cloud endpoints, to which the operator sends one probe at a time.",
                "none",
                "max($circuits_open{%})",
                steps=((0, GREEN), (1, RED)),
            ),
            stat(
                "Queue latency",
                "Time that the oldest due resource has been waiting in the work queue.",
                "s",
                "max($queue_oldest_due_seconds{%})",
                steps=((0, GREEN), (10, YELLOW), (60, RED)),
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
                "Resources by reason of the Ready condition.",
                "none",
                ("{{reason}}", "sum by (reason) ($objects{%})"),
                stacked=True,
                colours=REASONS,
            ),
            quantiles(
                "Time to Ready",
                "Time from a new spec, or the loss of Ready, to Ready True: mostly the batch job.",
                "change_to_ready_seconds",
            ),
            lines(
                "Retries and drift",
                "Automatic retries by reason, and images whose membership was restored.",
                "ops",
                ("{{reason}}", "sum by (reason) (rate($retries_total{%}[RANGE])) > 0"),
                ("drifted images", "sum(rate($drifted_images_total{%}[RANGE]))"),
                colours={**REASONS, "drifted images": ORANGE},
            ),
        ),
    ),
    (
        "Selectors",
        2,
        8,
        (
            lines(
                "Images of selectors",
                "Images that match a selector, by what the selector decided.",
                "none",
                ("{{selection}}", "sum by (selection) ($selector_images{%})"),
                stacked=True,
                colours=SELECTIONS,
                shade=UNCOLOURED,
            ),
            lines(
                "Longest empty selection",
                "Time for which a selector has selected no image; the longest of all resources.",
                "s",
                ("longest", "max($selector_empty_seconds{%})"),
            ),
        ),
    ),
    (
        "Cloud API",
        3,
        8,
        (
            rates(
                "Requests",
                "Requests to IAM and IMS, by route.",
                "cloud_request_duration_seconds_count",
                "route",
                unit="reqps",
            ),
            lines(
                "Request errors",
                "Failed requests by kind. The failure modes page describes how each is handled.",
                "ops",
                ("all", "sum(rate($cloud_errors_total{%}[RANGE]))"),
                ("{{error}}", "sum by (error) (rate($cloud_errors_total{%}[RANGE])) > 0"),
                shade=RED,
            ),
            lines(
                "Request duration (p95)",
                "95th percentile of the request duration, by route.",
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
                "Batches by result, and rejected batches that were bisected.",
                "ops",
                ("{{result}}", "sum by (result) (rate($batches_total{%}[RANGE]))"),
                ("bisected", "sum(rate($batch_splits_total{%}[RANGE]))"),
                colours=RESULTS,
            ),
            lines(
                "Images per batch",
                "Average number of images per batch.",
                "none",
                (
                    "images",
                    (
                        "sum(rate($batch_images_sum{%}[RANGE])) "
                        "/ sum(rate($batch_images_count{%}[RANGE]))"
                    ),
                ),
            ),
            quantiles(
                "Job duration",
                "Duration of batch jobs, from the times that IMS reports.",
                "job_duration_seconds",
            ),
        ),
    ),
    (
        "Operator",
        3,
        8,
        (
            lines(
                "Queue",
                "Due resources, and reconciles in progress, which mostly wait for the cloud API.",
                "none",
                ("due", "sum($queue_depth{%})"),
                ("in progress", "sum($passes_under_way{%})"),
            ),
            quantiles(
                "Reconcile duration",
                "Duration of one reconcile of one resource.",
                "pass_duration_seconds",
            ),
            rates(
                "Status writes",
                "Status writes to the API server: two per change, none without a change.",
                "status_writes_total",
                "result",
                colours=RESULTS,
            ),
            lines(
                "Logins",
                "Logins at IAM, by result.",
                "ops",
                ("{{result}}", "sum by (result) (rate($logins_total{%}[RANGE]))"),
                colours=RESULTS,
            ),
            lines(
                "Token age",
                "Age of the oldest token, which is valid for 24 h and renewed before it expires. "
                "Time until the first token of a Secret expires; nothing renews it.",
                "s",
                ("age", "max($token_age_seconds{%})"),
                (
                    "first end of a token in a Secret",
                    "min($given_token_expiry_timestamp_seconds{%}) - time()",
                ),
                steps=((0, GREEN), (86400, RED)),
            ),
            lines(
                "Internal errors and dropped Events",
                "Internal errors of the operator, and Events dropped because the queue was full.",
                "ops",
                ("internal errors", "sum(rate($faults_total{%}[RANGE]))"),
                ("dropped Events", "sum(rate($events_dropped_total{%}[RANGE]))"),
                colours={"internal errors": RED, "dropped Events": ORANGE},
            ),
            lines(
                "CPU",
                "CPU usage per replica, in cores.",
                "none",
                ("{{instance}}", "rate(process_cpu_seconds_total{%}[RANGE])"),
                steps=((0, GREEN), (0.9, RED)),
            ),
            lines(
                "Memory",
                "Resident memory per replica.",
                "bytes",
                ("{{instance}}", "process_resident_memory_bytes{%}"),
                steps=((0, GREEN), (MEMORY_LIMIT_BYTES, RED)),
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
    """Yield all panels, from top to bottom."""
    for _, _, _, section in SECTIONS:
        yield from section


def render() -> str:
    """Return the dashboard as JSON."""
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
        "description": "Health and activity of image-share-operator.",
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
        "fieldConfig": {"defaults": _defaults(panel), "overrides": list(_overrides(panel))},
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
    steps: list[Json] = [
        {"color": colour, "value": threshold if place else None}
        for place, (threshold, colour) in enumerate(panel.steps or ((0, UNCOLOURED),))
    ]
    made: Json = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.shade is not None:
        made["color"] = {"mode": "shades", "fixedColor": panel.shade}
    if panel.decimals is not None:
        made["decimals"] = panel.decimals
    if panel.kind == "timeseries":
        made["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 40 if panel.stacked else 10,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
        }
    return made


def _overrides(panel: Panel) -> Iterator[Json]:
    """Yield the colour of each line that has one."""
    for legend, colour in panel.colours.items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        yield {
            "matcher": {"id": "byName", "options": legend},
            "properties": [{"id": "color", "value": fixed}],
        }


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
