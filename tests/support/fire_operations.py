"""One random call of each function that a login may call, over a world so small that everything meets everything."""

import base64
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.identity import KernelDigest
from tests.support.registry import TARGET, compiled, digest_of, document_of

NAMES, PARTS = ("alpha", "beta"), ("k1", "k2", "k3")
_TEXTS, _ROUNDS_A_TEXT, _AGAIN, _FOLLOWS = 3, 2, 0.2, 0.8
RUNS, BRANCHES, LEASES = ("run-a", "run-b"), ("main", "fork"), ("build/x", "relay/index")
RESOURCES = ("blueprints", "kernels", "blob_bytes", "checkpoints", "builds_per_day")


@dataclass
class Memory:
    """What all clients together have heard from the server; it may be out of date, as in real life."""

    versions: dict[tuple[str, str], int] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)
    relays: dict[str, int] = field(default_factory=dict)
    leases: dict[str, tuple[UUID, int]] = field(default_factory=dict)
    heads: dict[tuple[str, str], UUID] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    policies: dict[str, int] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    tried: list[dict[str, Any]] = field(default_factory=list)
    led: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class World:
    """Where an operation draws its arguments from."""

    rng: random.Random
    memory: Memory
    tenant: str
    round_number: int = 0

    def text(self) -> str:
        """Some blueprint; the oldest is given up from time to time: in the end every kernel is retired or revoked."""
        return f"text {self._oldest() + self.rng.randrange(_TEXTS)}"

    def version(self) -> int:
        """Some version of a name, there or not."""
        return self.rng.randint(max(1, self._oldest() - 1), self._oldest() + _TEXTS)

    def _oldest(self) -> int:
        return self.round_number // _ROUNDS_A_TEXT

    def kernel(self) -> KernelDigest:
        """Some kernel, built or not."""
        return compiled(document_of(self.text())[0], self.rng.choice(PARTS)).digest

    def subject(self) -> str:
        """Something that can be pinned, there or not."""
        release = f"release/{self.rng.choice(NAMES)}@{self.version()}"
        checkpoint = self.rng.choice(list(self.memory.heads.values()) or [uuid4()])
        return self.rng.choice([f"kernel/{self.kernel()}", release, f"checkpoint/{checkpoint}"])

    def lease(self, name: str) -> dict[str, Any]:
        """Holder and epoch as somebody last heard them: sometimes somebody else's."""
        holder, epoch = self.memory.leases.get(name, (uuid4(), 1))
        return {"p_holder": holder, "p_epoch": epoch}


Draw = Callable[[World], dict[str, Any]]


def _submit(world: World) -> dict[str, Any]:
    digest, document = document_of(world.text())
    parents = [document_of(world.text())[0]] if world.rng.random() < 0.2 else []
    return {"p_name": world.rng.choice(NAMES), "p_digest": digest, "p_document": document, "p_parents": parents}


def _build(world: World) -> dict[str, Any]:
    blueprint = document_of(world.text())[0]
    built = compiled(blueprint, world.rng.choice(PARTS))
    return {
        "p_build": uuid4(),
        "p_kernel": built.digest,
        "p_blueprint": blueprint,
        "p_build_key": built.build_key,
        "p_target": Jsonb(TARGET),
        "p_bundle_digest": built.bundle_digest,
        "p_bundle_key": built.bundle_key,
        "p_bundle_bytes": built.bundle_bytes,
        "p_speculative": built.digest < "2",
    }


def _fail(world: World) -> dict[str, Any]:
    build = _build(world)
    return {name: build[name] for name in ("p_build", "p_blueprint", "p_build_key")}


def _report(world: World) -> dict[str, Any]:
    verdict = world.rng.choice(["pass", "pass", "pass", "fail", "error"])
    measured = [{"metric": "latency_us", "value": world.rng.randint(1, 99), "unit": "us"}]
    return {
        "p_report": uuid4(),
        "p_kernel": world.kernel(),
        "p_verdict": verdict,
        "p_measurements": Jsonb(measured),
        "p_attestation": uuid4().bytes if verdict == "pass" else None,
    }


def _move(world: World) -> dict[str, Any]:
    name, alias = world.rng.choice(NAMES), world.rng.choice(["production", "canary"])
    expected = world.memory.versions.get((name, alias))
    return {"p_name": name, "p_alias": alias, "p_version": world.version(), "p_expected": expected}


