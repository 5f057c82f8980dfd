"""Small histories and tapes for the tests of the verdict."""

from collections.abc import Sequence
from typing import Any

from chaos.history import History, Record, Sight, Version
from chaos.model import Json, Login, SecretKind, Spec, Target
from chaos.tape import Put, Setting, Tape, Use

PROJECT, OTHER_PROJECT = "a" * 32, "b" * 32
IMAGE, SECOND = "image-1", "image-2"
WEB = Target("team", "web")
OTHER = Target("team", "other")

MINE = Login(
    namespace="team",
    name="otc",
    kind=SecretKind.PASSWORD,
    user="user",
    user_id="user-id",
    domain="domain",
    password="password",
    projects=(PROJECT,),
)
THEIRS = Login(
    namespace="rivals",
    name="otc",
    kind=SecretKind.PASSWORD,
    user="rival",
    user_id="rival-id",
    domain="domain",
    password="password",
    projects=(PROJECT, OTHER_PROJECT),
)


def spec(*images: str, decision: str = "Accept", suspend: bool = False, **more: str) -> Spec:
    return Spec(
        images=images or (IMAGE,),
        project=PROJECT,
        secret=more.get("secret", "otc"),
        decision=decision,
        deletion_policy=more.get("deletion_policy", "Retain"),
        suspend=suspend,
    )


def version(
    generation: int, at_s: float, wanted: Spec | None = None, *, leaving: bool = False
) -> Version:
    """A generation that was asked for within a tenth of a second."""
    return Version(
        generation=generation,
        spec=wanted or spec(),
        sent_s=at_s,
        done_s=at_s + 0.1,
        leaving=leaving,
    )


def sight(at_s: float, observed: int) -> Sight:
    return Sight(at_s=at_s, observed=observed)


def record(
    *versions: Version,
    sights: Sequence[Sight] = (),
    jobs: Sequence[str] = (),
    target: Target = WEB,
    deleted: bool = False,
) -> Record:
    """The life of an object; ``jobs`` are those that carried its image."""
    return Record(
        target=target,
        versions=list(versions) or [version(1, 0.0)],
        sights=list(sights),
        carried={(IMAGE, job) for job in jobs},
        deleted=deleted,
        held=deleted,
    )


def history(*records: Record) -> History:
    return History(
        logins=(MINE, THEIRS), records={each.target: each for each in records or (record(),)}
    )


def put(at_s: float, value: str = "accepted", **changes: object) -> Put:
    """A PUT of one pending image that was taken and did what it should."""
    row: dict[str, object] = {
        "at_s": at_s,
        "user": MINE.user_id,
        "token_project": PROJECT,
        "body_project": PROJECT,
        "value": value,
        "settings": (Setting(image=IMAGE, held="pending", applied=True),),
        "status": 200,
        "job": f"job-{at_s:g}",
        **changes,
    }
    return Put(**row)  # type: ignore[arg-type]  # the tests' own words


def again(at_s: float, **changes: object) -> Put:
    """A PUT that changes nothing."""
    held = (Setting(image=IMAGE, held="accepted", applied=True),)
    row: dict[str, Any] = {"settings": held, **changes}
    return put(at_s, **row)


def tape(*puts: Put, uses: Sequence[Use] = ()) -> Tape:
    return Tape(puts=puts, uses=tuple(uses), faulty_calls=0)


def ready(reason: str = "Accepted", status: str = "True", generation: int = 1) -> Json:
    return condition("Ready", reason, status, generation)


def condition(kind: str, reason: str, status: str = "True", generation: int = 1) -> Json:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "Words.",
        "observedGeneration": generation,
    }


def body(*conditions: Json, generation: int = 1, **status: object) -> Json:
    """An object that says what it must of one accepted image."""
    said: Json = {
        "observedGeneration": generation,
        "conditions": list(conditions) or [ready()],
        "images": [{"id": IMAGE, "membership": "accepted"}],
        "summary": "1/1",
        **status,
    }
    return {"metadata": {"generation": generation}, "status": said}
