"""The settings of kopf: it writes nothing to the objects, and all its requests have timeouts."""

from typing import Any, cast

import kopf

RECONNECT_BACKOFF_S = (0.5, 1.0, 2.0, 3.0, 5.0)
"""Seconds between the attempts of one request. The default of kopf grows to 21 s, which would delay
the recovery of the watch."""
PAGE_SIZE = 100
"""Objects per page of a list: limits the memory of this process and of the API server. A resource
with 500 images and its managed fields are up to 270 KB of JSON. A page of 500 took 250 MB more than
one of 100 (measured with 155 KB for each)."""


class _NoDiff(kopf.AnnotationsDiffBaseStorage):
    """Skips the diff of each object, which only `on.create` and `on.update` handlers use."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None


class _NoProgress(kopf.AnnotationsProgressStorage):
    """Skips the search for the progress annotations of such handlers."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def settings(
    request_timeout_s: float, silence_s: float, *, scan: bool = True
) -> kopf.OperatorSettings:
    """Return the settings for one run of kopf.

    Args:
        silence_s: seconds without a watch event after which kopf reconnects.
        scan: whether kopf watches CRDs and namespaces to find new ones. Only an operator for all
            namespaces has the permission; without it, each attempt takes 11 s.
    """
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = not scan
    chosen.posting.enabled = False
    chosen.posting.loggers = False
    chosen.watching.chunk_size = PAGE_SIZE
    chosen.watching.connect_timeout = request_timeout_s
    chosen.watching.inactivity_timeout = silence_s
    chosen.networking.request_timeout = request_timeout_s
    chosen.networking.connect_timeout = request_timeout_s
    chosen.networking.error_backoffs = RECONNECT_BACKOFF_S
    chosen.networking.enforce_retry_after = True
    # kopf keeps a worker task for each object until it is idle for this time. The handler returns
    # at once, so a longer time saves nothing (measured up to 1 s) and uses some KB for each object.
    chosen.queueing.idle_timeout = 0.1
    chosen.persistence.diffbase_storage = _NoDiff()
    chosen.persistence.progress_storage = _NoProgress()
    chosen.process.ultimate_exiting_timeout = 20.0
    return chosen
