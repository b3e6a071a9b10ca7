"""What a use case works with: a login a role, the object store, Redis, a signer a role; each opened when first used."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from morph_assets.config import PlatformConfig, read_config
from morph_assets.registry.connection import Claim, Registry
from morph_kernels.artifact.index import DocumentSigner
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.signer_process import SignerError, SignerProcess
from morph_kernels.artifact.trust import TrustPolicy, load_trust
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.disk_tier import DiskTier
from morph_kernels.cache.redis_tier import RedisTier
from morph_kernels.errors import MorphError
from morph_kernels.store import ObjectStore, open_store
from morph_kernels.store.fallback import FallbackStore

T = TypeVar("T")

_STORE_TIMEOUT_S = 10.0


class PlatformDownError(MorphError):
    """Nothing says where the servers are."""

    retryable: ClassVar[bool] = True

    def __init__(self, missing: str) -> None:
        super().__init__(f"no {missing} is known here: run `morph up`, or set the MORPH_*_URL of your servers")


class Connections:
    """The servers of one tenant.

    Threads may share it: each login's transactions take turns, the store and the signers may be used at once. `counts`
    holds what was done only as best effort and failed, by what it was.
    """

    def __init__(self, config: PlatformConfig) -> None:
        self.config = config
        self.tenant = config.tenant
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._registries: dict[str, Registry] = {}
        self._signers: dict[Role, _Signer] = {}
        self._store: ObjectStore | None = None
        self._cold: ObjectStore | None = None
        self._redis: RedisTier | None = None

    @classmethod
    def open(cls, config: PlatformConfig | None = None) -> Self:
        """Return the connections of the environment's platform; nothing is contacted yet.

        Raises:
            PlatformDownError: neither the environment nor an endpoints file names a database.
        """
        config = config or read_config()
        if not config.endpoints.database_urls:
            raise PlatformDownError("database")
        return cls(config)

    @property
    def home(self) -> Path:
        """The folder for what this host may keep between runs."""
        return self.config.folders.home

    def registry(self, role: str) -> Registry:
        """Return the registry as the role's login sees it.

        Raises:
            PlatformDownError: no URL is known for the role.
        """
        with self._lock:
            if role not in self._registries:
                url = self.config.endpoints.database_url(role)
                if url is None:
                    raise PlatformDownError(f"database login of the {role}")
                self._registries[role] = Registry(url, claim=Claim(self.config.claimed_actor))
            return self._registries[role]

    @property
    def store(self) -> ObjectStore:
        """The object store; kernels that are cold are read from where they lie.

        Raises:
            PlatformDownError: no URL is known for it.
        """
        cold, main = self.cold_store, self.main_store
        return main if cold is None else FallbackStore(main, cold)

    @property
    def main_store(self) -> ObjectStore:
        """The object store that loaders read, without what is cold.

        Raises:
            PlatformDownError: no URL is known for it.
        """
        with self._lock:
            if self._store is None:
                if self.config.endpoints.store_url is None:
                    raise PlatformDownError("object store")
                self._store = open_store(self.config.endpoints.store_url, timeout_s=_STORE_TIMEOUT_S)
            return self._store

    @property
    def cold_store(self) -> ObjectStore | None:
        """The place for what is cold, or None where there is none."""
        with self._lock:
            url = self.config.storage.cold_url
            if self._cold is None and url is not None:
                self._cold = open_store(url, timeout_s=_STORE_TIMEOUT_S)
            return self._cold

    @property
    def disk(self) -> DiskTier:
        """The cache that the loaders of this host and user share."""
        runtime = self.config.runtime
        return DiskTier(DiskFolder(runtime.cache_dir, tenant=self.tenant), budget_bytes=runtime.disk_budget_bytes)

    @property
    def redis(self) -> RedisTier | None:
        """The shared cache as the platform's user, or None where there is none; calls raise what its client raises."""
        with self._lock:
            endpoints = self.config.endpoints
            url = endpoints.redis_platform_url or endpoints.redis_url
            if self._redis is None and url is not None:
                self._redis = RedisTier(url, tenant=self.tenant)
            return self._redis

    def best_effort(self, what: str, work: Callable[[RedisTier], object]) -> bool:
        """Do something with the shared cache and return whether it was done; a failure is only counted, as `what`."""
        redis = self.redis
        if redis is None:
            return False
        try:
            work(redis)
        except Exception:  # noqa: BLE001 - whatever the client raises, a cache may be down
            self.counts[what] += 1
            return False
        return True

    def ask_redis(self, what: str, question: Callable[[RedisTier], T]) -> T | None:
        """Return what the shared cache answers; None where there is none, or it failed, which is counted as `what`."""
        answers: list[T] = []
        self.best_effort(what, lambda redis: answers.append(question(redis)))
        return answers[0] if answers else None

    def trust(self) -> TrustPolicy:
        """Read who may vouch for what; read anew each time, because keys are revoked while we run.

        Raises:
            PlatformDownError: no trust file is known.
            TrustError: it cannot be believed.
        """
        endpoints = self.config.endpoints
        if endpoints.trust_file is None:
            raise PlatformDownError("trust file")
        return load_trust(endpoints.trust_file, root_pin=endpoints.trust_root)

    def signer(self, role: Role) -> DocumentSigner:
        """Return the role's signer; its process starts with the first signature."""
        with self._lock:
            return self._signers.setdefault(role, _Signer(self.config.folders.keys_dir / f"{role}.pem"))

    def close(self) -> None:
        """Give every connection back and end the signers; a later use opens them again."""
        with self._lock:
            for signer in self._signers.values():
                signer.stop()
            for registry in self._registries.values():
                registry.close()
            self._signers.clear()
            self._registries.clear()
            self._store = self._cold = self._redis = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Signer:
    """A signer process that is started again once, because it ends with the thread that started it."""

    def __init__(self, key_path: Path) -> None:
        self._process = SignerProcess(key_path)

    def sign(self, document: Mapping[str, Any], /) -> bytes:
        """Return the envelope around the document.

        Raises:
            SignerError: the signer refused, or failed twice.
        """
        try:
            return self._process.sign(document)
        except SignerError as error:
            if error.refused:
                raise
            return self._process.sign(document)

    def stop(self) -> None:
        """End the process."""
        self._process.stop()
