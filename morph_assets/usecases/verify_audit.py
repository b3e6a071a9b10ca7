"""Proves, as the auditor, that the log still says what it said: chain, archive, anchors, bodies."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from morph_assets.connections import Connections
from morph_assets.registry.audit.anchor import Anchor
from morph_assets.registry.audit.chain import ChainState, find_seq, find_successor, iter_pages, read_state
from morph_assets.registry.audit.compare import Comparison, compare_chain
from morph_assets.registry.audit.diagnose import Surroundings, diagnose
from morph_assets.registry.audit.finding import Finding, Tampering, Witness
from morph_assets.registry.audit.row import GENESIS, EventRow
from morph_assets.registry.events import LOG, SECURITY, Chain, ChainHead
from morph_assets.registry.relays import UnanchoredWindow, relay_seq, unanchored_window
from morph_assets.usecases.check_anchors import check_anchors
from morph_assets.usecases.check_bodies import BodyChecker
from morph_assets.usecases.open_archive import Archive, open_archive
from morph_kernels.errors import MorphError

_FOREVER = 2**31


@dataclass(frozen=True)
class VerifiedAudit:
    """What was verified, and what does not hold, the first place first.

    `head` is the newest event that was verified; `anchored_seq` and `archived_seq` say how far what is outside of the
    database confirms it. `abandoned` counts archived events that a restored backup has lost.
    """

    events: int
    security_events: int
    head: ChainHead
    findings: tuple[Finding, ...]
    anchors: int
    anchored_seq: int
    archived_seq: int
    unanchored: UnanchoredWindow
    bodies: int
    abandoned: int

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def first(self) -> Finding | None:
        """The first thing that does not hold."""
        return self.findings[0] if self.findings else None

    @property
    def first_broken_seq(self) -> int | None:
        """The first event of the log that does not hold."""
        return next((finding.position for finding in self.findings if finding.place == "log"), None)


class UnknownHeadError(MorphError):
    """What was given as the expected head is none."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is no head: write SEQ:HASH, as `morph audit anchor` prints it")


def parse_head(text: str) -> ChainHead:
    """Return the head that `SEQ:HASH` names.

    Raises:
        UnknownHeadError: it is not of this form.
    """
    seq, _, digest = text.partition(":")
    try:
        head = ChainHead(int(seq), bytes.fromhex(digest))
    except ValueError:
        raise UnknownHeadError(text) from None
    if head.seq < 1 or len(head.hash) != len(GENESIS):
        raise UnknownHeadError(text)
    return head


def verify_audit(
    connections: Connections, *, expected: ChainHead | None = None, since_anchor: bool = False, bodies: bool = True
) -> VerifiedAudit:
    """Recompute both chains here, and hold them against the anchors, the archive, and what the caller knows.

    Args:
        connections: the platform's servers.
        expected: a head that the caller remembers: the log must still contain it.
        since_anchor: begin behind the newest anchor instead of at the first event, unless a head is expected.
        bodies: also read the reports, documents, envelopes and logs that the events name.

    Raises:
        StoreError: the store does not answer.
        TrustError: the trust file cannot be believed.
    """
    anchors = check_anchors(connections, newest_only=since_anchor)
    begin = anchors.newest if since_anchor and expected is None else None
    log = _Verification(connections, LOG, _witnesses(connections, LOG, anchors.believed, expected), begin)
    told = _witnesses(connections, SECURITY, anchors.believed, None)
    security = _Verification(connections, SECURITY, told, begin)
    checker = BodyChecker(connections, archived_seq=relay_seq(connections.registry("auditor"), "archive"))
    compared = log.run(checker if bodies else None)
    compared_security = security.run(None)
    newest = anchors.newest.head_of(connections.tenant) if anchors.newest else None
    anchored_seq = newest.seq if newest else 0
    return VerifiedAudit(
        events=compared.head.seq,
        security_events=compared_security.head.seq,
        head=compared.head,
        findings=(*log.findings, *security.findings, *anchors.findings),
        anchors=len(anchors.believed),
        anchored_seq=anchored_seq,
        archived_seq=log.archive.last_seq,
        unanchored=unanchored_window(connections.registry("auditor"), anchored_seq=anchored_seq),
        bodies=checker.checked,
        abandoned=compared.abandoned,
    )


