"""Repeats how kernels went: policies, tombstones, what came back from them, and what is gone."""

from typing import Any

from morph_assets.registry.replay.state import ReplayedState, ToldEvent, applies

_GONE = {"purge_seq": None, "purged_seq": None, "proof_digest": None, "proof_key": None}


@applies("policy.changed")
def policy_changed(state: ReplayedState, event: ToldEvent) -> None:
    """A rule by which kernels go."""
    columns = {name: value for name, value in event.facts.items() if name != "name"}
    state.put("retention_policy", (event.facts["name"],), **columns)
    state.change("retention_policy", event.facts["name"], **columns)


@applies("kernel.retired")
def retired(state: ReplayedState, event: ToldEvent) -> None:
    """A kernel out of use; before there were tombstones, it could not come back."""
    facts = event.facts
    state.change("kernel", facts["kernel_digest"], state="RETIRED", state_reason=facts["reason"])
    if "grace_until_us" in facts:
        told = {name: facts[name] for name in ("restores_to", "reason", "policy", "grace_until_us")}
        state.put("tombstone", (facts["kernel_digest"],), **told, **_GONE)


@applies("kernel.restored")
def restored(state: ReplayedState, event: ToldEvent) -> None:
    """A kernel that came back."""
    digest = event.facts["kernel_digest"]
    state.change("kernel", digest, state=event.facts["to"], state_reason=event.facts["reason"])
    state.drop("tombstone", digest)


@applies("kernel.purge_started")
def purge_started(state: ReplayedState, event: ToldEvent) -> None:
    """A kernel that cannot come back, and the objects that go with it."""
    digest = event.facts["kernel_digest"]
    state.change("tombstone", digest, purge_seq=event.seq)
    for doomed in event.facts["objects"]:
        state.put("doomed_object", (digest, doomed["kind"], doomed["digest"]), size_bytes=doomed["size_bytes"])


@applies("kernel.purged")
def purged(state: ReplayedState, event: ToldEvent) -> None:
    """A kernel of which the name, the builds and the proof are left."""
    facts = event.facts
    digest, gone = facts["kernel_digest"], facts["rows"]
    state.change("kernel", digest, state="PURGED")
    for place in gone["latencies"]:
        state.drop("kernel_latency", digest, *place)
    for key in gone["measurements"]:
        state.drop("measurement", *key)
    for envelope in gone["attestations"]:
        state.drop("attestation", digest, envelope)
    for report in gone["reports"]:
        state.drop("report", report)
    for location in gone["locations"]:
        state.drop("blob_location", *location)
    for key in [key for key in state.tables["doomed_object"] if key[0] == digest]:
        _, kind, content = key
        if kind == "bundle":
            state.change("blob", content, state="dead")
        state.drop("doomed_object", *key)
    for key in gone["edges"]:
        state.change("edge", *key, until_seq=event.seq)
    told = {name: facts[name] for name in ("proof_digest", "proof_key")}
    state.change("tombstone", digest, purged_seq=event.seq, **told)


def build_again(state: ReplayedState, digest: str, bundle: dict[str, Any]) -> None:
    """Bring back a kernel whose very bits were built again after it was gone."""
    unmeasured = dict.fromkeys(("speed_ratio", "latency_us", "memory_bytes", "risk"))
    state.change("kernel", digest, **bundle, **unmeasured, state="COMPILED", state_reason="", tags=[])
    state.drop("tombstone", digest)
