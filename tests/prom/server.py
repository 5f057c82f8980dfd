"""A Prometheus that scrapes operators, on loopback."""

import json
from pathlib import Path
from typing import Any

import httpx
import yaml

from envtest import binaries
from envtest.processes import Running, Server, free_port
from prom.programs import PROGRAMS

JOB = "image-share-operator-metrics"
NAMESPACE = "image-share-system"
"""Labels that a ServiceMonitor of the chart would give."""
SCRAPE_S = 1.0

Series = list[tuple[dict[str, str], list[tuple[float, float]]]]
"""Labels, and pairs of a Unix time and a value."""


class Prometheus(Running):
    """Scrapes every second; used as a context manager.

    Args:
        targets: ports of operators' metrics.
        rules: the groups of a PrometheusRule.
    """

    def __init__(
        self, directory: Path, *targets: int, rules: list[dict[str, Any]] | None = None
    ) -> None:
        self._directory = directory
        self._targets = targets
        self._rules = rules or []
        self._port = free_port()
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", trust_env=False)
        self._server: Server | None = None

    def start(self) -> None:
        """Start it; it may take a second until it answers."""
        rules = self._directory / "rules.yaml"
        rules.write_text(yaml.safe_dump({"groups": self._rules}))
        config = self._directory / "prometheus.yaml"
        config.write_text(json.dumps(self._config(rules)))
        self._server = Server(
            [
                str(binaries.directory(*PROGRAMS) / "prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--log.level=warn",
            ],
            directory=self._directory,
            log=self._directory / "prometheus.log",
        )

    def stop(self) -> None:
        if self._server is not None:
            self._server.kill()
        self._http.close()

    def up(self) -> bool:
        """Whether it has scraped an operator at least once."""
        try:
            rows = self.query("up == 1")
        except httpx.TransportError:
            return False
        except httpx.HTTPStatusError:  # still reads its data
            return False
        return bool(rows)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate now; return the result vector."""
        rows: list[dict[str, Any]] = self._get("/api/v1/query", query=expression)["result"]
        return rows

    def series(self, expression: str, start: float, end: float, step: float) -> Series:
        """Evaluate over time; Unix times, the step in seconds."""
        found = self._get(
            "/api/v1/query_range",
            query=expression,
            start=str(start),
            end=str(end),
            step=str(step),
        )["result"]
        return [
            (row["metric"], [(float(at), float(value)) for at, value in row["values"]])
            for row in found
        ]

    def alerting_rules(self) -> list[dict[str, Any]]:
        """All alerting rules, with their health."""
        groups = self._get("/api/v1/rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        answer = self._http.get(path, params=query)
        answer.raise_for_status()
        data: dict[str, Any] = answer.json()["data"]
        return data

    def _config(self, rules: Path) -> dict[str, Any]:
        target = {
            "targets": [f"127.0.0.1:{port}" for port in self._targets],
            "labels": {"namespace": NAMESPACE},
        }
        return {
            "global": {"scrape_interval": f"{SCRAPE_S:g}s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": JOB, "static_configs": [target]}],
        }
