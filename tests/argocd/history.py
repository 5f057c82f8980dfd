"""All states of one object, as a real watch shows them."""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import httpx

from argocd import kstatus
from argocd.scripts import AGREEING, verdict
from e2e.live.world import World, eventually

Json = dict[str, Any]


class History:
    """The states of object ``name`` from now on.

    The API server keeps them: the watch is opened when the story is over, at the version at which
    it began, and read up to the present version. No state is missed, and nothing runs beside the
    test.
    """

    def __init__(self, world: World, name: str = "web") -> None:
        self._world = world
        self._name = name
        self._since = eventually(self._version)

    def states(self) -> list[Json]:
        """Each state in turn; what is left of the object when it goes is none."""
        present = self._world.find(self._name)
        version = present["metadata"]["resourceVersion"] if present else None
        events = list(self._events(until=version))
        states = [event["object"] for event in events if event["type"] in ("ADDED", "MODIFIED")]
        assert len(states) == sum(event["type"] != "DELETED" for event in events), events
        return states

    def verdicts(self) -> list[str]:
        """The health of each state, repetitions left out, after comparing it with kstatus."""
        states = self.states()
        for state in states:
            check(state)
        return [health for health, _ in groupby(verdict(state) for state in states)]

    def _version(self) -> str | None:
        """The version at this moment; ``None`` while the API server still reads what it stores."""
        answer = self._world.control_plane.http.get(self._world.resources)
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            return None
        return str(answer.raise_for_status().json()["metadata"]["resourceVersion"])

    def _events(self, until: str | None) -> Iterator[Json]:
        """Yield events up to the version; ``None``: up to the deletion.

        Raises:
            httpx.ReadTimeout: the watch did not get so far.
        """
        watch = {
            "watch": "true",
            "fieldSelector": f"metadata.name={self._name}",
            "resourceVersion": self._since,
        }
        http = self._world.control_plane.http
        with http.stream("GET", self._world.resources, params=watch) as answer:
            for line in answer.iter_lines():
                event: Json = json.loads(line)
                yield event
                if event["type"] == "DELETED" if until is None else version_of(event) == until:
                    return


def version_of(event: Json) -> str:
    """The version of the object; an error has none."""
    return str(event["object"].get("metadata", {}).get("resourceVersion"))


def check(state: Json) -> None:
    """Argo CD and kstatus say the same, and nothing is healthy by what an older spec left."""
    health, kubernetes = verdict(state), kstatus.read(state)
    assert kubernetes in AGREEING[health], (health, kubernetes, state)
    if health == "Healthy":
        generation = state["metadata"]["generation"]
        ready = next(row for row in state["status"]["conditions"] if row["type"] == "Ready")
        assert state["status"]["observedGeneration"] == generation
        assert ready["observedGeneration"] == generation
