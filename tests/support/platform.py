"""A whole platform for one test: a tenant in the real registry, a store, Redis and keys of its own."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from morph_assets.config import ROLES, ExternalServers, PlatformConfig, PlatformFolders
from morph_assets.platform import Platform
from morph_assets.registry.evaluations import record_report, start_evaluation
from morph_assets.registry.held_lease import hold_lease
from morph_assets.registry.kernels import KernelRecord, list_attestations
from morph_assets.usecases.publish_kernel import PublishedKernel
from morph_assets.usecases.register_build import register_build
from morph_assets.usecases.start_platform import StartedPlatform
from morph_kernels.artifact.attestation import Policy, verification_summary
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.target import current_runtime
from morph_kernels.artifact.trust import KEYS_NAME, TRUST_NAME, create_trust
from morph_kernels.compile.builder import BuiltKernel
from morph_kernels.identity import BlobDigest
from morph_kernels.loader import KernelLoader
from morph_kernels.settings import ENDPOINTS_FORMAT, ENDPOINTS_NAME, Endpoints, RuntimeSettings
from tests.support.kernels import KernelBuilder, TestKernel
from tests.support.registry import TestTenant, report_on
from tests.support.services import valkey_url


@dataclass
class TestPlatform:
    """A platform and what it stands on."""

    __test__ = False

    platform: Platform
    config: PlatformConfig
    build: KernelBuilder

    def other(self, **endpoints: object) -> Platform:
        """Return another process's view of it, with some endpoints changed."""
        changed = replace(self.config.endpoints, **endpoints)  # type: ignore[arg-type]  # any field
        return Platform.connect(replace(self.config, endpoints=changed))

    def compiled(self, name: str = "ffn_gelu") -> tuple[TestKernel, KernelRecord]:
        """Submit a shipped blueprint and register a kernel of it that the test session compiled already."""
        kernel = self.build(name)
        self.platform.submit_blueprint(kernel.blueprint)
        return kernel, self.register(kernel)

    def register(self, kernel: TestKernel, platform: Platform | None = None) -> KernelRecord:
        """Take a compiled kernel in, as the end of a build does."""
        connections = (platform or self.platform).connections
        built = BuiltKernel(kernel.manifest, kernel.bundle, wall_s=12.5, cpu_s=19.2, log="done")
        with hold_lease(connections.registry("compiler"), f"build/{kernel.manifest.build_key}") as lease:
            assert lease is not None
            return register_build(connections, built, lease)

    def judged(self, name: str = "ffn_gelu", *, verdict: str = "pass") -> tuple[TestKernel, KernelRecord]:
        """A registered kernel on which the evaluator has spoken, over its own signer, without the work of measuring."""
        kernel, record = self.compiled(name)
        connections = self.platform.connections
        registry = connections.registry("evaluator")
        summary = verification_summary(
            record.digest,
            BlobDigest(list_attestations(registry, record.digest)[0].envelope_digest),
            tenant=connections.tenant,
            runtime=current_runtime(),
            policy=Policy("urn:morph-assets:policy:test", BlobDigest("c" * 64)),
            result="PASSED",
            verifier_id="urn:morph-assets:evaluator:test",
            verified_at=datetime.now(UTC),
        )
        attestation = connections.signer(Role.EVALUATOR).sign(summary) if verdict == "pass" else None
        start_evaluation(registry, record.digest)
        record_report(registry, report_on(record.digest, verdict, attestation=attestation))
        return kernel, self.platform.find_kernel(record.digest)

    def published(self, name: str = "ffn_gelu") -> tuple[TestKernel, PublishedKernel]:
        """A kernel in service."""
        kernel, _ = self.judged(name)
        return kernel, self.platform.publish_kernel(name)

    def loader(self, host: str = "host", **endpoints: object) -> KernelLoader:
        """Return the loader of a host with a disk of its own."""
        changed = replace(self.config.endpoints, **endpoints)  # type: ignore[arg-type]  # any field
        cache = self.config.folders.home / host
        return KernelLoader(
            RuntimeSettings(
                endpoints=changed, tenant=self.config.tenant, cache_dir=cache, deadline_s=5.0, refresh_s=0.001
            )
        )

    def environment(self) -> dict[str, str]:
        """Return the variables by which a process of its own finds this platform."""
        endpoints = self.config.endpoints
        document = {
            "format": ENDPOINTS_FORMAT,
            "store_url": endpoints.store_url,
            "redis_url": endpoints.redis_url,
            "database_urls": dict(endpoints.database_urls),
            "trust_file": str(endpoints.trust_file),
        }
        home = self.config.folders.home
        (home / ENDPOINTS_NAME).write_text(json.dumps(document))
        return {"MORPH_HOME": str(home), "MORPH_TENANT": self.config.tenant}

    @property
    def objects(self) -> Path:
        """The folder of the object store."""
        return self.config.folders.home / "objects"


@contextmanager
def open_test_platform(
    tenant: TestTenant, services: StartedPlatform, build: KernelBuilder, kernel_cache: Path
) -> Iterator[TestPlatform]:
    """Open a platform of the tenant's; headers are shared with the session's other builds."""
    home = Path(tempfile.mkdtemp(prefix="morph-platform-"))
    create_trust(home / "trust")
    (kernel_cache / "headers").mkdir(exist_ok=True)
    (home / "headers").symlink_to(kernel_cache / "headers")
    config = PlatformConfig(
        folders=PlatformFolders(home, home, home / "dagster", home / "trust" / KEYS_NAME),
        external=ExternalServers(),
        endpoints=Endpoints(
            home=home,
            store_url=f"file://{home}/objects",
            redis_url=valkey_url(services),
            database_urls={role: tenant.url(role) for role in ROLES},
            trust_file=home / "trust" / TRUST_NAME,
        ),
        tenant=tenant.name,
        runtime=RuntimeSettings(cache_dir=home / "cache", refresh_s=0.001),
    )
    with Platform.connect(config) as platform:
        yield TestPlatform(platform, config, build)
    shutil.rmtree(home)


@pytest.fixture
def made_platform(tenant, running_services, compiled: KernelBuilder, kernel_cache: Path) -> Iterator[TestPlatform]:
    """A platform that nobody else uses."""
    with open_test_platform(tenant, running_services, compiled, kernel_cache) as made:
        yield made
