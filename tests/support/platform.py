"""A whole platform for one test: a tenant in the real registry, a store, Redis and keys of its own."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from morph_assets.config import ROLES, ExternalServers, PlatformConfig, PlatformFolders
from morph_assets.platform import Platform
from morph_assets.registry.held_lease import hold_lease
from morph_assets.registry.kernels import KernelRecord
from morph_assets.usecases.register_build import register_build
from morph_kernels.artifact.trust import KEYS_NAME, TRUST_NAME, create_trust
from morph_kernels.compile.builder import BuiltKernel
from morph_kernels.settings import Endpoints, read_endpoints
from tests.support.kernels import KernelBuilder, TestKernel


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

    @property
    def objects(self) -> Path:
        """The folder of the object store."""
        return self.config.folders.home / "objects"


@pytest.fixture
def made_platform(tenant, running_services, compiled: KernelBuilder, kernel_cache: Path) -> Iterator[TestPlatform]:
    """A platform that nobody else uses; headers are shared with the session's other builds."""
    home = Path(tempfile.mkdtemp(prefix="morph-platform-"))
    create_trust(home / "trust")
    (kernel_cache / "headers").mkdir(exist_ok=True)
    (home / "headers").symlink_to(kernel_cache / "headers")
    served = read_endpoints({"MORPH_HOME": str(running_services.layout.home)})
    config = PlatformConfig(
        folders=PlatformFolders(home, home, home / "dagster", home / "trust" / KEYS_NAME),
        external=ExternalServers(),
        endpoints=Endpoints(
            home=home,
            store_url=f"file://{home}/objects",
            redis_url=served.redis_url,
            database_urls={role: tenant.url(role) for role in ROLES},
            trust_file=home / "trust" / TRUST_NAME,
        ),
        tenant=tenant.name,
    )
    with Platform.connect(config) as platform:
        yield TestPlatform(platform, config, compiled)
    shutil.rmtree(home)
