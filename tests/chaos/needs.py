"""Was every PUT needed? Pure.

An exact number of needed PUTs is not visible from outside: the cloud may refuse a batch, lose its
answer, or lie about the job, and each of these rightly causes another PUT. But where a PUT *changes
nothing* is visible: at its arrival an image of it had the value, or a job under way was about to
set it (known afterwards: which jobs applied). That image is extra, as is a PUT of nothing but such
images, and is one of these:

- ``overlap``: another object's job set the value at nearly the same time (both looked before it).
  The statuses of different objects name the two jobs as those that carried the image, or the
  cloud issued the tokens of the two PUTs to different users, and they came nearly at once;
- ``order``: the image's latest PUT before it was of the other value, and its job was stuck or may
  still have shown late, or its answer was lost: only an order of its own is final, however the
  image looks. The same for a PUT that did not arrive: an object asked for the other value, and the
  cloud dropped connections since;
- ``lag``: it was set just before, and the cloud began to show late what had shown already: to a
  look, another client seems to have undone it;
- ``hand``: another client set the value after the operator's look and before its PUT;
- ``lost answer``: the setting PUT met a fault that keeps its job id from the operator (reset, 5xx,
  broken or late answer), or the cloud stood still: the operator never learnt the job, looked,
  perhaps before it had run, and may send each image once more;
- ``kill``: no status ever named the setting job for this image, and the operator was killed
  between both PUTs: it died with the id. A kill may cost the PUTs that were under way then;
- ``gone``: as before, and an object that named the image was being deleted then: no status was left
  to write the id to;
- ``odd job``: the setting job met a fault (it was stuck, lied, failed, or its record was gone), so
  the operator could not know that it would be done;
- ``unexplained``: none of these. There must be none. A SIGTERM between
  both PUTs is no reason: what was under way then is in the status.

The claim of the run: no ``unexplained`` image, and at most as many ``kill`` PUTs as kills.

What the cloud forces must be paced (`unpaced`): no image is carried by more than `MOST_PER_MINUTE`
PUTs in a minute, and as many more as it had edits, foreign changes, restarts and requests to
try again in that minute.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from chaos.history import History, Owners, Record
from chaos.tape import Put, Setting, Tape

MOST_PER_MINUTE = 13
"""A batch of fifty that fails or is refused, six quick retries of it, and six halvings."""
ID_LOST = frozenset(
    {"status", "reset", "truncate", "drop", "patch", "drip_seconds", "delay_seconds", "body"}
)
"""Parts of a fault that keep the job id of a PUT from the one who sent it."""

ONCE = frozenset({"lost answer", "kill", "gone"})
"""Reasons that are good for one repetition."""
ON_ITS_WAY_S = 2.0
"""From the sending of a PUT to its arrival, on a busy machine."""
DELETED_S = 5.0
"""From the deletion of an object to the last PUT that is sent for it, on a busy machine."""
ANSWERED_S = 3.0
"""From the arrival of a PUT to its response, on a busy machine."""
LOOKED_S = 16.0
"""From a look to the PUT that it leads to: a list, the window of a batch, a busy machine, and the
cloud's lag."""
TAKES_EFFECT_S = 10.0
"""From a PUT to its effect: a slow job, then the longest lag of a membership."""
SHOWS_LATE_S = 75.0
"""From a PUT to when its effect surely shows, for the operator: its job, then a minute of lag."""
GRAVITY = (
    "overlap",
    "order",
    "lag",
    "hand",
    "lost answer",
    "odd job",
    "gone",
    "kill",
    "unexplained",
)


@dataclass(slots=True)
class Extra:
    """What was sent and changed nothing, by why.

    Attributes:
        images: each image of each PUT that changed nothing for it.
        puts: PUTs that changed nothing at all; by the gravest reason among their images.
        complaints: images without a known reason.
    """

    images: Counter[str] = field(default_factory=Counter[str])
    puts: Counter[str] = field(default_factory=Counter[str])
    complaints: list[str] = field(default_factory=list[str])


def sort_extra(tape: Tape, history: History) -> Extra:
    """Sort what changed nothing by why it was sent."""
    told = _Senders(history.records.values())
    repeated: Counter[tuple[str, str]] = Counter()
    result = Extra()
    for position, put in enumerate(tape.puts):
        needless = put.needless()
        whys: list[str] = []
        for setting in needless:
            before = _setter(tape.puts[:position], put, setting)
            other = _ordered_otherwise(tape.puts[:position], put, setting.image, told)
            why = _Pair(before, other, put, setting.image).why(history, told)
            if before is not None and why in ONCE:
                repeated[str(before.job), setting.image] += 1
                if repeated[str(before.job), setting.image] > 1:
                    why = "unexplained"
            whys.append(why)
            if why == "unexplained":
                by = " and ".join(told.of(put.job, setting.image)) or "no known client"
                result.complaints.append(
                    f"PUT of {put.value} changed nothing for image {setting.image} of "
                    f"{put.body_project}, sent by {by}; set by job {before and before.job}"
                )
        result.images.update(whys)
        if needless and len(needless) == len(put.settings):
            result.puts[max(whys, key=GRAVITY.index)] += 1
    return result


