"""The ground of the registry's benchmark: servers in a private folder, tenants, and made-up kernels by the thousand."""

import random
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from morph_assets.config import PlatformConfig, PlatformFolders, read_config
from morph_assets.platform import Platform
from morph_assets.registry.evaluations import Measurement
from morph_assets.registry.import_batch import ImportBatch, ImportedKernel, ImportedRelease, ImportedReport
from morph_assets.registry.tenants import create_tenant, tenant_url
from morph_assets.usecases.find_operator_access import find_operator_access
from morph_assets.usecases.start_platform import start_platform
from morph_assets.usecases.stop_platform import stop_platform
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.identity import BlobDigest, BlueprintDigest, BuildKey, KernelDigest
from morph_kernels.store.keys import bundle_key

HARDWARE = ("amd-epyc-9b14", "intel-xeon")
SHAPE_CLASS = "batch=8/threads=1"
TAGS = 200
BATCH_KERNELS = 500
KERNELS_A_BLUEPRINT = 200
GENERATIONS = 6
_ROLES = ("platform", "publisher", "trainer", "controller", "auditor", "curator", "admin", "evaluator")


@dataclass(frozen=True)
class BenchTenant:
    """A tenant and the URL of each of its logins."""

    name: str
    urls: dict[str, str]


@dataclass(frozen=True)
class BenchGround:
    """Servers that nobody else uses, and who is on them."""

    config: PlatformConfig
    operator_url: str
    tenants: tuple[BenchTenant, ...]

    def platform(self) -> Platform:
        """Return the first tenant's platform."""
        return Platform.connect(self.config)


@contextmanager
def open_ground(tenants: int) -> Iterator[BenchGround]:
    """Start servers in a folder of their own, which goes with them in the end."""
    # Among the temporary files: a socket's path has at most 107 bytes, and a project's folder may be deep.
    base = Path(tempfile.mkdtemp(prefix="morph-bench-"))
    home = base / ".morph"
    folders = PlatformFolders(home, base, home / "dagster", home / "trust" / "keys")
    names = [f"tenant{number}" for number in range(tenants)]
    try:
        start_platform(folders, tenant=names[0])
        operator = find_operator_access(folders).morph_url
        config = read_config({"MORPH_HOME": str(home), "MORPH_TENANT": names[0]}, start=base)
        config = replace(config, folders=folders)
        first = BenchTenant(names[0], dict(config.endpoints.database_urls))
        yield BenchGround(config, operator, (first, *(_make_tenant(operator, name) for name in names[1:])))
    finally:
        stop_platform(folders)
        shutil.rmtree(base)


def _make_tenant(operator_url: str, name: str) -> BenchTenant:
    passwords = {role: secrets.token_hex(16) for role in _ROLES}
    create_tenant(operator_url, name, passwords)
    return BenchTenant(name, {role: tenant_url(operator_url, name, role, passwords[role]) for role in _ROLES})


def iter_batches(tenant: str, kernels: int, *, seed: int) -> Iterator[ImportBatch]:
    """Yield batches of made-up kernels: 5 to 9 of 200 tags with a long tail, blueprints in families of six generations.

    Times are spread over two orders of magnitude; one kernel in three is for another device.
    """
    chance = random.Random(seed)  # noqa: S311 - the same library every time
    parent: tuple[BlueprintDigest, ...] = ()
    blueprint = BlueprintDigest("")
    for start in range(0, kernels, BATCH_KERNELS):
        releases: list[ImportedRelease] = []
        made: list[ImportedKernel] = []
        for number in range(start, min(start + BATCH_KERNELS, kernels)):
            if number % KERNELS_A_BLUEPRINT == 0:
                generation = number // KERNELS_A_BLUEPRINT % GENERATIONS
                place = number // KERNELS_A_BLUEPRINT
                release = ImportedRelease(f"blueprint-{place}", _document(place), parents=parent if generation else ())
                releases.append(release)
                blueprint = release.blueprint_digest
                parent = (blueprint,)
            made.append(_kernel(tenant, number, blueprint, chance))
        yield ImportBatch(tuple(releases), tuple(made))


def _document(place: int) -> bytes:
    """Return the design of a small block that no other place has."""
    width = 64 + place
    return canonical_bytes(
        {
            "format": 1,
            "symbols": {"batch": [1, 1024]},
            "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 64]}],
            "outputs": [{"name": "y", "dtype": "float32", "shape": ["batch", 64], "value": "down"}],
            "nodes": [
                _linear("up", "x", 64, width),
                {"id": "activation", "op": "gelu", "inputs": ["up"]},
                _linear("down", "activation", width, 64),
            ],
        }
    )


def _linear(name: str, source: str, width_in: int, width_out: int) -> dict[str, object]:
    widths = {"in_features": width_in, "out_features": width_out}
    return {"id": name, "op": "linear", "inputs": [source], "attributes": widths}


def kernel_digest(tenant: str, number: int) -> KernelDigest:
    """Return the digest of the made-up kernel of a number."""
    return KernelDigest(sha256_hex(f"{tenant} {number}".encode()))


def pick_tags(chance: random.Random, count: int, *, least: int = 0, most: int = TAGS) -> tuple[str, ...]:
    """Return so many distinct tags; low numbers are common, high ones rare."""
    return tuple(f"tag{number}" for number in chance.sample(range(least, most), count))


def _kernel(tenant: str, number: int, blueprint: BlueprintDigest, chance: random.Random) -> ImportedKernel:
    digest = kernel_digest(tenant, number)
    device, isa = ("cuda", "sm_90") if number % 3 == 0 else ("cpu", "x86-64-v3")
    bundle = BlobDigest(sha256_hex(f"{tenant} {number} bundle".encode()))
    return ImportedKernel(
        digest=digest,
        blueprint_digest=blueprint,
        build_key=BuildKey(sha256_hex(f"{tenant} {number} key".encode())),
        target={"device": device, "isa": isa, "dtype": ("float32", "bfloat16")[number % 2], "torch": "2.13.0"},
        toolchain="g++ 12.2.0",
        pipeline="standard",
        recipe_version=1,
        size_bytes=chance.randrange(500_000, 1_500_000),
        bundle_digest=bundle,
        bundle_key=bundle_key(tenant, digest),
        bundle_bytes=220_000,
        provenance=f"provenance of {digest}".encode(),
        report=_report(tenant, number, chance, device, isa),
    )


def _report(tenant: str, number: int, chance: random.Random, device: str, isa: str) -> ImportedReport:
    latency_us = round(20 * 100 ** chance.random(), 2)
    tags = {f"tag{int(TAGS * chance.random() ** 3)}" for _ in range(5 + number % 5)}
    return ImportedReport(
        report_id=UUID(bytes=chance.randbytes(16), version=4),
        suite="bench",
        body=f'{{"bench":"{tenant} {number}"}}'.encode(),
        torch="2.13.0",
        device=device,
        isa=isa,
        attestation=f"verification of {tenant} {number}".encode(),
        measurements=(
            Measurement("latency_us", latency_us, "us", hardware=HARDWARE[number % 2]),
            Measurement("step_us", latency_us * 0.7, "us", shape_class=SHAPE_CLASS, hardware=HARDWARE[number % 2]),
            Measurement("memory_bytes", float(chance.randrange(1_000_000, 1_000_000_000)), "B"),
            Measurement("risk", round(chance.random(), 3), "1"),
        ),
        tags=tuple(sorted((*tags, f"device:{device}"))),
    )
