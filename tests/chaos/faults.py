"""What goes wrong in the cloud, drawn at random: rules of the simulator's fault API. No I/O.

``mild`` faults pass, and the operator gets over them by itself in seconds. ``lasting`` ones leave
something behind that takes a minute or a person: a job that never ends, a job that lied.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaos.model import CloudFault, Json

PUT = "PUT /v1/cloudimages/members"
LOGIN = "POST /v3/auth/tokens"
JOB = "GET /v1/{project_id}/jobs/{job_id}"
MEMBER = "GET /v2/images/{image_id}/members/{member_id}"
LIST = "GET /v2/cloudimages"
ROUTES = (PUT, PUT, LOGIN, JOB, JOB, MEMBER, MEMBER, LIST, LIST, "*")
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
    "reset": {"reset": True},
    "late": {"delay_seconds": 1.5},
    "too late": {"delay_seconds": 9.0},
    "slow body": {"drip_seconds": 2.0},
    "body without end": {"drip_seconds": 60.0},
    "half the JSON": {"truncate": "body"},
    "half the JSON and gone": {"truncate": "connection"},
    "hang-up after the answer": {"close": True},
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


@dataclass(frozen=True, slots=True)
class Menu:
    """Draws faults; the same draws from the same generator."""

    rng: random.Random

    def mild(self, images: tuple[str, ...]) -> CloudFault:
        """A fault that passes; ``images`` are those that a job may fail for."""
        match self.rng.choices(("passing", "lost", "job", "gone"), (10, 4, 6, 1))[0]:
            case "lost":
                kind, effect = self.rng.choice(sorted(LOST_ANSWERS.items()))
                return self._fault(f"lost answer: {kind}", PUT, effect)
            case "job":
                kind, job = self.rng.choice(sorted(FAILING_JOBS.items()))
                if "fail" in job and self.rng.random() < 0.5:
                    effect = {"job": self._coded({**job, "fail": list(images)})}
                    return self._fault(f"job: {kind} of some", PUT, effect, images=images)
                return self._fault(f"job: {kind}", PUT, {"job": self._coded(job)})
            case "gone":
                return self._fault("job unknown", JOB, {"status": 400, "code": "IMG.0023"})
            case _:
                kind, effect = self.rng.choice(sorted(PASSING.items()))
                return self._fault(kind, self.rng.choice(ROUTES), effect)

    def lasting(self, images: tuple[str, ...]) -> CloudFault:
        """A fault that leaves something behind; ``images`` may be what a refusal is about."""
        match self.rng.choices(("job", "refusal", "image"), (6, 1, 3))[0]:
            case "job":
                kind, job = self.rng.choice(sorted(LASTING_JOBS.items()))
                return self._fault(f"job: {kind}", PUT, {"job": job})
            case "refusal":
                kind, effect = self.rng.choice(sorted(REFUSALS.items()))
                return self._fault(f"refusal: {kind}", PUT, effect)
            case _:
                code = self.rng.choice(IMAGE_REFUSALS)
                effect = {"status": 400, "code": code}
                return self._fault(f"refused image: {code}", PUT, effect, images=images)

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
