"""Repeats what happened to runs and their checkpoints."""

from collections.abc import Iterator, Mapping

from morph_assets.registry.replay.state import ReplayedState, ToldEvent, applies


@applies("run.opened")
def opened(state: ReplayedState, event: ToldEvent) -> None:
    """A writer of a run; the run is there from its first on. Who holds the lease is not history's business."""
    state.put("run", (event.facts["run"],))


@applies("checkpoint.committed")
def committed(state: ReplayedState, event: ToldEvent) -> None:
    """A checkpoint with its blobs and kernels, at the head of its branch."""
    facts = event.facts
    checkpoint, run, branch = facts["checkpoint"], facts["run"], facts["branch"]
    for digest, location, offset, size_bytes in _blobs(facts["blobs"]):
        blob = state.put("blob", (digest,), size_bytes=size_bytes, state="live")
        blob["state"] = "live"
        state.put("blob_location", (digest, location, offset), size_bytes=size_bytes)
        state.put("checkpoint_blob", (checkpoint, digest))
    copied = ("run", "branch", "parent", "epoch", "step", "controller_version", "world_size", "manifest_digest")
    state.put(
        "checkpoint",
        (checkpoint,),
        **{column: facts[column] for column in (*copied, "manifest_key", "lease_epoch")},
        seq=event.seq,
    )
    if (run, branch) in state.tables["branch_head"]:
        state.change("branch_head", run, branch, checkpoint=checkpoint)
    else:
        state.put("branch_head", (run, branch), checkpoint=checkpoint, row_version=1)
    for kernel in facts["kernels"]:
        state.put("checkpoint_kernel", (checkpoint, kernel))
        state.link(f"checkpoint/{checkpoint}", "uses", f"kernel/{kernel}", event.seq)
    state.link(f"checkpoint/{checkpoint}", "belongs_to", f"run/{run}", event.seq)
    if facts["parent"] is not None:
        state.link(f"checkpoint/{checkpoint}", "follows", f"checkpoint/{facts['parent']}", event.seq)


@applies("run.restored")
def restored(state: ReplayedState, event: ToldEvent) -> None:
    """A run that went on from a checkpoint."""
    facts = event.facts
    state.link(f"run/{facts['run']}", "restored_from", f"checkpoint/{facts['checkpoint']}", event.seq)


@applies("branch.forked")
def forked(state: ReplayedState, event: ToldEvent) -> None:
    """A branch that begins at a checkpoint of another."""
    facts = event.facts
    run, checkpoint = facts["run"], facts["checkpoint"]
    state.put("branch_head", (run, facts["branch"]), checkpoint=checkpoint, row_version=1)
    state.link(f"run/{run}", "forked_from", f"checkpoint/{checkpoint}", event.seq)


@applies("branch.rolled_back")
def rolled_back(state: ReplayedState, event: ToldEvent) -> None:
    """A branch whose head is another one of the checkpoints that there are."""
    facts = event.facts
    state.change("branch_head", facts["run"], facts["branch"], checkpoint=facts["checkpoint"])


@applies("checkpoint.tagged")
def tagged(state: ReplayedState, event: ToldEvent) -> None:
    """A name for a checkpoint, new or moved."""
    facts = event.facts
    told = {name: facts[name] for name in ("checkpoint", "row_version")}
    state.put("checkpoint_tag", (facts["run"], facts["tag"]), **told)
    state.change("checkpoint_tag", facts["run"], facts["tag"], **told)


def _blobs(told: Mapping[str, str]) -> Iterator[tuple[str, str, int, int]]:
    for location, lines in told.items():
        for line in lines.split("\n"):
            digest, offset, size_bytes = line.split(" ")
            yield digest, location, int(offset), int(size_bytes)
