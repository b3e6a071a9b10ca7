"""Loads a committed checkpoint, checks every byte of it, and only then lets it into a training state."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import torch

from morph_kernels.checkpoint.commit import Destination
from morph_kernels.checkpoint.dtypes import parse_dtype, tensor_from_bytes
from morph_kernels.checkpoint.environment import current_environment
from morph_kernels.checkpoint.ledger import BlobLocation, CommittedCheckpoint
from morph_kernels.checkpoint.manifest import (
    MAX_MANIFEST_BYTES,
    CheckpointManifest,
    Environment,
    manifest_digest,
    parse_manifest,
)
from morph_kernels.checkpoint.optimizer import check_optimizer, load_optimizer, trainable_names
from morph_kernels.checkpoint.packs import CheckpointDamagedError, read_blobs
from morph_kernels.checkpoint.rank_part import load_rank_part
from morph_kernels.checkpoint.retry import persist
from morph_kernels.checkpoint.state import (
    Bodies,
    BodyUnavailableError,
    Graft,
    StateMismatchError,
    Topology,
    TrainingState,
)
from morph_kernels.checkpoint.tree import decode_tree
from morph_kernels.reasons import Reason
from morph_kernels.store import ObjectNotFoundError, ObjectTooLargeError
from morph_kernels.store.keys import parse_key


@dataclass(frozen=True)
class RestoreReport:
    """What was restored, and whether training from here repeats the trajectory bit for bit.

    The state is bitwise the saved one in either case; `reasons` say what makes the way from here another one.
    """

    checkpoint: UUID
    epoch: int
    step: int
    exact: bool
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint in memory, every digest checked."""

    manifest: CheckpointManifest
    tensors: Mapping[str, torch.Tensor]

    def find(self, name: str) -> torch.Tensor:
        """Return the tensor of the name."""
        return self.tensors[name]

    def blob(self, name: str) -> bytes:
        """Return the bytes that were kept under the name."""
        return self.tensors[name].numpy().tobytes()


def load_checkpoint(committed: CommittedCheckpoint, source: Destination) -> LoadedCheckpoint:
    """Read a committed checkpoint and check its manifest and every blob.

    Raises:
        CheckpointDamagedError: something is gone or differs; it names the tensor and where it was.
        ManifestError: the manifest is of a format that this version cannot read.
    """
    manifest = parse_manifest(_read_manifest(committed, source))
    places = persist(lambda: source.ledger.blobs(committed.checkpoint))
    names = {entry.digest: name for name, entry in manifest.tensors.items() if entry.size_bytes}
    for digest, name in names.items():
        if places.get(digest, _NOWHERE).size_bytes != manifest.blobs[digest].size_bytes:
            raise CheckpointDamagedError(name, "the ledger", f"blob {digest} is not among the checkpoint's")
    wanted = {digest: places[digest] for digest in names}
    blobs = dict(read_blobs(source.store, wanted, names))
    tensors = {
        name: tensor_from_bytes(blobs.get(entry.digest, b""), parse_dtype(entry.dtype), entry.shape)
        for name, entry in manifest.tensors.items()
    }
    return LoadedCheckpoint(manifest, tensors)


_NOWHERE = BlobLocation("", 0, 0)


def _read_manifest(committed: CommittedCheckpoint, source: Destination) -> bytes:
    try:
        key = parse_key(committed.manifest_key)
        data = persist(lambda: source.store.get(key, max_bytes=MAX_MANIFEST_BYTES))
    except (ObjectNotFoundError, ObjectTooLargeError) as error:
        raise CheckpointDamagedError("the manifest", committed.manifest_key, str(error)) from error
    if manifest_digest(data) != committed.manifest_digest:
        raise CheckpointDamagedError("the manifest", committed.manifest_key, "its bytes differ from its digest")
    return data