def _commit(world: World) -> dict[str, Any]:
    if world.memory.tried and world.rng.random() < _AGAIN:
        return world.rng.choice(world.memory.tried[-5:])  # sent again, as after an answer that was lost
    run, branch = world.rng.choice(RUNS), world.rng.choice(BRANCHES)
    head = world.memory.heads.get((run, branch))
    held = world.lease(f"run/{run}")
    blob = digest_of(f"blob {world.rng.randint(1, 40)}")
    world.memory.tried.append(
        {
            "p_checkpoint": uuid4(),
            "p_run": run,
            "p_branch": branch,
            "p_parent": head,
            "p_holder": held["p_holder"],
            "p_lease_epoch": held["p_epoch"],
            "p_manifest_digest": digest_of(str(uuid4())),
            "p_blobs": Jsonb([{"digest": blob, "location": f"p/{uuid4()}", "byte_offset": 0, "size_bytes": 10}]),
            "p_kernels": [world.kernel()] if world.rng.random() < 0.5 else [],
            "p_expected_head": head,
        }
    )
    return world.memory.tried[-1]


def _restore(world: World) -> dict[str, Any]:
    run = world.rng.choice(RUNS)
    held = world.lease(f"run/{run}")
    checkpoint = world.rng.choice(list(world.memory.heads.values()) or [uuid4()])
    return {
        "p_run": run,
        "p_holder": held["p_holder"],
        "p_lease_epoch": held["p_epoch"],
        "p_checkpoint": checkpoint,
    }


def _held(world: World, *more: str) -> dict[str, Any]:
    """A run's lease as somebody last heard it, a checkpoint that somebody saw as a head, and what else is named."""
    known = _restore(world)
    branch = world.rng.choice(BRANCHES)
    drawn = {
        "p_branch": branch,
        "p_expected_head": world.memory.heads.get((known["p_run"], branch)),
        "p_tag": world.rng.choice(["best", "paper"]),
        "p_move": world.rng.random() < 0.5,
    }
    return known | {name: drawn[name] for name in more}


def _policy(world: World) -> dict[str, Any]:
    name = world.rng.choice(["idle", "slow"])
    return {"p_name": name, "p_expected": world.memory.policies.get(name)}


def _import(world: World) -> dict[str, Any]:
    document = document_of(f"imported {world.rng.randint(1, 3)}")[1]
    blueprint = {"author": "ada", "document": base64.b64encode(document).decode(), "kind": "blueprint"}
    told = blueprint | {"name": "gamma", "parents": [], "tags": [f"t{world.rng.randint(1, 9)}"]}
    manifest = b"".join(canonical_bytes(line) + b"\n" for line in ({"format": 1, "kind": "manifest"}, told))
    world.memory.manifests[sha256_hex(manifest)] = manifest
    return {"p_import": uuid4(), "p_manifest": manifest}


def _relay(world: World) -> dict[str, Any]:
    relay = world.rng.choice(["archive", "security"])
    seen = world.memory.relays.get(relay, 0)
    return {"p_relay": relay, "p_expected": seen, "p_seq": seen + world.rng.randint(1, 5)}


def _lower(world: World) -> dict[str, Any]:
    resource = world.rng.choice(RESOURCES)
    return {"p_resource": resource, "p_limit": world.memory.limits.get(resource, 20) - world.rng.randint(-1, 1)}


def _some_lease(world: World) -> dict[str, Any]:
    name = world.rng.choice(LEASES)
    return {"p_name": name, **world.lease(name)}


def _some_run(world: World) -> dict[str, Any]:
    run = world.rng.choice(RUNS)
    return {"p_run": run, **world.lease(f"run/{run}")}


def _served(world: World) -> dict[str, Any]:
    served = {world.kernel(): world.rng.randint(1, 9) for _ in range(2)}
    return {"p_report": uuid4(), "p_run": world.rng.choice(RUNS), "p_served": Jsonb(served)}


def _generation(world: World) -> dict[str, Any]:
    name = world.rng.choice(NAMES)
    return {"p_name": name, "p_generation": world.memory.generations.get(name, 1)}


def _published(world: World) -> dict[str, Any]:
    name = world.rng.choice(NAMES)
    return {"p_name": name, "p_generation": world.memory.generations.get(name, 1), "p_seq": world.rng.randint(1, 50)}


def _named(world: World) -> dict[str, Any]:
    return {"p_name": world.rng.choice(NAMES)}


def _kernel(world: World) -> dict[str, Any]:
    return {"p_kernel": world.kernel()}


