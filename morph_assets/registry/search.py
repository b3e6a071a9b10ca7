"""Finding kernels: a query as data, its pages, and why each kernel stands where it stands."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import InvalidRecordError
from morph_kernels.identity import BlueprintDigest, KernelDigest

MAX_PAGE_SIZE: Final = 1000
_LISTS: Final = {"required": 16, "preferred": 8, "excluded": 16, "states": 16}
_NUMBERS: Final = ("max_latency_us", "max_memory_bytes", "max_risk", "max_size_bytes")
_WORDS: Final = ("blueprint", "descends_from", "device", "isa", "dtype", "hardware", "shape_class")
_MAX_WORD_LENGTH: Final = 200

DecidedBy = Literal["first", "preferred", "latency", "risk", "digest"]


@dataclass(frozen=True)
class KernelQuery:
    """Which kernels are wanted; an empty field asks for nothing.

    The order is total: most preferred tags matched, then least latency, then least risk, then the digest. What was
    never measured comes after what was; what was never judged has the risk 1, and is within no limit of risk.

    Attributes:
        blueprint: the name or the digest of their blueprint.
        descends_from: the name or the digest of a blueprint from which theirs is derived, at any distance.
        required: tags that each of them has, at most 16.
        preferred: tags of which those with the most come first, at most 8.
        excluded: tags that none of them has, at most 16.
        max_latency_us: how long a training step takes at most, where the query says it is to be measured.
        max_memory_bytes: what a loaded kernel takes at most.
        max_risk: 0 (far from every limit of the evaluation) to 1.
        max_size_bytes: of both libraries.
        device: of the target.
        isa: of the target.
        dtype: of the target.
        states: validated and published ones when empty.
        hardware: the machine on which the latency was measured; the newest report's, anywhere, when None. Only kernels
            that were measured on it are found.
        shape_class: the shapes for which it was measured there; the sum over all shapes when None.
    """

    blueprint: str | None = None
    descends_from: str | None = None
    required: Sequence[str] = ()
    preferred: Sequence[str] = ()
    excluded: Sequence[str] = ()
    max_latency_us: float | None = None
    max_memory_bytes: int | None = None
    max_risk: float | None = None
    max_size_bytes: int | None = None
    device: str | None = None
    isa: str | None = None
    dtype: str | None = None
    states: Sequence[str] = ()
    hardware: str | None = None
    shape_class: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that `from_document` reads; what asks for nothing is left out."""
        present = {named.name: getattr(self, named.name) for named in fields(self)}
        return {
            name: sorted(set(value)) if name in _LISTS else value
            for name, value in present.items()
            if value not in (None, (), [])
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "KernelQuery":
        """Return the query that a JSON object holds.

        Raises:
            InvalidRecordError: an unknown key, or a value that is none.
        """
        for name, value in document.items():
            if not _is_valid(name, value):
                raise InvalidRecordError(f"{name!r} of this query is not known, or {value!r} is no value of it")
        if "shape_class" in document and "hardware" not in document:
            raise InvalidRecordError("a shape class is measured on some hardware: name it")
        facts: dict[str, Any] = {name: tuple(v) if name in _LISTS else v for name, v in document.items()}
        return cls(**facts)


@dataclass(frozen=True)
class RankReason:
    """Why a kernel stands where it stands.

    Attributes:
        matched: the preferred tags that it has.
        missed: those that it has not.
        latency_us: what counted; None where it was never measured.
        hardware: where that was measured; empty where the report did not say.
        shape_class: for which shapes; empty for the sum over all.
        risk: what counted next; None counts as 1.
        decided_by: what put it behind the kernel before it.
    """

    matched: tuple[str, ...]
    missed: tuple[str, ...]
    latency_us: float | None
    hardware: str
    shape_class: str
    risk: float | None
    decided_by: DecidedBy

    def __str__(self) -> str:
        """One line for a person."""
        wanted = len(self.matched) + len(self.missed)
        parts = (
            [f"{len(self.matched)} of {wanted} preferred tags ({', '.join(self.matched) or 'none'})"] if wanted else []
        )
        where = "".join(
            (f" on {self.hardware}" if self.hardware else "", f" at {self.shape_class}" if self.shape_class else "")
        )
        parts.append("never measured" if self.latency_us is None else f"{self.latency_us:.4g} us{where}")
        parts.append("risk unknown" if self.risk is None else f"risk {self.risk:.2f}")
        behind = "" if self.decided_by == "first" else f"; behind the one before by {_BEHIND_BY[self.decided_by]}"
        return ", ".join(parts) + behind


_BEHIND_BY: Final = {
    "preferred": "its tags",
    "latency": "its latency",
    "risk": "its risk",
    "digest": "its digest alone",
}


@dataclass(frozen=True)
class KernelHit:
    """A kernel that a query found."""

    digest: KernelDigest
    blueprint_digest: BlueprintDigest
    names: tuple[str, ...]
    target: Mapping[str, Any]
    state: str
    tags: tuple[str, ...]
    size_bytes: int
    memory_bytes: int | None
    speed_ratio: float | None
    latency_us: float | None
    risk: float | None
    reason: RankReason


@dataclass(frozen=True)
class KernelPage:
    """One page of what was found; `next_cursor` goes on behind it with the same query, None where nothing follows."""

    hits: tuple[KernelHit, ...]
    next_cursor: str | None


_SEARCH: Final = """
    SELECT digest, blueprint_digest, names, target, state, tags, size_bytes, memory_bytes, speed_ratio,
           latency_us, risk, matched, hardware, shape_class, decided_by, cursor
    FROM morph.search_kernels(%s, %s, %s)"""


def search_kernels(registry: Registry, query: KernelQuery, *, limit: int = 20, cursor: str | None = None) -> KernelPage:
    """Return the best kernels for the query, of this login's tenant; any login may ask.

    Args:
        registry: of any login.
        query: what is wanted.
        limit: how many kernels a page holds, at most 1,000.
        cursor: where the page before ended.

    Raises:
        InvalidRecordError: the query is none, or the cursor belongs to another query or tenant.
    """
    if not 1 <= limit <= MAX_PAGE_SIZE:
        raise InvalidRecordError(f"a page holds 1 to {MAX_PAGE_SIZE} kernels, not {limit}")
    document = query.to_document()
    KernelQuery.from_document(document)
    rows = registry.fetch_rows(tuple_row, _SEARCH, (Jsonb(document), limit + 1, cursor))
    page = rows[:limit]
    preferred = frozenset(query.preferred)
    return KernelPage(tuple(_hit(row, preferred) for row in page), page[-1][-1] if len(rows) > limit else None)


def _hit(row: tuple[Any, ...], preferred: frozenset[str]) -> KernelHit:
    digest, blueprint_digest, names, target, state, tags, size_bytes, memory_bytes, speed_ratio, *rank = row
    latency_us, risk, matched, hardware, shape_class, decided_by, _cursor = rank
    missed = tuple(sorted(preferred.difference(matched)))
    return KernelHit(
        KernelDigest(digest),
        BlueprintDigest(blueprint_digest),
        tuple(names),
        target,
        state,
        tuple(tags),
        size_bytes,
        memory_bytes,
        speed_ratio,
        latency_us,
        risk,
        RankReason(tuple(matched), missed, latency_us, hardware, shape_class, risk, decided_by),
    )


def _is_valid(name: str, value: object) -> bool:
    if name in _LISTS:
        return isinstance(value, list | tuple) and len(value) <= _LISTS[name] and all(map(_is_word, value))
    if name in _NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return name in _WORDS and _is_word(value)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_WORD_LENGTH
