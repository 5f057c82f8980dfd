"""The whole cloud at one moment: who, what, and the jobs on their way. Pure; the clock is given."""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from otc_simulator.identity import Directory, new_hex_id
from otc_simulator.jobs import Job, JobFault, JobKind, Row
from otc_simulator.membership import Registry, vault_refusal
from otc_simulator.settings import Settings

NOT_SHARED = "IMG.0144"
"""What a job says of an image that its project has no share of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a membership job is asked to do. ``images`` are distinct, in the request's order."""

    kind: JobKind
    project_id: str
    images: tuple[str, ...]
    projects: tuple[str, ...]
    status: str | None = None
    vault_id: str | None = None


class Cloud:
    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.directory = Directory()
        self.registry = Registry()
        self.jobs: dict[str, Job] = {}
        self.most_jobs_per_image = 0
        self._due: list[tuple[datetime, str]] = []
        self._jobs_per_image: Counter[str] = Counter()

    def submit(self, change: Change, *, fault: JobFault, settings: Settings) -> Job:
        """Queue a job; nothing changes until ``settle`` passes its end."""
        now = self.now()
        lasts_s = settings.job_seconds if fault.seconds is None else fault.seconds
        job = Job(
            id=new_hex_id(),
            kind=change.kind,
            project_id=change.project_id,
            images=change.images,
            projects=change.projects,
            status=change.status,
            vault_id=change.vault_id,
            submitted_at=now,
            ends_at=now + timedelta(seconds=lasts_s),
            fault=fault,
        )
        self.jobs[job.id] = job
        heapq.heappush(self._due, (job.ends_at, job.id))
        self._jobs_per_image.update(job.images)
        here = max(self._jobs_per_image[image_id] for image_id in job.images)
        self.most_jobs_per_image = max(self.most_jobs_per_image, here)
        return job

    def settle(self, settings: Settings) -> None:
        """Carry out every job whose end has come, in the order of their ends."""
        while self._due and self._due[0][0] <= self.now():
            _, job_id = heapq.heappop(self._due)
            job = self.jobs[job_id]
            rows = tuple(self._carry_out(job, image_id, settings) for image_id in job.images)
            self.jobs[job_id] = replace(job, rows=rows)
            for image_id in job.images:
                self._jobs_per_image[image_id] -= 1
                if not self._jobs_per_image[image_id]:
                    del self._jobs_per_image[image_id]

    def finish(self, settings: Settings) -> None:
        """Carry out every job that is under way, in the order of their ends."""
        now = self.now()
        self._due.sort()
        for number, (_, job_id) in enumerate(reversed(self._due)):
            ends_at = now - timedelta(microseconds=number)  # keeps the order
            self.jobs[job_id] = replace(self.jobs[job_id], ends_at=ends_at)
        self._due = [(self.jobs[job_id].ends_at, job_id) for _, job_id in self._due]
        self.settle(settings)

    def _carry_out(self, job: Job, image_id: str, settings: Settings) -> Row:
        refusal = self._refusal(job, image_id)
        picked = image_id in job.fault.fail or job.fault.fail == ("*",)
        told = refusal or (job.fault.error_code if picked else None)
        applied = {"nothing": False, "everything": True, None: not (picked or job.fault.stuck)}
        if refusal is None and applied[job.fault.apply]:
            self._apply(job, image_id, settings)
        return Row(image_id=image_id, error_code=told)

    def _refusal(self, job: Job, image_id: str) -> str | None:
        """Return the code for an image that the job can't change, whatever the faults."""
        image = self.registry.images.get(image_id)
        if image is None:
            return NOT_SHARED
        if image.status != "active":
            return "IMG.0046"
        if job.kind is not JobKind.UPDATE:
            return None
        private = image.visibility == "private"
        if private or self.registry.member(image_id, job.project_id) is None:
            return NOT_SHARED
        if job.status == "accepted":
            return vault_refusal(image, self.registry.vault(job.vault_id, job.project_id))
        return None

    def _apply(self, job: Job, image_id: str, settings: Settings) -> None:
        at = job.ends_at
        for project_id in job.projects:
            match job.kind:
                case JobKind.ADD:
                    self.registry.share(image_id, project_id, now=at)
                case JobKind.DELETE:
                    self.registry.withdraw(image_id, project_id)
                case JobKind.UPDATE:
                    member = self.registry.member(image_id, project_id)
                    if member is not None and job.status is not None:
                        self.registry.set_status(member, job.status, now=at, settings=settings)
