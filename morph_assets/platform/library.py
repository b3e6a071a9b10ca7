"""The way of a blueprint and its kernels: submitted, compiled, evaluated, published, found."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from morph_assets.platform.connected import Connected
from morph_assets.registry.aliases import AliasMove
from morph_assets.registry.blueprints import ReleaseRecord, SubmittedRelease, list_blueprints
from morph_assets.registry.kernels import KernelRecord, list_kernels
from morph_assets.registry.search import KernelPage, KernelQuery, search_kernels
from morph_assets.usecases.adopt_blueprint import adopt_blueprint
from morph_assets.usecases.compile_kernel import CompiledKernel, compile_kernel
from morph_assets.usecases.count_builds import count_builds
from morph_assets.usecases.evaluate_kernel import EvaluatedKernel, evaluate_kernel
from morph_assets.usecases.export_kernels import export_kernels
from morph_assets.usecases.find_kernel import find_kernel
from morph_assets.usecases.freeze_alias import freeze_alias
from morph_assets.usecases.import_kernels import ImportedKernels, import_kernels
from morph_assets.usecases.list_library import list_library
from morph_assets.usecases.promote_release import promote_release
from morph_assets.usecases.publish_blueprint import publish_blueprint
from morph_assets.usecases.publish_kernel import PublishedKernel, publish_kernel
from morph_assets.usecases.rollback_alias import rollback_alias
from morph_assets.usecases.show_blueprint import ShownBlueprint, show_blueprint
from morph_assets.usecases.submit_blueprint import submit_blueprint
from morph_assets.usecases.trace_alias import trace_alias
from morph_assets.usecases.unfreeze_alias import unfreeze_alias
from morph_kernels.blueprint import Blueprint
from morph_kernels.identity import BuildKey


class Library(Connected):
    """Blueprints and kernels on their way into service."""

    def submit_blueprint(
        self, source: Blueprint | Path | str, *, tags: Sequence[str] = (), author: str | None = None
    ) -> SubmittedRelease:
        """Release a blueprint, given as such, as a yaml file or as yaml text."""
        return submit_blueprint(self.connections, source, tags=tags, author=author)

    def adopt_blueprint(self, name: str) -> ReleaseRecord:
        """Return the newest release of the name; a shipped blueprint that has none is released now."""
        return adopt_blueprint(self.connections, name)

    def list_blueprints(self) -> list[ReleaseRecord]:
        """Return the newest release of every name that is in use."""
        return list_blueprints(self.connections.registry("platform"))

    def show_blueprint(self, name: str) -> ShownBlueprint:
        """Return a blueprint's design, releases and kernels."""
        return show_blueprint(self.connections, name)

    def arrivals(self) -> list[str]:
        """Return the names of the blueprints in use: the partitions there should be."""
        return [release.name for release in self.list_blueprints()]

    def list_kernels(self, *, states: Sequence[str] = ()) -> list[KernelRecord]:
        """Return the kernels in these states, or all of them, fastest against eager first."""
        return list_kernels(self.connections.registry("platform"), states=states)

    def library_rows(self) -> list[dict[str, Any]]:
        """Return one row for each kernel, for a pandas frame."""
        return list_library(self.connections)

    def search(self, query: KernelQuery, *, limit: int = 20, cursor: str | None = None) -> KernelPage:
        """Return the best validated kernels for a query, each with the reason for its place, page by page."""
        return search_kernels(self.connections.registry("controller"), query, limit=limit, cursor=cursor)

    def find_kernel(self, what: str) -> KernelRecord:
        """Return the kernel with a digest, or the newest of `name`, `name@3` or `name@production`."""
        return find_kernel(self.connections, what)

    def import_kernels(self, lines: Iterable[bytes], *, bundles: Path | None = None) -> ImportedKernels:
        """Take in the kernels of an exported manifest, each judged by its signatures."""
        return import_kernels(self.connections, lines, bundles=bundles)

    def export_kernels(self, *, bundles: Path | None = None) -> Iterator[bytes]:
        """Yield the manifest of every validated kernel, line by line."""
        return export_kernels(self.connections, bundles=bundles)

    def compile_kernel(self, name: str, *, version: int | None = None, pipeline: str = "standard") -> CompiledKernel:
        """Return the kernel of a release, compiled now if nobody compiled it before."""
        return compile_kernel(self.connections, name, version=version, pipeline=pipeline)

    def count_builds(self, build_key: BuildKey) -> int:
        """Return how many compiler runs of the build key gave a kernel."""
        return count_builds(self.connections, build_key)

    def evaluate_kernel(self, what: str) -> EvaluatedKernel:
        """Return the verdict on a kernel under this host's runtime, measured now if nobody did before."""
        return evaluate_kernel(self.connections, what)

    def publish(self, source: Blueprint | Path | str, *, alias: str = "production") -> PublishedKernel:
        """Submit, compile, evaluate and publish; raises `KernelRejectedError` with the evaluation if it failed."""
        return publish_blueprint(self.connections, source, alias=alias)

    def publish_kernel(self, name: str, *, alias: str = "production") -> PublishedKernel:
        """Publish the validated kernels of the newest release and point the alias at it."""
        return publish_kernel(self.connections, name, alias=alias)

    def promote(self, ref: str, alias: str = "production") -> int:
        """Point an alias at a published release; return the index generation that says so."""
        return promote_release(self.connections, ref, alias)

    def rollback_alias(self, name: str, alias: str = "production") -> int:
        """Point an alias back at its release before; return that release's version."""
        return rollback_alias(self.connections, name, alias)

    def trace_alias(self, name: str, alias: str = "production", *, at: datetime | None = None) -> list[AliasMove]:
        """Return the moves of an alias, oldest first, or the one that held at a moment."""
        return trace_alias(self.connections, name, alias, at=at)

    def freeze_alias(self, name: str, alias: str, *, reason: str) -> bool:
        """Let an alias move no more until it is unfrozen."""
        return freeze_alias(self.connections, name, alias, reason=reason)

    def unfreeze_alias(self, name: str, alias: str, *, reason: str) -> bool:
        """Let a frozen alias move again."""
        return unfreeze_alias(self.connections, name, alias, reason=reason)
