"""A real Prometheus and its promtool, for what metrics, alerts and the dashboard are worth."""

from prom.programs import PROGRAMS, Promtool, PromtoolError
from prom.server import Prometheus

__all__ = ["PROGRAMS", "Prometheus", "Promtool", "PromtoolError"]
