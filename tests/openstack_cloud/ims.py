"""The batch routes of IMS on top of a real Glance and a real Keystone. Never imports the operator.

IMS of the Open Telekom Cloud is a modified Glance. This server has the routes that Glance lacks and
passes the others on, so the client of IMS meets memberships, lists and tokens of real servers.

Source: IMS API reference, "Updating the Member Status of Images in Batches", "Querying an
Asynchronous Job" and "Querying Images (OpenStack extension)". It does not say what a job reports
about an image that fails: here that image has a row, and the job has failed.
"""

import json
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from envtest.processes import Running

Json = dict[str, Any]
MEMBERS = "/v1/cloudimages/members"
JOB = re.compile(r"/v1/([^/]+)/jobs/([^/]+)")
LIST = "/v2/cloudimages"
FORWARDED = ("X-Auth-Token", "X-Subject-Token", "Content-Type", "Accept")
RETURNED = ("X-Subject-Token", "Content-Type", "WWW-Authenticate", "x-openstack-request-id")
DEFAULT_PAGE = 500
"""Images of a page without a limit: IMS documents more than Glance has."""
CODES = {404: "IMG.0144", 403: "IMG.0089"}
"""Error codes of a job: no such image; a public image. For any other status it is `BACKEND`."""
BACKEND = "IMG.0014"


@dataclass(slots=True, kw_only=True)
class Job:
    """One batch.

    Attributes:
        refusals: of Glance, by the image.
    """

    project: str
    status: str
    images: tuple[str, ...]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    refusals: dict[str, httpx.Response] = field(default_factory=dict)
    ended: bool = False

    def view(self) -> Json:
        """Return the job as IMS shows it."""
        first = next(iter(self.refusals.values()), None) if self.ended else None
        state = "RUNNING" if not self.ended else "SUCCESS" if first is None else "FAIL"
        return {
            "job_id": self.id,
            "job_type": "imsUpdateImageMembersJob",
            "status": state,
            "error_code": None if first is None else CODES.get(first.status_code, BACKEND),
            "fail_reason": None if first is None else first.reason_phrase,
            "entities": {"results": self._rows() if self.ended else []},
        }

    def _rows(self) -> list[Json]:
        return [
            {"image_id": image, "status": "failed" if image in self.refusals else "success"}
            for image in self.images
        ]


class ImsOnGlance(Running):
    """A server for both endpoints of a spec, IAM and IMS.

    Args:
        identity_url: the base URL of Keystone.
        image_url: the base URL of Glance.
    """

    def __init__(self, identity_url: str, image_url: str) -> None:
        self.identity_url = identity_url
        self.image_url = image_url
        self.jobs: dict[str, Job] = {}
        self._projects: dict[str, str] = {}
        self._http = httpx.Client(timeout=60, trust_env=False)
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True  # connections of clients stay open
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._worker.shutdown()
        self._http.close()

    def batches(self, project: str) -> list[Job]:
        """The batches of a project, oldest first."""
        return [job for job in self.jobs.values() if job.project == project]

    def answer(
        self, method: str, target: str, headers: httpx.Headers, body: bytes
    ) -> httpx.Response:
        """Return the response to a request.

        Args:
            target: path and query.
        """
        url = urlsplit(target)
        job = JOB.fullmatch(url.path)
        if url.path.startswith("/v3/"):
            return self._forward(self.identity_url, method, target, headers, body)
        if (method, url.path) == ("PUT", MEMBERS):
            return self._start_job(headers.get("X-Auth-Token", ""), body)
        if method == "GET" and job is not None:
            return self._show_job(headers.get("X-Auth-Token", ""), *job.groups())
        if (method, url.path) == ("GET", LIST):
            return self._list(url.query, headers)
        if method == "GET" and url.path.startswith("/v2/images/"):
            return self._forward(self.image_url, method, target, headers, body)
        return _refusal(HTTPStatus.NOT_FOUND, "APIGW.0101", "The API does not exist.")

    def _forward(
        self, base: str, method: str, target: str, headers: httpx.Headers, body: bytes = b""
    ) -> httpx.Response:
        known = {name: headers[name] for name in FORWARDED if name in headers}
        return self._http.request(method, f"{base}{target}", headers=known, content=body)

    def _start_job(self, token: str, body: bytes) -> httpx.Response:
        own = self._project_of(token)
        if own is None:
            return _refusal(HTTPStatus.UNAUTHORIZED, "APIGW.0301", "Incorrect IAM token.")
        try:
            asked = json.loads(body)
            job = Job(
                project=asked["project_id"], status=asked["status"], images=tuple(asked["images"])
            )
        except (ValueError, KeyError, TypeError):
            return _refusal(HTTPStatus.BAD_REQUEST, "IMG.0001", "The request body is malformed.")
        if job.project != own:
            return _mismatch()
        self.jobs[job.id] = job
        self._worker.submit(self._run, job, token)
        return _json({"job_id": job.id})

    def _run(self, job: Job, token: str) -> None:
        """Set the memberships, as the user who sent the batch."""
        for image in job.images:
            answer = self._http.put(
                f"{self.image_url}/v2/images/{image}/members/{job.project}",
                json={"status": job.status},
                headers={"X-Auth-Token": token, "Accept": "application/json"},
            )
            if not answer.is_success:
                job.refusals[image] = answer
        job.ended = True

    def _show_job(self, token: str, project: str, job_id: str) -> httpx.Response:
        own = self._project_of(token)
        if own is None:
            return _refusal(HTTPStatus.UNAUTHORIZED, "APIGW.0301", "Incorrect IAM token.")
        if project != own:
            return _mismatch()
        job = self.jobs.get(job_id)
        if job is None or job.project != own:
            return _refusal(HTTPStatus.BAD_REQUEST, "IMG.0023", "The job could not be queried.")
        return _json(job.view())

    def _list(self, query: str, headers: httpx.Headers) -> httpx.Response:
        """List images. Glance takes the type of IMS for a property, and IMS has no ``next``."""
        asked = {"limit": str(DEFAULT_PAGE), **dict(parse_qsl(query))}
        asked.pop("__imagetype", None)
        target = f"/v2/images?{urlencode(asked)}"
        answer = self._forward(self.image_url, "GET", target, headers)
        return _json({"images": answer.json()["images"]}) if answer.is_success else answer

    def _project_of(self, token: str) -> str | None:
        """The project of a token; ``None`` for a token that Keystone refuses.

        Keystone is asked once for each token. A token that is revoked later fails at Glance.
        """
        if token not in self._projects:
            headers = {"X-Auth-Token": token, "X-Subject-Token": token}
            url = f"{self.identity_url}/v3/auth/tokens?nocatalog"
            answer = self._http.get(url, headers=headers)
            if not answer.is_success:
                return None
            self._projects[token] = str(answer.json()["token"].get("project", {}).get("id"))
        return self._projects[token]


def _handler(ims: ImsOnGlance) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = ims.answer(self.command, self.path, httpx.Headers(self.headers.items()), body)
            self.send_response(answer.status_code)
            for name in RETURNED:
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_PUT = do_POST = do_DELETE = serve  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return Handler


def _json(body: Json, status: int = HTTPStatus.OK) -> httpx.Response:
    return httpx.Response(status, json=body)


def _refusal(status: int, code: str, text: str) -> httpx.Response:
    return _json({"error": {"code": code, "message": text}}, status)


def _mismatch() -> httpx.Response:
    text = "The project id and token do not match."
    return _refusal(HTTPStatus.BAD_REQUEST, "IMG.0030", text)
