"""How kopf watches here: it writes nothing, remembers nothing and never waits for ever."""

from typing import Any, cast

import kopf

RECONNECT_S = (0.5, 1.0, 2.0, 3.0, 5.0)
"""Between attempts at one request; kopf's own end at 21 s, for which nobody waits gladly."""
LIST_CHUNK = 500
"""Objects per page of the first list: bounds its memory and the API server's."""


class _NoDiff(kopf.AnnotationsDiffBaseStorage):
    """kopf copies each object to find out what changed for handlers that we do not have."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None


class _NoProgress(kopf.AnnotationsProgressStorage):
    """…and looks for notes about those handlers in each object."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def settings(
    request_timeout_s: float, silence_s: float, *, scan: bool = True
) -> kopf.OperatorSettings:
    """How kopf shall watch: no writes, no events, no waiting for ever.

    Args:
        silence_s: time without a watch event after which the watch is opened again.
        scan: whether it may look for new kinds and namespaces all the time. It needs rights for
            that which are only given to who serves all of them, and tries for 11 s without.
    """
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = not scan
    chosen.posting.enabled = False
    chosen.posting.loggers = False
    chosen.watching.chunk_size = LIST_CHUNK
    chosen.watching.connect_timeout = request_timeout_s
    chosen.watching.inactivity_timeout = silence_s
    chosen.networking.request_timeout = request_timeout_s
    chosen.networking.connect_timeout = request_timeout_s
    chosen.networking.error_backoffs = RECONNECT_S
    chosen.networking.enforce_retry_after = True
    # A handler only puts a key away: a worker that waits for the object's next event saves no
    # time (measured up to 1 s), and holds some kilobytes, which a list of ten thousand shows.
    chosen.queueing.idle_timeout = 0.1
    chosen.persistence.diffbase_storage = _NoDiff()
    chosen.persistence.progress_storage = _NoProgress()
    chosen.process.ultimate_exiting_timeout = 20.0
    return chosen
