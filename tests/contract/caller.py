"""A client of the simulated cloud that promises nothing: it sends what a test tells it to."""

import ssl
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import httpx

from otc_simulator.client import Simulator

MEMBERS = "/v1/cloudimages/members"
TOKENS = "/v3/auth/tokens"
JSON = {"Accept": "application/json"}


@cache
def tls_context() -> ssl.SSLContext:
    """Return one context for all callers: loading the authorities takes longer than most tests."""
    return httpx.create_ssl_context(trust_env=False)


def password_login(
    name: str, password: str, domain: str, scope: Mapping[str, Any] | None
) -> dict[str, Any]:
    user = {"name": name, "password": password, "domain": {"name": domain}}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    return {"auth": auth | ({"scope": scope} if scope is not None else {})}


class Caller:
    """One user in one project, by default the recipient of shares; logs in at the first call."""

    def __init__(
        self, sim: Simulator, project_id: str = "", login: tuple[str, str, str] | None = None
    ) -> None:
        self.sim = sim
        self.project_id = project_id or sim.project_id
        self.token = ""
        self.http = httpx.Client(
            base_url=sim.url, timeout=10.0, trust_env=False, verify=tls_context()
        )
        scope = {"project": {"id": self.project_id}}
        self._login = password_login(*(login or (sim.user, sim.password, sim.domain)), scope)

    def close(self) -> None:
        self.http.close()

    def login(self) -> httpx.Response:
        response = self.http.post(TOKENS, json=self._login)
        self.token = response.headers.get("X-Subject-Token", "")
        return response

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        if not self.token:
            self.login()
        headers = {"X-Auth-Token": self.token, **JSON, **options.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **options)

    def get(self, path: str, **query: str) -> httpx.Response:
        return self.send("GET", path, params=query)

    def answer(
        self, images: Sequence[str], status: str = "accepted", **more: Any
    ) -> httpx.Response:
        """PUT a batch for the own project."""
        body = {"images": list(images), "project_id": self.project_id, "status": status, **more}
        return self.send("PUT", MEMBERS, json=body)

    def submit(self, images: Sequence[str], status: str = "accepted", **more: Any) -> str:
        """PUT a batch that must be taken; returns the job id."""
        response = self.answer(images, status, **more)
        assert response.status_code == httpx.codes.OK, response.text
        return str(response.json()["job_id"])

    def settled(self, job_id: str, seconds: float = 2.0) -> dict[str, Any]:
        """Let the clock pass and return the job from endpoint A."""
        self.sim.advance(seconds)
        return dict(self.job(job_id).json())

    def job(self, job_id: str) -> httpx.Response:
        return self.get(f"/v1/{self.project_id}/jobs/{job_id}")

    def progress(self, job_id: str) -> httpx.Response:
        return self.get(f"/v1/cloudimages/job/{job_id}")

    def listed(self, path: str = "/v2/cloudimages", **query: str) -> list[str]:
        """Return the ids that a list of shares shows, in its order."""
        response = self.get(path, visibility="shared", __imagetype="shared", **query)
        return [row["id"] for row in response.json()["images"]]


def code_of(response: httpx.Response) -> tuple[int, str]:
    """Return HTTP status and service code, whichever body shape carries it."""
    body = response.json()
    error = body.get("error", body)
    return response.status_code, str(error.get("code", error.get("error_code")))


def memberships(sim: Simulator, images: Sequence[str]) -> list[str | None]:
    """Return the default project's memberships as they are, in the order of ``images``."""
    return [sim.membership(image, sim.project_id) for image in images]