def _led(function: str) -> Draw:
    """Draw mostly a kernel that a function changed not long ago: single steps seldom line up by chance."""

    def draw(world: World) -> dict[str, Any]:
        changed = world.memory.led.get(function)
        return {
            "p_kernel": world.rng.choice(changed[-4:]) if changed and world.rng.random() < _FOLLOWS else world.kernel()
        }

    return draw


def _subject(world: World) -> dict[str, Any]:
    return {"p_subject": world.subject()}


def _alias(world: World) -> dict[str, Any]:
    return {"p_name": world.rng.choice(NAMES), "p_alias": world.rng.choice(["production", "canary"])}


# Each function with how often it is called beside the others.
OPERATIONS: dict[str, tuple[int, Draw]] = {
    "current_tenant": (1, lambda _: {}),
    "current_timeline": (1, lambda _: {}),
    "submit_blueprint": (6, _submit),
    "retire_release": (2, lambda world: {**_named(world), "p_version": world.version()}),
    "record_build": (9, _build),
    "record_failed_build": (1, _fail),
    "start_evaluation": (12, _kernel),
    "record_report": (14, _report),
    "publish_kernel": (12, _kernel),
    "move_alias": (9, _move),
    "freeze_alias": (3, _alias),
    "unfreeze_alias": (4, _alias),
    "pin": (2, _subject),
    "unpin": (2, _subject),
    "require_quota": (1, lambda world: {"p_resource": world.rng.choice(RESOURCES)}),
    "lower_quota": (2, _lower),
    "raise_index": (3, _named),
    "read_index": (3, _generation),
    "index_was_published": (2, _published),
    "tell_artifact": (3, lambda world: {"p_kernel": world.kernel()}),
    "quarantine_kernel": (2, _kernel),
    "revoke_kernel": (1, _kernel),
    "retire_kernel": (7, lambda world: {**_kernel(world), "p_grace_s": world.rng.choice([0, 3600])}),
    "restore_kernel": (5, _led("retire_kernel")),
    "begin_purge": (6, _led("retire_kernel")),
    "finish_purge": (6, lambda world: {**_led("begin_purge")(world), "p_proof_digest": digest_of(str(uuid4()))}),
    "set_policy": (2, _policy),
    "kernel_uses": (1, lambda _: {}),
    "decide_kernel": (4, lambda world: {**_led("record_report")(world), "p_approved": world.rng.random() < 0.7}),
    "meter_storage": (2, lambda _: {"p_limit": 2}),
    "report_served": (3, _served),
    "import_kernels": (2, _import),
    "record_security": (2, lambda _: {}),
    "record_failed_logins": (1, lambda world: {"p_login": f"morph_{world.tenant}_compiler"}),
    "advance_relay": (3, _relay),
    "anchor_heads": (1, lambda _: {}),
    "acquire_lease": (3, lambda world: {"p_name": world.rng.choice(LEASES), "p_holder": uuid4(), "p_ttl_s": 0.05}),
    "renew_lease": (2, lambda world: {**_some_lease(world), "p_ttl_s": 0.05}),
    "release_lease": (2, _some_lease),
    "fence": (2, _some_lease),
    "seq_at": (1, lambda _: {}),
    "trace_lineage": (1, lambda world: {"p_node": f"kernel/{world.kernel()}"}),
    "impact_of": (1, _kernel),
    "search_kernels": (2, lambda _: {}),
    "open_run": (3, lambda world: {"p_run": world.rng.choice(RUNS), "p_holder": uuid4(), "p_ttl_s": 0.5}),
    "renew_run": (2, lambda world: {**_some_run(world), "p_ttl_s": 0.5}),
    "live_blobs": (1, lambda _: {"p_digests": [digest_of("blob 1")]}),
    "commit_checkpoint": (14, _commit),
    "record_restore": (2, _restore),
    "fork_branch": (2, lambda world: {**_held(world), "p_branch": world.rng.choice(["fork", "third"])}),
    "move_head": (3, lambda world: _held(world, "p_branch", "p_expected_head")),
    "tag_checkpoint": (2, lambda world: _held(world, "p_tag", "p_move")),
    "pin_checkpoint": (2, _held),
    "unpin_checkpoint": (2, _held),
    "resolve_checkpoint": (1, lambda world: {"p_run": world.rng.choice(RUNS)}),
    "find_checkpoints": (1, lambda world: {"p_run": world.rng.choice(RUNS)}),
    "checkpoint_blobs": (1, lambda world: {"p_checkpoint": world.rng.choice([*world.memory.heads.values(), uuid4()])}),
}
