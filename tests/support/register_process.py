"""A process that takes a finished build in: `python -m tests.support.register_process BUNDLE`."""

import sys
from pathlib import Path

from morph_assets.platform import Platform
from morph_assets.registry.held_lease import hold_lease
from morph_assets.usecases.register_build import register_build
from morph_kernels.artifact.bundle import decode_bundle
from morph_kernels.artifact.manifest import parse_manifest
from morph_kernels.compile.builder import BuiltKernel

LEASE_S = 1.0


def main(path: Path) -> None:
    """Register the bundle in the file, under a short lease."""
    bundle = decode_bundle(path.read_bytes())
    manifest = parse_manifest(bundle.manifest)
    with (
        Platform.connect() as platform,
        hold_lease(platform.connections.registry("compiler"), f"build/{manifest.build_key}", ttl_s=LEASE_S) as lease,
    ):
        assert lease is not None
        register_build(platform.connections, BuiltKernel(manifest, bundle, 1.0, 1.0, ""), lease)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
