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


def _blobs(told: Mapping[str, str]) -> Iterator[tuple[str, str, int, int]]:
    for location, lines in told.items():
        for line in lines.split("\n"):
            digest, offset, size_bytes = line.split(" ")
            yield digest, location, int(offset), int(size_bytes)
