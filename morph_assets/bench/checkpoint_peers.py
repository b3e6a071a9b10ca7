"""How others save: torch.save and safetensors as a careful person calls them, and torch's distributed checkpoint."""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

from morph_assets.bench.checkpoint_state import BenchState
from morph_assets.bench.checkpoint_ways import Wait, Way
from morph_kernels.durable_file import flush


@contextmanager
def open_peers(state: BenchState, base: Path) -> Iterator[list[Way]]:
    """Yield everybody else's ways that are installed here."""
    # Of one rank; the distributed checkpoint's asynchronous process wants a group to be there.
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]  # torch re-exports it by star
    ways: list[Way] = [DcpWay(mode, state, base / mode) for mode in ("sync", "async thread", "async process")]
    if importlib.util.find_spec("safetensors") is not None:
        ways.append(SafetensorsWay(state, base / "safetensors"))
    ways.append(TorchWay(state, base / "torch"))
    try:
        yield ways
    finally:
        for way in ways:
            way.close()
        dist.destroy_process_group()


class _FileWay:
    """One file a save, replaced as a careful person would: written beside, flushed, renamed, the folder flushed."""

    name: str
    guarantees = "durable, all or nothing, not verified"

    def __init__(self, state: BenchState, folder: Path) -> None:
        self.folder = folder
        self._state = state
        self._file = folder / "checkpoint"
        folder.mkdir()

    def save(self) -> Wait:
        draft = self.folder / "draft"
        self._write(draft)
        flush(draft)
        draft.replace(self._file)
        flush(self.folder)
        return lambda: None

    def forget(self) -> None:
        self._file.unlink(missing_ok=True)

    def close(self) -> None:
        return

    def _write(self, draft: Path) -> None:
        raise NotImplementedError


class TorchWay(_FileWay):
    """`torch.save` of both state dicts."""

    name = "torch.save + fsync"

    def restore(self) -> None:
        """Read without executing anything, and load."""
        document = torch.load(self._file, weights_only=True)
        self._state.model.load_state_dict(document["model"])
        self._state.trained.load_state_dict(document["optimizer"])

    def _write(self, draft: Path) -> None:
        torch.save(self._state.document(), draft)


class SafetensorsWay(_FileWay):
    """All tensors in one safetensors file; of the optimizer nothing else."""

    name = "safetensors + fsync"

    def restore(self) -> None:
        """Read and copy into the live tensors."""
        from safetensors.torch import load_file

        live = self._state.named()
        with torch.no_grad():
            for name, tensor in load_file(self._file).items():
                live[name].copy_(tensor)

    def _write(self, draft: Path) -> None:
        from safetensors.torch import save_file

        save_file(self._state.named(), draft)


class DcpWay:
    """torch's distributed checkpoint, a new folder a save, with a stager that keeps its memory as ours does."""

    # strace: both files are flushed, the folder that names them is not.
    guarantees = "files flushed but not their names, all or nothing in a new folder only, not verified"

    def __init__(self, mode: str, state: BenchState, folder: Path) -> None:
        from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

        self.name, self.folder = f"DCP {mode}", folder
        self._mode, self._state, self._count = mode, state, 0
        shared = mode == "async process"
        self._stager = None if mode == "sync" else DefaultStager(StagingOptions(False, shared, False, False))
        folder.mkdir()

    def save(self) -> Wait:
        """Save, or stage and leave the rest to a thread or a process."""
        from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType, async_save, save

        self._count += 1
        target = str(self.folder / str(self._count))
        if self._stager is None:
            save(self._state.document(), checkpoint_id=target)
            return lambda: None
        by = AsyncCheckpointerType.PROCESS if self._mode == "async process" else AsyncCheckpointerType.THREAD
        future: Any = async_save(
            self._state.document(), checkpoint_id=target, async_checkpointer_type=by, async_stager=self._stager
        )
        wait: Wait = future.result
        return wait

    def restore(self) -> None:
        """Read into the live tensors."""
        from torch.distributed.checkpoint.state_dict_loader import load

        load(self._state.document(), checkpoint_id=str(self.folder / str(self._count)))

    def forget(self) -> None:
        """Remove the folder of the newest save."""
        shutil.rmtree(self.folder / str(self._count), ignore_errors=True)

    def close(self) -> None:
        """Free what was staged."""
        if self._stager is not None:
            self._stager.close()
