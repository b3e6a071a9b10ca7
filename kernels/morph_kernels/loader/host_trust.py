"""Whom this host believes: the trust file's version, or a later one that the host has seen before.

The latest version seen lies in the host's private cache, one file a root: a trust file that goes back, by a backup or
by somebody who wants a revoked key again, is refused and the later one goes on. A file of another root is another
history; who must not accept one pins the root (`MORPH_TRUST_ROOT`).
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from morph_kernels.artifact.trust import TrustError, TrustPolicy, parse_trust, read_trust
from morph_kernels.artifact.trust_policy import MAX_TRUST_BYTES
from morph_kernels.cache.counts import Counts
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.disk_folder import DiskFolder, write_soon
from morph_kernels.cache.private_file import read_bounded
from morph_kernels.durable_file import replace_file
from morph_kernels.reasons import Reason
from morph_kernels.settings import RuntimeSettings

_FOLDER = "trust"
_NOBODY = TrustPolicy(keys={})


class HostTrust:
    """What a process believes; looked for anew every `refresh_s`, so that a long run learns of rotated keys.

    Nothing raises here: without a trust file that can be believed nobody is trusted for as long as the process
    lives; where there was one, it goes on. `counts` says what was refused.
    """

    def __init__(
        self,
        settings: RuntimeSettings,
        folder: DiskFolder,
        counts: Counts,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._pin = settings.endpoints.trust_file, settings.endpoints.trust_root
        self._allow_development, self._refresh_s = settings.allow_development_keys, settings.refresh_s
        self._folder, self._counts, self._clock = folder, counts, clock
        self._lock = threading.Lock()
        self._stamp = _stamp(self._path)
        self._looked_at = clock()
        self._current = self._read()

    @property
    def is_known(self) -> bool:
        """Whether there was a trust file that can be believed."""
        return self._current is not None

    def current(self) -> TrustPolicy:
        """Return who is believed now; the same object while nothing changed."""
        if self._clock() - self._looked_at >= self._refresh_s and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._current or _NOBODY

    def _look(self) -> None:
        self._looked_at = self._clock()
        stamp = _stamp(self._path)
        if stamp == self._stamp or self._current is None:
            return
        self._stamp = stamp
        found = self._read()
        if found is not None and found != self._current:
            self._current = found

    def _read(self) -> TrustPolicy | None:
        if self._path is None:
            return None
        try:
            data = read_trust(self._path)
            policy = self._parse(data, self._pin)
        except TrustError:
            self._counts.add(f"trust:{Reason.NO_TRUST}")
            return None
        seen = self._latest_seen(policy)
        if seen is not None and seen.version > policy.version:
            self._counts.add(f"trust:{Reason.TRUST_ROLLED_BACK}")
            return seen
        if seen is None or seen.version < policy.version:
            self._remember(policy, data)
        return policy

    def _latest_seen(self, policy: TrustPolicy) -> TrustPolicy | None:
        try:
            data = read_bounded(self._folder.open(_FOLDER) / _file_name(policy), MAX_TRUST_BYTES)
            return self._parse(data, policy.root_public_hex)
        except FileNotFoundError:
            return None
        except TrustError:
            self._counts.add(f"trust:{Reason.MALFORMED}")
        except OSError:
            self._counts.add(f"trust:{Reason.DISK_UNUSABLE}")
        return None

    def _remember(self, policy: TrustPolicy, data: bytes) -> None:
        """Keep the version as the latest seen, unless another process of this host kept a later one."""

        def write(deadline: Deadline) -> None:
            with self._folder.writing(_FOLDER, deadline) as folder:
                seen = self._latest_seen(policy)
                if seen is None or seen.version < policy.version:
                    replace_file(folder / _file_name(policy), data)

        write_soon(write, failed=lambda: self._counts.add(f"trust:{Reason.DISK_UNUSABLE}"))

    def _parse(self, data: bytes, pin: str | None) -> TrustPolicy:
        return parse_trust(data, root_pin=pin, allow_development=self._allow_development)


def _file_name(policy: TrustPolicy) -> str:
    return f"{policy.root_public_hex}.json"


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)