class _Verification:
    """One chain, from a start to its end."""

    def __init__(
        self,
        connections: Connections,
        chain: Chain,
        witnesses: dict[int, list[Witness]],
        begin: Anchor | None,
    ) -> None:
        self._registry = connections.registry("auditor")
        self._connections = connections
        self._chain = chain
        self._witnesses = witnesses
        # First what is outside, then the database: what is appended meanwhile is not missed.
        self.archive: Archive = open_archive(connections, chain)
        self._state: ChainState = read_state(self._registry, chain)
        start = _start(connections, chain, begin)
        # An anchor of an event that is gone is no place to begin: from the first one on, what is missing shows.
        self._start = start if start.seq <= self._state.last_seq else ChainHead(0, GENESIS)
        self.findings: list[Finding] = []

    def run(self, checker: BodyChecker | None) -> Comparison:
        """Compare everything; the findings are then complete."""
        of_bodies: list[Finding] = []
        compared = compare_chain(
            self._pages(checker, of_bodies),
            self.archive.rows(after=self._start.seq),
            self._witnesses,
            start=self._start,
            timeline=self._state.timeline,
        )
        found = [finding for finding in of_bodies if finding.position <= compared.head.seq]
        if compared.broken is not None:
            found.append(diagnose(compared.broken, compared.head, self._surroundings(compared)))
        else:
            self.archive.close()
            found += _judge_head(self._chain, self._state, compared.head)
        self.findings = sorted([*self.archive.findings, *found], key=lambda finding: finding.position)
        return compared

    def _pages(self, checker: BodyChecker | None, found: list[Finding]) -> Iterator[list[EventRow]]:
        for page in iter_pages(self._registry, self._chain, after=self._start.seq, up_to=self._state.last_seq):
            if checker is not None:
                found.extend(checker.check(page))
            yield page

    def _surroundings(self, compared: Comparison) -> Surroundings:
        return Surroundings(
            place=self._chain.name,
            last=self._state.last_seq,
            confirmed=compared.confirmed,
            place_of=lambda event_id: find_seq(self._registry, self._chain, event_id=event_id),
            copy_of=partial(_find_copy, self._connections, self._chain),
            successor=lambda digest, seq: find_successor(self._registry, self._chain, prev_hash=digest, other_than=seq),
        )


def _start(connections: Connections, chain: Chain, begin: Anchor | None) -> ChainHead:
    head = begin.head_of(connections.tenant) if begin else None
    return head.of(chain) if head else ChainHead(0, GENESIS)


def _witnesses(
    connections: Connections, chain: Chain, anchors: Sequence[Anchor], expected: ChainHead | None
) -> dict[int, list[Witness]]:
    found: dict[int, list[Witness]] = defaultdict(list)
    if expected is not None:
        found[expected.seq].append(Witness("the expected head", expected.seq, expected.hash, _FOREVER))
    for anchor in anchors:
        heads = anchor.head_of(connections.tenant)
        if heads is not None:
            head = heads.of(chain)
            found[head.seq].append(Witness(f"anchor {anchor.number}", head.seq, head.hash, anchor.timeline))
    return found


def _judge_head(chain: Chain, state: ChainState, verified: ChainHead) -> Iterator[Finding]:
    if state.head == verified:
        return
    if state.head.seq > verified.seq:
        detail = f"the log ends before it, and its head names event {state.head.seq}"
        yield Finding(chain.name, verified.seq + 1, Tampering.TRUNCATED, detail)
    else:
        detail = f"the head is not the newest event, {verified.seq}"
        yield Finding(chain.name, state.head.seq, Tampering.HEAD_CHANGED, detail)


def _find_copy(connections: Connections, chain: Chain, event_id: str) -> int | None:
    rows = open_archive(connections, chain).rows()
    return next((row.seq for row in rows if row.event_id == event_id), None)