def apply_checkpoint(
    state: TrainingState, loaded: LoadedCheckpoint, *, rank: int, world_size: int, bodies: Bodies
) -> RestoreReport:
    """Bring the state to the checkpoint: topology, then optimizer and tensors, generators last.

    Raises:
        StateMismatchError: names, shapes, dtypes or trainable sets differ; no tensor was touched.
        BodyUnavailableError: bodies are pinned, and one is not to be had.
    """
    manifest = loaded.manifest
    state.rebuild(Topology(_grafts(loaded), decode_tree(manifest.seeds, loaded.find), manifest.journal, bodies))
    if bodies == "pinned":
        _check_bodies(state, manifest)
        torch.set_num_threads(manifest.environment.threads)
    model_state = _model_state(loaded)
    _check_model(state, manifest, model_state)
    check_optimizer(state.optimizer, state.model, manifest.optimizer)
    _check_names("parts", have=state.parts, want=manifest.parts)
    state.model.load_state_dict(model_state, strict=True)
    if state.optimizer is not None and manifest.optimizer is not None:
        load_optimizer(state.optimizer, state.model, manifest.optimizer, loaded.find)
    for name, part in state.parts.items():
        part.load_state_dict(decode_tree(manifest.parts[name], loaded.find))
    # Generators last: everything above may draw numbers.
    own_part = f"rank/{rank}"
    if own_part in loaded.tensors:
        load_rank_part(loaded.blob(own_part), state.data)
    return _report(state, manifest, world_size)


def _grafts(loaded: LoadedCheckpoint) -> tuple[Graft, ...]:
    return tuple(
        Graft(entry.slot, entry.name, entry.digest, loaded.blob(f"graft/{entry.slot}"), entry.body)
        for entry in loaded.manifest.grafts
    )


def _check_bodies(state: TrainingState, manifest: CheckpointManifest) -> None:
    found = {graft.slot: graft.body for graft in state.grafts()}
    for graft in manifest.grafts:
        if found.get(graft.slot) != graft.body:
            raise BodyUnavailableError(graft.slot, graft.body, str(found.get(graft.slot)))


def _model_state(loaded: LoadedCheckpoint) -> dict[str, Any]:
    prefix = "model/"
    tensors = {name[len(prefix) :]: value for name, value in loaded.tensors.items() if name.startswith(prefix)}
    return tensors | {name: decode_tree(value, loaded.find) for name, value in loaded.manifest.model_extra.items()}


def _check_model(state: TrainingState, manifest: CheckpointManifest, saved: Mapping[str, Any]) -> None:
    current = state.model.state_dict()
    _check_names("model tensors", have=current, want=saved)
    forms = {name: (_form(current[name]), _form(value)) for name, value in saved.items()}
    differing = {name: pair for name, pair in forms.items() if pair[0] != pair[1]}
    if differing:
        raise StateMismatchError(
            "forms of model tensors",
            missing=[f"{name}: {have}" for name, (have, _) in differing.items()],
            unexpected=[f"{name}: {want}" for name, (_, want) in differing.items()],
        )
    _check_names("trainable parameters", have=trainable_names(state.model), want=manifest.trainable)
    grafts = {f"{graft.slot}: {graft.digest}" for graft in state.grafts()}
    _check_names("grafts", have=grafts, want={f"{graft.slot}: {graft.digest}" for graft in manifest.grafts})


def _form(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, torch.Tensor) else "extra state"


def _check_names(what: str, *, have: Any, want: Any) -> None:
    if set(have) != set(want):
        missing, unexpected = sorted(set(have) - set(want)), sorted(set(want) - set(have))
        raise StateMismatchError(what, missing=missing, unexpected=unexpected)


def _report(state: TrainingState, manifest: CheckpointManifest, world_size: int) -> RestoreReport:
    found = {graft.slot: graft.body for graft in state.grafts()}
    wanted = {graft.slot: graft.body for graft in manifest.grafts}
    reasons = plan_reasons(
        manifest.environment,
        current_environment(),
        same_bodies=found == wanted,
        same_world=world_size == manifest.world_size,
    )
    return RestoreReport(manifest.checkpoint, manifest.epoch, manifest.step, not reasons, reasons)


def plan_reasons(saved: Environment, here: Environment, *, same_bodies: bool, same_world: bool) -> tuple[Reason, ...]:
    """Return what makes the trajectory from here another one than the saved run's."""
    facts = {
        Reason.BODY_CHANGED: same_bodies,
        Reason.THREADS_CHANGED: saved.threads == here.threads,
        Reason.ISA_CHANGED: saved.isa == here.isa,
        Reason.TORCH_CHANGED: saved.torch == here.torch,
        Reason.WORLD_SIZE_CHANGED: same_world,
    }
    return tuple(reason for reason, holds in facts.items() if not holds)
