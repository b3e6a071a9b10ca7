"""Which checkpoint is meant, as text and as types.

    selector = [ line "@" ] point | line | [ run "@" ] "tag:" name | id
    line     = run | run "/" branch | "branch:" branch          a run alone only before "@"; it means its branch main
    point    = "latest" | "epoch:" n | "step:" n | "time:" t | "before:" n | n     a bare n only after "@": an epoch
    t        = an ISO 8601 time with its offset, 2026-11-24T10:00Z

`latest` is the head of the branch. Every other point is the newest checkpoint that was saved on the branch and fits,
also one that a rollback left behind; where none fits, the newest of those from which the head descends. So a forked
branch has the history of the one that it came from.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from morph_kernels.errors import MorphError
from morph_kernels.identity import NAME_PATTERN

MAIN = "main"
_NAME = re.compile(NAME_PATTERN)
_NUMBER = re.compile(r"[0-9]{1,18}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FORMS = (
    "latest, epoch:<n>, step:<n>, time:<ISO 8601 with offset>, before:<event>, tag:<name>, branch:<name>,"
    " <run>/<branch>, a checkpoint's id, or a point of another line: <run>@<epoch>, <run>@step:<n>,"
    " <run>/<branch>@time:<t>"
)


class NoCheckpointError(MorphError):
    """There is no such checkpoint."""


class SelectorError(MorphError):
    """Text that selects nothing."""


@dataclass(frozen=True)
class Latest:
    """The head of the branch."""


@dataclass(frozen=True)
class AtEpoch:
    """The newest checkpoint of an epoch."""

    epoch: int


@dataclass(frozen=True)
class AtStep:
    """The newest checkpoint of a step."""

    step: int


@dataclass(frozen=True)
class AtTime:
    """The newest checkpoint that was committed at a time, which knows its offset, or before."""

    at: datetime


@dataclass(frozen=True)
class BeforeEvent:
    """The newest checkpoint whose commit comes before an event of the ledger."""

    sequence: int


Point = Latest | AtEpoch | AtStep | AtTime | BeforeEvent


@dataclass(frozen=True)
class OnLine:
    """A point of another run or branch: a run without a branch means its `main`, a branch without a run one's own."""

    point: Point
    run: str | None = None
    branch: str | None = None

    def __post_init__(self) -> None:
        """Refuse what names no line."""
        if self.run is None and self.branch is None:
            raise SelectorError("a line has a run, a branch or both")


@dataclass(frozen=True)
class Tagged:
    """The checkpoint that a tag of a run names: one's own where none is given."""

    tag: str
    run: str | None = None


@dataclass(frozen=True)
class ById:
    """One checkpoint, of whichever run."""

    checkpoint: UUID


Selector = Point | OnLine | Tagged | ById
LATEST = Latest()


@dataclass(frozen=True)
class Sought:
    """What a ledger is asked for: at most one of the last six is given, and none means the head of the branch."""

    run: str
    branch: str
    checkpoint: UUID | None = None
    tag: str | None = None
    epoch: int | None = None
    step: int | None = None
    at: datetime | None = None
    before: int | None = None


def parse_selector(text: str) -> Selector:
    """Parse a selector.

    Raises:
        SelectorError: the text is none; the message says what there is.
    """
    line, at, point = text.rpartition("@")
    if _ID.fullmatch(text):
        return ById(UUID(text))
    if not at:
        found = _parse_line(text, LATEST, lone=True) or _parse_tag(text, None) or _parse_point(text)
    else:
        point = f"epoch:{point}" if _NUMBER.fullmatch(point) else point
        wanted = _parse_point(point)
        found = _parse_tag(point, line) if wanted is None else _parse_line(line, wanted, lone=False)
    if found is None:
        raise SelectorError(f"{text!r} selects nothing: say {_FORMS}")
    return found


def format_selector(selector: Selector) -> str:
    """Return the one text that stands for a selector; `parse_selector` reads it."""
    match selector:
        case ById(checkpoint):
            return str(checkpoint)
        case Tagged(tag, run):
            return f"tag:{tag}" if run is None else f"{run}@tag:{tag}"
        case OnLine(point, run, branch):
            return _format_line(point, run, branch)
    return _format_point(selector)


def seek(selector: Selector, *, run: str, branch: str) -> Sought:
    """Return what to ask the ledger for, seen from a branch of a run."""
    match selector:
        case ById(checkpoint):
            return Sought(run, branch, checkpoint=checkpoint)
        case Tagged(tag, other):
            return Sought(other or run, branch, tag=tag)
        case OnLine(point, other, side):
            return _seek_point(point, other or run, side or (branch if other is None else MAIN))
    return _seek_point(selector, run, branch)


def _seek_point(point: Point, run: str, branch: str) -> Sought:
    match point:
        case AtEpoch(epoch):
            return Sought(run, branch, epoch=epoch)
        case AtStep(step):
            return Sought(run, branch, step=step)
        case AtTime(at):
            return Sought(run, branch, at=at)
        case BeforeEvent(sequence):
            return Sought(run, branch, before=sequence)
    return Sought(run, branch)


def _parse_point(text: str) -> Point | None:
    kind, _, value = text.partition(":")
    if text == "latest":
        return LATEST
    if kind == "time":
        return _parse_time(value)
    if not _NUMBER.fullmatch(value):
        return None
    number = int(value)
    points: dict[str, Point] = {"epoch": AtEpoch(number), "step": AtStep(number), "before": BeforeEvent(number)}
    return points.get(kind)


def _parse_time(text: str) -> Point | None:
    try:
        at = datetime.fromisoformat(text)
        if at.utcoffset() is None:
            raise SelectorError(f"the time {text!r} has no offset: write it as in 2026-11-24T10:00Z")
        return AtTime(at.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _parse_line(text: str, point: Point, *, lone: bool) -> OnLine | None:
    run, slash, branch = text.partition("/")
    kind, colon, own = text.partition(":")
    if colon:
        return OnLine(point, None, own) if kind == "branch" and _NAME.fullmatch(own) else None
    if slash:
        return OnLine(point, run, branch) if _NAME.fullmatch(run) and _NAME.fullmatch(branch) else None
    return OnLine(point, run) if not lone and _NAME.fullmatch(run) else None


def _parse_tag(text: str, run: str | None) -> Tagged | None:
    kind, _, tag = text.partition(":")
    named = _NAME.fullmatch(tag) and (run is None or _NAME.fullmatch(run))
    return Tagged(tag, run) if kind == "tag" and named else None


def _format_line(point: Point, run: str | None, branch: str | None) -> str:
    line = run or f"branch:{branch}"
    if run is not None and branch is not None:
        line = f"{run}/{branch}"
    return line if isinstance(point, Latest) and branch is not None else f"{line}@{_format_point(point)}"


def _format_point(point: Point) -> str:
    match point:
        case AtEpoch(epoch):
            return f"epoch:{epoch}"
        case AtStep(step):
            return f"step:{step}"
        case AtTime(at):
            return f"time:{at.astimezone(UTC).isoformat().removesuffix('+00:00')}Z"
        case BeforeEvent(sequence):
            return f"before:{sequence}"
    return "latest"