class _Senders:
    """Which objects' statuses ever named a job as the one that carried an image."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._by_job: dict[tuple[str, str], set[str]] = {}
        for record in records:
            for image, job in record.carried:
                self._by_job.setdefault((job, image), set()).add(str(record.target))

    def of(self, job: str | None, image: str) -> list[str]:
        return sorted(self._by_job.get((job or "", image), ()))


def _setter(before: Sequence[Put], put: Put, setting: Setting) -> Put | None:
    """The PUT whose job set the image to what it was; ``None``: no PUT did."""
    coming = {job for job, _ in setting.coming}
    for earlier in reversed(before):
        if earlier.body_project != put.body_project or earlier.value != put.value:
            continue
        if coming and earlier.job not in coming:
            continue
        if any(row.image == setting.image and row.applied for row in earlier.settings):
            return earlier
    return None


def _ordered_otherwise(before: Sequence[Put], put: Put, image: str, told: _Senders) -> Put | None:
    """The latest PUT before that carried the image, if it was of the other value.

    One that was not taken counts if its sender could not know that. One of the same value that set
    nothing, and that no status names, does not: who came later did not know of it.
    """
    for earlier in reversed(before):
        if earlier.body_project != put.body_project or image not in earlier.images:
            continue
        applied = any(row.image == image and row.applied for row in earlier.settings)
        if earlier.value == put.value and not applied and not told.of(earlier.job, image):
            continue
        if earlier.job is not None or (earlier.value != put.value and ID_LOST & {*earlier.effects}):
            return earlier if earlier.value != put.value else None
    return None


@dataclass(frozen=True, slots=True)
class _Pair:
    """A PUT that changed nothing for an image, the one that had set it, and a contrary one."""

    before: Put | None
    other: Put | None
    put: Put
    image: str

    def why(self, history: History, told: _Senders) -> str:
        before = self.before
        if self._answers_another_order(history, told) or self._order_was_dropped(history):
            return "order"
        if before is None:
            return "hand" if self._set_by_hand(history) else "unexplained"
        one, other = told.of(before.job, self.image), told.of(self.put.job, self.image)
        if (one and other and not set(one) & set(other)) or self._from_two_users(history):
            return "overlap"
        if not one:
            sent_s = history.sent_s(before.at_s)
            if _answer_lost(before, history):
                return "lost answer"
            if history.killed_between(sent_s - ON_ITS_WAY_S, self.put.at_s):
                return "kill"
            if history.deleted_between(self.image, sent_s - DELETED_S, self.put.at_s):
                return "gone"
        lag_s = history.lag_s(self.put.at_s - LOOKED_S, self.put.at_s)
        if lag_s > 0 and before.at_s >= self.put.at_s - LOOKED_S - lag_s:
            return "lag"
        return "odd job" if "job" in before.effects else "unexplained"

    def _answers_another_order(self, history: History, told: _Senders) -> bool:
        other = self.other
        if other is None:
            return False
        late_s = self.put.at_s - SHOWS_LATE_S
        if not told.of(other.job, self.image) and (
            _answer_lost(other, history) or history.stopped_between(other.at_s, self.put.at_s)
        ):
            return True  # it was looked for, and an order of its own had to follow
        return (
            "job" in other.effects  # it is stuck, or was not seen to end
            or other.at_s >= late_s
            or history.killed_between(late_s, self.put.at_s)  # a new process counts from zero
            or history.stopped_between(late_s, self.put.at_s)
        )

    def _order_was_dropped(self, history: History) -> bool:
        """Whether a PUT of the other value may have been on its way when the cloud went offline."""
        set_s = float("-inf") if self.before is None else self.before.at_s
        until_s = self.put.at_s
        since_s = until_s - SHOWS_LATE_S
        return any(
            set_s <= version.sent_s <= until_s
            and any(span.overlap(max(version.sent_s, since_s), until_s) for span in history.offline)
            for record in history.records.values()
            for version in record.versions
            if version.spec.names(self.image) and version.value != self.put.value
        )

    def _from_two_users(self, history: History) -> bool:
        """Whether another user's PUT came just before it: each object has one user."""
        before, put = self.before, self.put
        if before is None or None in (before.user, put.user) or before.user == put.user:
            return False
        return before.at_s >= history.sent_s(put.at_s) - LOOKED_S - TAKES_EFFECT_S

    def _set_by_hand(self, history: History) -> bool:
        return any(
            (image, project) == (self.image, self.put.body_project)
            and self.put.at_s - LOOKED_S <= at_s <= self.put.at_s
            for at_s, image, project in history.hands
        )


def _answer_lost(put: Put, history: History) -> bool:
    """Whether something kept the job id of the PUT from the one who sent it."""
    return (
        bool(ID_LOST & set(put.effects))
        or history.sent_s(put.at_s) < put.at_s
        or any(window.overlap(put.at_s, put.at_s + ANSWERED_S) for window in history.freezes)
    )


def unpaced(tape: Tape, history: History) -> list[str]:
    """Images that were sent again and again."""
    owners = Owners(history.records.values())
    restarts = sorted((*history.kills, *history.stops))
    by_image: dict[str, list[float]] = {}
    for put in tape.puts:
        for image in put.images:
            by_image.setdefault(image, []).append(put.at_s)
    found: list[str] = []
    for image, times in by_image.items():
        causes = [*restarts, *_causes(image, owners.of(image), history)]
        for start_s in times:
            sent = _within(times, start_s)
            allowed = MOST_PER_MINUTE + _within(causes, start_s - 60.0, 120.0)
            if sent > allowed:
                found.append(f"image {image} was sent {sent} times in a minute, not {allowed}")
                break
    return found


def _causes(image: str, records: Sequence[Record], history: History) -> Iterator[float]:
    """Times at which something gave reason to send the image again."""
    mine = {record.target for record in records}
    yield from (version.sent_s for record in records for version in record.versions)
    yield from (at_s for at_s, named, _ in history.hands if named == image)
    yield from (at_s for at_s, target in history.nudges if target in mine)


def _within(times: Iterable[float], start_s: float, for_s: float = 60.0) -> int:
    return sum(start_s <= at <= start_s + for_s for at in times)
