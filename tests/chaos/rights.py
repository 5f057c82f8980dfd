"""Checks every PUT: a user wanted the value, and the token was that of the user. Pure.

**Right value** (`wrong_values`). A PUT sets images of one project to one value. For each of its
images there must be a generation of an object of that project and of the token's user that names
the image, is neither suspended nor a dry run, and asks for that value, and at the time the PUT was
sent that generation (a deletion with our finalizer on the object is one that asks for ``rejected``)

- was asked for already: the user's request had been sent;
- was not superseded by one that the operator had seen: no ``status.observedGeneration`` of a later
  generation had reached this process through its watch. A status is written after the pass that
  read the newer spec, and there is one pass at a time, so an older value after it is a fault;
- was not superseded for more than `REACTION_S` in all, counting only time in which operator and API
  server were up (for `monkey.COME_BACK_S` after a restart they are not yet): seen or not.

A PUT is sent when it arrives, except just after the cloud stood still: then it may have been sent
when that began, perhaps by a process that was killed meanwhile.

**Right project and identity** (`foreign`). Token's project, body's project and the project of an
object that names the image are one; the token's user is that of the object's own Secret. The same
for every other call that names a project or an image. Calls with tokens that the cloud never issued
(a bad Secret's) must all be refused.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chaos.faults import PUT
from chaos.history import History, Owners, Record, Version
from chaos.model import Login
from chaos.tape import Put, Tape, Use

REACTION_S = 45.0
"""Longer than any pass: some slow answers (8 s at most each) between reading a spec and the PUT."""
UNNAMED = frozenset({PUT, "GET /v2/cloudimages", "GET /v3/auth/tokens"})
"""Calls whose path names neither project nor image: they are about the token's project."""
ASSUMES = frozenset({"/v3/auth/tokens", "/v3/auth/domains"})
"""Calls of a user who assumes an agency: for its token, and for the account of an access key."""


def wrong_values(tape: Tape, history: History) -> list[str]:
    """PUTs of a value that no user wanted (any more)."""
    owners = Owners(history.records.values())
    users = _users(history.logins)
    found: list[str] = []
    for put in tape.puts:
        asked = _Asked(put, history, users)
        for image in put.images:
            reasons = [
                asked.unwanted(image, record, version)
                for record in owners.of(image)
                for version in record.versions
            ]
            if None not in reasons:
                said = (
                    "; ".join(sorted({str(reason) for reason in reasons})) or "no object names it"
                )
                found.append(f"PUT of {put.value} for image {image} of {put.body_project}: {said}")
    return found


def _users(logins: Iterable[Login]) -> Mapping[str, Login]:
    return {login.principal: login for login in logins}


@dataclass(frozen=True, slots=True)
class _Asked:
    """One PUT, and what is around it."""

    put: Put
    history: History
    users: Mapping[str, Login]

    def unwanted(self, image: str, record: Record, version: Version) -> str | None:
        """Why this generation of the object did not want this; ``None``: it did."""
        put, spec = self.put, version.spec
        what = f"{record.target} generation {version.generation}"
        login = self.users.get(put.user or "")
        if login is None or (record.target.namespace, spec.secret) != (login.namespace, login.name):
            return f"{record.target} has another Secret"
        if spec.project != put.body_project or not spec.names(image):
            return f"{what} does not name it"
        if version.value != put.value and not spec.removes:
            return f"{what} wants {version.value}"
        if not spec.submits and not version.leaving:
            return f"{what} is suspended or a dry run"
        if put.at_s < version.sent_s:
            return f"{what} came {version.sent_s - put.at_s:.2f} s later"
        return self._superseded(record, version, what)

    def _superseded(self, record: Record, version: Version, what: str) -> str | None:
        later = next((v for v in record.versions if v.generation > version.generation), None)
        if later is None:
            return None
        sent_s = self.history.sent_s(self.put.at_s)
        late_s = sent_s - record.seen_at(later.generation)
        if late_s > 0:
            return f"{what} was seen to be superseded {late_s:.2f} s before"
        up_s = self.history.up_s(later.done_s, sent_s)
        return f"{what} was superseded {up_s:.0f} s before" if up_s > REACTION_S else None


def foreign(tape: Tape, history: History) -> list[str]:
    """Calls with the project or token of another user."""
    users = _users(history.logins)
    found = [
        f"PUT with a token of project {put.token_project} for project {put.body_project}"
        for put in tape.puts
        if put.user is not None and put.token_project != put.body_project
    ]
    owners = Owners(history.records.values())
    agents = {login.user for login in history.logins if login.agency is not None}
    for use in tape.uses:
        if use.user is None:
            continue
        if use.user in agents and use.token_project is None and use.path in ASSUMES:
            continue
        login = users.get(use.user)
        if login is None or use.token_project not in login.projects:
            found.append(f"{use.route} with a token of user {use.user} for {use.token_project}")
        elif not _own(use, login, owners):
            found.append(f"{use.path} with a token of {login.user} for {use.token_project}")
    return found


def _own(use: Use, login: Login, owners: Owners) -> bool:
    """Whether the path names the token's project, and an image that the login's objects name."""
    parts = use.path.strip("/").split("/")
    match parts:
        case ["v2", "images", image, "members", project]:
            mine = any(
                version.spec.secret == login.name and version.spec.project == project
                for record in owners.of(image)
                if record.target.namespace == login.namespace
                for version in record.versions
            )
            return mine and project == use.token_project
        case ["v1", project, "jobs", _]:
            return project == use.token_project
        case _:
            return use.route in UNNAMED or use.path.startswith("/v1/cloudimages/job/")
