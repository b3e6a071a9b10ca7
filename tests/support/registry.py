"""A migrated registry in the embedded PostgreSQL, tenants of their own for tests, and a short way to a built kernel."""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from morph_assets.registry.blueprints import SubmittedRelease, submit_blueprint
from morph_assets.registry.builds import BuildCost, CompiledKernel, record_build
from morph_assets.registry.connection import Registry
from morph_assets.registry.evaluations import EvaluationReport, Measurement, record_report, start_evaluation
from morph_assets.registry.kernels import KernelRecord, find_kernel, publish_kernel
from morph_assets.registry.migrate import migrate
from morph_assets.registry.tenants import create_tenant, login_name
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.identity import BlobDigest, BlueprintDigest, BuildKey, KernelDigest, ObjectKey
from tests.support.services import bootstrap_url

TARGET = {"device": "cpu", "isa": "x86-64-v3", "dtype": "float32", "mode": "train", "torch": "2.13.0"}


def digest_of(text: str) -> str:
    """A digest that stands for something."""
    return hashlib.sha256(text.encode()).hexdigest()


def document_of(text: str) -> tuple[BlueprintDigest, bytes]:
    """Bytes that pass for a blueprint's, with their digest."""
    document = canonical_bytes({"nodes": [text]})
    return BlueprintDigest(sha256_hex(document)), document


def compiled(blueprint: BlueprintDigest, text: str = "kernel", **changes) -> CompiledKernel:
    """A build's outcome; the same text is the same kernel, but another run of the compiler."""
    facts = {
        "digest": KernelDigest(digest_of(f"{blueprint} {text}")),
        "blueprint_digest": blueprint,
        "build_key": BuildKey(digest_of(f"{blueprint} {text} key")),
        "target": TARGET,
        "toolchain": "g++ 12.2.0",
        "pipeline": "standard",
        "recipe_version": 1,
        "size_bytes": 700_000,
        "bundle_digest": BlobDigest(digest_of(f"{blueprint} {text} bundle")),
        "bundle_key": ObjectKey(f"t/bundles/{digest_of(text)}"),
        "bundle_bytes": 220_000,
        "provenance": f"provenance of {text}".encode(),
        "cost": BuildCost(cpu_s=19.2, wall_s=12.5, isolation="bubblewrap", log_tail="done"),
    }
    return CompiledKernel(**(facts | changes))


def report_on(kernel: KernelDigest, verdict: str = "pass", **changes) -> EvaluationReport:
    """What an evaluation says."""
    facts = {
        "kernel": kernel,
        "suite": "numerics",
        "verdict": verdict,
        "body": canonical_bytes({"verdict": verdict}),
        "torch": "2.13.0",
        "device": "cpu",
        "isa": "x86-64-v3",
        "measurements": (Measurement("speed_ratio", 1.8, "x"), Measurement("latency_us", 52.0, "us")),
        "tags": ("mlp", "fast"),
        "attestation": b"verification" if verdict == "pass" else None,
    }
    return EvaluationReport(**(facts | changes))


def state_of(tenant: "TestTenant", kernel: KernelRecord) -> str:
    """Return the state that the registry says the kernel is in."""
    return find_kernel(tenant.registry("controller"), digest=kernel.digest).state


@dataclass
class TestTenant:
    """A tenant nobody else uses; its logins come with their first use."""

    __test__ = False

    admin_url: str = field(repr=False)
    name: str
    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    _registries: dict[str, Registry] = field(default_factory=dict, repr=False)
    _stack: ExitStack = field(default_factory=ExitStack, repr=False)

    def url(self, role: str) -> str:
        """The URL that logs in as the role."""
        if role not in self.passwords:
            self.passwords[role] = secrets.token_hex(8)
            create_tenant(self.admin_url, self.name, {role: self.passwords[role]})
        return make_conninfo(self.admin_url, user=login_name(self.name, role), password=self.passwords[role])

    def registry(self, role: str) -> Registry:
        """The role's registry."""
        if role not in self._registries:
            self._registries[role] = self._stack.enter_context(Registry.open(self.url(role)))
        return self._registries[role]

    def connect(self, role: str) -> psycopg.Connection:
        """A raw connection of the role, each statement its own transaction."""
        return self._stack.enter_context(psycopg.connect(self.url(role), autocommit=True))

    def close(self) -> None:
        """Close every connection."""
        self._stack.close()

    def submitted(self, name: str = "ffn_gelu", text: str = "blueprint") -> SubmittedRelease:
        """A submitted blueprint."""
        digest, document = document_of(text)
        return submit_blueprint(self.registry("platform"), name, digest, document, author="ada")

    def built(self, text: str = "kernel", *, name: str = "ffn_gelu", blueprint: str = "blueprint") -> KernelRecord:
        """A compiled kernel of a submitted blueprint."""
        release = self.submitted(name, blueprint)
        return record_build(self.registry("compiler"), compiled(release.blueprint_digest, text))

    def evaluated(self, text: str = "kernel", *, verdict: str = "pass", **where) -> KernelRecord:
        """A kernel with a verdict."""
        kernel = self.built(text, **where)
        start_evaluation(self.registry("evaluator"), kernel.digest)
        attestation = f"verification {text}".encode() if verdict == "pass" else None
        record_report(self.registry("evaluator"), report_on(kernel.digest, verdict, attestation=attestation))
        return kernel

    def published(self, text: str = "kernel", **where) -> KernelRecord:
        """A kernel in service."""
        kernel = self.evaluated(text, **where)
        publish_kernel(self.registry("publisher"), kernel.digest)
        return kernel


@pytest.fixture(scope="module")
def registry_database(running_services) -> Iterator[str]:
    """The superuser's URL of a migrated database that the module has to itself."""
    name = f"registry_{secrets.token_hex(6)}"
    with psycopg.connect(bootstrap_url(running_services, "postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        migrate(bootstrap_url(running_services, name))
        yield bootstrap_url(running_services, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def tenant(registry_database) -> Iterator[TestTenant]:
    """A tenant of the test's own."""
    made = TestTenant(registry_database, f"t{uuid4().hex[:12]}")
    yield made
    made.close()


@pytest.fixture
def other_tenant(registry_database) -> Iterator[TestTenant]:
    """Another tenant in the same database."""
    made = TestTenant(registry_database, f"o{uuid4().hex[:12]}")
    yield made
    made.close()
