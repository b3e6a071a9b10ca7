"""Tenants with many kernels whose facts a test knows, and a plain model of what a search has to return."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from morph_assets.registry.kernels import FIT_STATES
from morph_assets.registry.search import KernelQuery
from tests.support.registry import digest_of

TAGS = tuple(f"tag{number}" for number in range(12))
HARDWARE = ("amd-epyc", "intel-xeon")
SHAPES = ("", "batch=8/threads=1")


@dataclass(frozen=True)
class Facts:
    """What a test knows of a kernel."""

    digest: str
    blueprint: str
    state: str
    device: str
    latency_us: float | None
    risk: float | None
    memory_bytes: int
    size_bytes: int
    tags: frozenset[str]
    measured: dict[tuple[str, str], float]


def make_facts(count: int, *, seed: int, blueprints: Sequence[str]) -> list[Facts]:
    """Return kernels with few distinct latencies and risks, so that ties are many."""
    chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
    return [
        Facts(
            digest=digest_of(f"{seed} {number}"),
            blueprint=chance.choice(blueprints),
            state=chance.choice(["VALIDATED", "VALIDATED", "PUBLISHED", "COMPILED", "REVOKED"]),
            device=chance.choice(["cpu", "cpu", "cpu", "cuda"]),
            latency_us=chance.choice([None, *(float(step) for step in range(10, 400))]),
            risk=chance.choice([None, 0.1, 0.2, 0.5]),
            memory_bytes=chance.randrange(1, 1000),
            size_bytes=chance.randrange(1, 1000),
            tags=frozenset(tag for place, tag in enumerate(TAGS) if chance.random() < 1 / (place + 1.5)),
            measured={
                (hardware, shape): float(chance.randrange(10, 50))
                for hardware in HARDWARE
                for shape in SHAPES
                if chance.random() < 0.4
            },
        )
        for number in range(count)
    ]


def store_facts(admin_url: str, tenant: str, facts: Sequence[Facts]) -> None:
    """Write the kernels past every trigger, as no login can: a search reads rows, whoever wrote them."""
    with psycopg.connect(admin_url) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute("SET search_path = morph, pg_temp")
        cursor = owner.cursor()
        cursor.executemany(
            """INSERT INTO kernel (tenant, digest, blueprint_digest, build_key, target, toolchain, pipeline,
                                   recipe_version, size_bytes, bundle_digest, bundle_key, state, latency_us, risk,
                                   memory_bytes, tags)
               VALUES (%s, %s, %s, %s,
                       jsonb_build_object('device', %s::text, 'isa', 'v3', 'dtype', 'float32', 'torch', '2.13.0'),
                       'g++', 'standard', 1, %s, %s, 'b', %s, %s, %s, %s, %s)""",
            [
                (
                    *(tenant, kernel.digest, kernel.blueprint, digest_of(f"key {kernel.digest}"), kernel.device),
                    *(kernel.size_bytes, kernel.digest, kernel.state, kernel.latency_us, kernel.risk),
                    *(kernel.memory_bytes, sorted(kernel.tags)),
                )
                for kernel in facts
            ],
        )
        cursor.executemany(
            "INSERT INTO kernel_latency VALUES (%s, %s, %s, %s, %s)",
            [(tenant, k.digest, *place, value) for k in facts for place, value in k.measured.items()],
        )
        owner.execute("ANALYZE kernel")


def expected(facts: Sequence[Facts], query: KernelQuery) -> list[str]:
    """Return the digests of all that match, in the order that a search promises."""
    found = [(rank, kernel) for kernel in facts if (rank := _rank(kernel, query)) is not None]
    return [kernel.digest for _, kernel in sorted(found, key=lambda pair: pair[0])]


def _rank(kernel: Facts, query: KernelQuery) -> tuple[int, float, float, str] | None:
    latency = kernel.latency_us
    if query.hardware is not None:
        latency = kernel.measured.get((query.hardware, query.shape_class or ""))
        if latency is None:
            return None
    limits = (
        (query.max_latency_us, latency),
        (query.max_risk, kernel.risk),
        (query.max_memory_bytes, kernel.memory_bytes),
        (query.max_size_bytes, kernel.size_bytes),
    )
    fits = (
        kernel.state in (query.states or FIT_STATES)
        and kernel.tags.issuperset(query.required)
        and kernel.tags.isdisjoint(query.excluded)
        and query.device in {None, kernel.device}
        and query.blueprint in {None, kernel.blueprint}
        and all(most is None or (value is not None and value <= most) for most, value in limits)
    )
    if not fits:
        return None
    matched = len(kernel.tags.intersection(query.preferred))
    return (
        -matched,
        float("inf") if latency is None else latency,
        1.0 if kernel.risk is None else kernel.risk,
        kernel.digest,
    )
