"""What goes wrong in the cloud, drawn at random: rules of the simulator's fault API. No I/O.

``mild`` faults pass, and the operator gets over them by itself in seconds. ``lasting`` ones leave
something behind that takes a minute or a person: a job that never ends, a job that reports a
success that never comes, a PUT that was not taken and whose response is lost.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from chaos.model import CloudFault, Json

PUT = "PUT /v1/cloudimages/members"
LOGIN = "POST /v3/auth/tokens"
JOB = "GET /v1/{project_id}/jobs/{job_id}"
MEMBER = "GET /v2/images/{image_id}/members/{member_id}"
LIST = "GET /v2/cloudimages"
EXCHANGE = "POST /v3.0/OS-AUTH/id-token/tokens"
ROUTES = (PUT, PUT, LOGIN, EXCHANGE, JOB, JOB, MEMBER, MEMBER, LIST, LIST, "*")
"""Weighted: a login is rare."""

PASSING: Mapping[str, Json] = {
    "429": {"status": 429, "code": "APIGW.0308"},
    "429 with seconds": {"status": 429, "code": "APIGW.0308", "retry_after": 2},
    "429 with a date": {"status": 429, "code": "APIGW.0308", "retry_after_date": 2},
    "flow control": {"status": 400, "code": "IMG.0060"},
    "conflict": {"status": 409, "code": "IMG.0035"},
    "500 without a body": {"status": 500, "body": "empty"},
    "500 in HTML": {"status": 500, "body": "html"},
    "502 of the gateway": {"status": 502, "code": "APIGW.0201"},
    "503 in XML": {"status": 503, "body": "xml"},
    "503 of IAM": {"status": 503, "code": "APIGW.0613"},
    "504": {"status": 504, "code": "APIGW.0201"},
    "late": {"delay_seconds": 1.5},
    "slow body": {"drip_seconds": 2.0},
    "body without end": {"drip_seconds": 60.0},
    "half the JSON": {"truncate": "body"},
    "half the JSON and gone": {"truncate": "connection"},
    "hang-up after the answer": {"close": True},
}
LOST_REQUESTS: Mapping[str, Json] = {
    "reset": {"reset": True},
    "too late": {"delay_seconds": 9.0},
}
LOST_ANSWERS: Mapping[str, Json] = {
    "503 afterwards": {"status": 503, "handle": True},
    "reset afterwards": {"reset": True, "handle": True},
    "HTML instead of JSON": {"status": 200, "body": "html", "handle": True},
    "no job id": {"drop": ["job_id"]},
    "job id null": {"patch": {"job_id": None}},
}
FAILING_JOBS: Mapping[str, Json] = {
    "A": {"partial": "A", "fail": ["*"]},
    "A in capitals": {"partial": "A", "fail": ["*"], "row_failure": "FAIL"},
    "B": {"partial": "B", "fail": ["*"]},
    "C": {"partial": "C", "fail": ["*"]},
    "C with nothing": {"partial": "C-empty", "fail": ["*"]},
    "D missing": {"rows": "missing"},
    "D empty": {"rows": "empty"},
    "D short": {"rows": "short"},
    "D twice": {"rows": "duplicate"},
    "D unordered": {"rows": "unordered"},
    "D foreign": {"rows": "extra"},
    "FAIL although done": {"partial": "C", "fail": ["*"], "apply": "everything"},
    "small letters": {"status": "success"},
    "legacy times": {"times": "legacy"},
    "no times": {"times": "null"},
    "slow": {"seconds": 4.0},
    "record gone at once": {"expires_after_seconds": 0.0},
}
LASTING_JOBS: Mapping[str, Json] = {
    "SUCCESS although not done": {"apply": "nothing"},
    "INIT for ever": {"stuck": "INIT"},
    "RUNNING for ever": {"stuck": "RUNNING"},
    "RUNNING for ever although done": {"stuck": "RUNNING", "apply": "everything"},
    "unknown status": {"status": "PENDING"},
    "not to be retried": {"partial": "C", "fail": ["*"], "error_code": "IMG.0098"},
}
REFUSALS: Mapping[str, Json] = {
    "no right": {"status": 403, "code": "IMG.0026"},
    "invalid": {"status": 400, "code": "IMG.0001"},
}
"""Of a PUT: only a person can help, says the operator, and looks again after half an hour."""
IMAGE_REFUSALS = ("IMG.0027", "IMG.0086", "IMG.0144", "IMG.0106")

MILD = (
    *PASSING,
    *(f"lost answer: {kind}" for kind in LOST_ANSWERS),
    *(f"job: {kind}" for kind in FAILING_JOBS),
    "job unknown",
)
LASTING = (
    *LOST_REQUESTS,
    *(f"job: {kind}" for kind in LASTING_JOBS),
    *(f"refusal: {kind}" for kind in REFUSALS),
    *(f"refused image: {code}" for code in IMAGE_REFUSALS),
)
FAULT_KINDS = (*MILD, *LASTING)

Card = TypeVar("Card")


class Deck(Generic[Card]):
    """Deals all cards in random order, then all of them again: a short run gets each of them."""

    def __init__(self, rng: random.Random, cards: Sequence[Card]) -> None:
        self._rng = rng
        self._cards = tuple(cards)
        self._left: list[Card] = []

    def deal(self) -> Card:
        """Return the next card."""
        if not self._left:
            self._left = self._rng.sample(self._cards, len(self._cards))
        return self._left.pop()


class Menu:
    """Draws faults; the same draws from the same generator."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._mild = Deck(rng, MILD)
        self._lasting = Deck(rng, LASTING)

    def mild(self, images: tuple[str, ...]) -> CloudFault:
        """A fault that passes; ``images`` are those that a job may fail for."""
        card = self._mild.deal()
        group, _, kind = card.rpartition(": ")
        match group:
            case "lost answer":
                return self._fault(card, PUT, LOST_ANSWERS[kind])
            case "job":
                job = FAILING_JOBS[kind]
                if "fail" in job and self.rng.random() < 0.5:
                    effect = {"job": self._coded({**job, "fail": list(images)})}
                    return self._fault(f"{card} of some", PUT, effect, images=images)
                return self._fault(card, PUT, {"job": self._coded(job)})
            case _ if card == "job unknown":
                return self._fault(card, JOB, {"status": 400, "code": "IMG.0023"})
            case _:
                return self._fault(card, self.rng.choice(ROUTES), PASSING[card])

    def lasting(self, images: tuple[str, ...]) -> CloudFault:
        """A fault that leaves something behind; ``images`` may be what a refusal is about."""
        card = self._lasting.deal()
        group, _, kind = card.rpartition(": ")
        match group:
            case "job":
                return self._fault(card, PUT, {"job": LASTING_JOBS[kind]})
            case "refusal":
                return self._fault(card, PUT, REFUSALS[kind])
            case "refused image":
                effect = {"status": 400, "code": kind}
                return self._fault(card, PUT, effect, images=images)
            case _:
                return self._fault(card, self.rng.choice(ROUTES), LOST_REQUESTS[card])

    def _coded(self, job: Json) -> Json:
        """A failing job with a code that may pass, or with one that tells nothing."""
        if "fail" not in job:
            return job
        return {**job, "error_code": self.rng.choice(("IMG.0061", "IMG.0113", "IMG.9999"))}

    def _fault(
        self, kind: str, route: str, effect: Json, *, images: tuple[str, ...] = ()
    ) -> CloudFault:
        """A rule that ends by itself: after some calls, or after some seconds."""
        when: dict[str, Any] = {"seed": self.rng.getrandbits(32)}
        count = None
        if self.rng.random() < 0.5:
            count = self.rng.randint(1, 4)
        else:
            when["for_seconds"] = round(self.rng.uniform(2.0, 8.0), 1)
            when["probability"] = round(self.rng.uniform(0.1, 0.6), 2)
        return CloudFault(
            kind,
            {"route": route, "images": list(images), "when": when, "count": count, "do": effect},
        )
