"""Watches every version of every object, over restarts of the API server."""

import json
import threading
import time
from typing import Self

import httpx

from chaos.history import History, Record, Sight
from chaos.marks import shows_secret
from chaos.model import Json, Target

RESOURCES = "/apis/ims.otc.dev/v1alpha1/imageshareacceptances"
RETRY_S = 0.2
START_S = 30.0
"""A young CRD answers 429 for a moment."""


class Watch:
    """A thread that follows the objects from the start of the run; a context manager."""

    def __init__(self, http: httpx.Client, history: History) -> None:
        """Take over ``http``, a client of the API server."""
        self._http = http
        self._history = history
        self._version = ""
        self._begun, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos-watch", daemon=True)
        self.events = 0

    def __enter__(self) -> Self:
        """Start from what is there now."""
        self._thread.start()
        if not self._begun.wait(START_S):
            raise TimeoutError("no list of objects from the API server")
        return self

    def __exit__(self, *exc: object) -> None:
        """End the thread; a stream under way is broken off."""
        self._ended.set()
        self._http.close()
        self._thread.join(10.0)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                if not self._begun.is_set():
                    self._list()
                    self._begun.set()
                self._follow()
            except (httpx.HTTPError, RuntimeError, OSError):
                # The API server is away, or the client was closed.
                self._ended.wait(RETRY_S)

    def _list(self) -> None:
        listed = self._http.get(RESOURCES).raise_for_status().json()
        for body in listed["items"]:
            self._note(body)
        self._version = listed["metadata"]["resourceVersion"]

    def _follow(self) -> None:
        query = {"watch": "1", "resourceVersion": self._version, "allowWatchBookmarks": "true"}
        timeout = httpx.Timeout(10.0, read=300.0)
        with self._http.stream("GET", RESOURCES, params=query, timeout=timeout) as stream:
            stream.raise_for_status()
            for line in stream.iter_lines():
                self._take(line)

    def _take(self, line: str) -> None:
        event = json.loads(line)
        if event["type"] == "ERROR":
            # A restarted API server knows no versions from before: what was written since and
            # overwritten again is lost to us.
            self._list()
            raise RuntimeError(event["object"].get("message"))
        body: Json = event["object"]
        self._version = body["metadata"]["resourceVersion"]
        if event["type"] != "BOOKMARK":
            self._note(body)

    def _note(self, body: Json) -> None:
        self.events += 1
        metadata, status = body["metadata"], body.get("status", {})
        target = Target(metadata["namespace"], metadata["name"])
        if shows_secret(json.dumps(status)):
            self._history.secrets_seen.append(f"status of {target}")
        record = self._history.records.setdefault(target, Record(target=target))
        rows = status.get("images", ())
        if "deletionTimestamp" in metadata and record.rejects is None:
            record.rejects = frozenset(row["id"] for row in rows if _is_rejected_at_deletion(row))
        record.carried |= {(row["id"], row["jobID"]) for row in rows if "jobID" in row}
        observed = status.get("observedGeneration", -1)
        if not record.sights or record.sights[-1].observed != observed:
            record.sights.append(Sight(at_s=time.monotonic(), observed=observed))


def _is_rejected_at_deletion(row: Json) -> bool:
    """Whether the image was selected last, or a job of the object accepted it."""
    accepted_by_us = row["membership"] == "accepted" and "jobID" in row
    return row.get("selection") == "Selected" or accepted_by_us
