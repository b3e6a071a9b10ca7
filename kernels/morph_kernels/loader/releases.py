"""From what somebody asked for to a blueprint and its kernels: by a plan, by a trusted index, or not at all."""

from datetime import UTC, datetime

from morph_kernels.artifact.index import IndexDocument, Variant
from morph_kernels.blueprint import Blueprint
from morph_kernels.cache.deadline import Deadline
from morph_kernels.errors import MorphError
from morph_kernels.identity import BlueprintRef, parse_ref
from morph_kernels.loader.index_cache import IndexCache
from morph_kernels.loader.plan import PlannedKernel, RunPlan
from morph_kernels.reasons import Reason

Variants = tuple[Variant, ...] | Reason


class BlueprintUnreachableError(MorphError):
    """A ref was asked for, nothing that knows it answers, and this host has never seen it."""

    retryable = True

    def __init__(self, ref: BlueprintRef, reason: Reason) -> None:
        super().__init__(
            f"cannot tell what {ref} is ({reason}): no server answered and nothing is cached on this host; "
            "load a Blueprint or a run plan instead, or start the servers (`morph up`)"
        )
        self.ref, self.reason = ref, reason


class Releases:
    """The blueprints and kernels that a tenant's publisher signed for, as this process may use them now."""

    def __init__(self, plan: RunPlan, indexes: IndexCache | None) -> None:
        """Take a plan and the trusted indexes; None where this process trusts nobody."""
        self._plan, self._indexes = plan, indexes

    def find(self, what: str | Blueprint, deadline: Deadline) -> tuple[Blueprint, Variants]:
        """Return the blueprint and its kernels, or why there are none.

        Raises:
            BlueprintUnreachableError: a ref that nobody in reach knows.
            InvalidNameError: a ref that has no valid form.
        """
        if isinstance(what, Blueprint):
            return what, self._variants_of(what, deadline)
        ref = parse_ref(what)
        planned = self._plan.kernels.get(ref)
        if planned is not None:
            return planned.blueprint, self._planned(planned)
        document = self._document(ref.name, deadline)
        blueprint = _release(document, ref)
        return blueprint, _usable(document, blueprint)

    def plan(self, ref: BlueprintRef, deadline: Deadline) -> PlannedKernel:
        """Return everything that a later load of the ref needs.

        Raises:
            BlueprintUnreachableError: nobody in reach knows the ref.
        """
        document = self._document(ref.name, deadline)
        if isinstance(document, Reason):
            raise BlueprintUnreachableError(ref, document)
        blueprint = _release(document, ref)
        return PlannedKernel(ref, blueprint, document.variants_of(blueprint.digest), document.expires_at)

    def usable_now(self, blueprint: Blueprint) -> tuple[Variant, ...]:
        """Return the kernels of a blueprint that may be loaded now, as far as is known without asking anybody."""
        planned = self._find_planned(blueprint)
        if planned is not None:
            variants = self._planned(planned)
        else:
            hit = self._indexes.peek(blueprint.name) if self._indexes is not None else None
            variants = _usable(hit.index.document, blueprint) if hit is not None else Reason.NO_INDEX
        return () if isinstance(variants, Reason) else variants

    def is_revoked(self, blueprint: Blueprint, body: str) -> bool:
        """Return whether this process knows that the kernel was revoked."""
        hit = self._indexes.peek(blueprint.name) if self._indexes is not None else None
        return hit is not None and body in hit.index.document.revoked

    def _variants_of(self, blueprint: Blueprint, deadline: Deadline) -> Variants:
        planned = self._find_planned(blueprint)
        if planned is not None:
            return self._planned(planned)
        if self._indexes is None:
            return Reason.NO_TRUST
        document = self._indexes.find(blueprint.name, deadline)
        return document if isinstance(document, Reason) else _usable(document.index.document, blueprint)

    def _find_planned(self, blueprint: Blueprint) -> PlannedKernel | None:
        kernels = self._plan.kernels.values()
        return next((planned for planned in kernels if planned.blueprint.digest == blueprint.digest), None)

    def _document(self, name: str, deadline: Deadline) -> IndexDocument | Reason:
        if self._indexes is None:
            return Reason.NO_TRUST
        hit = self._indexes.find(name, deadline)
        return hit if isinstance(hit, Reason) else hit.index.document

    def _planned(self, planned: PlannedKernel) -> Variants:
        """Return a plan's kernels without those that are revoked as far as is known; a newer index outlives it."""
        hit = self._indexes.peek(planned.ref.name) if self._indexes is not None else None
        current = hit is not None and hit.index.document.expires_at > datetime.now(UTC)
        if not current and planned.expires_at <= datetime.now(UTC):
            return Reason.INDEX_EXPIRED
        revoked = hit.index.document.revoked if hit is not None else frozenset()
        usable = tuple(variant for variant in planned.variants if variant.kernel_digest not in revoked)
        return usable if usable or not planned.variants else Reason.REVOKED


def _release(document: IndexDocument | Reason, ref: BlueprintRef) -> Blueprint:
    """Return the blueprint that a ref names in an index."""
    if isinstance(document, Reason):
        raise BlueprintUnreachableError(ref, document)
    number = document.aliases.get(ref.alias)
    if number is None or number not in document.releases:
        raise BlueprintUnreachableError(ref, Reason.NO_ALIAS)
    return Blueprint.from_bytes(document.releases[number][1], name=ref.name)


def _usable(document: IndexDocument | Reason, blueprint: Blueprint) -> Variants:
    """Return an index's kernels of a blueprint; by an expired one no kernel is loaded."""
    if isinstance(document, Reason):
        return document
    if document.expires_at <= datetime.now(UTC):
        return Reason.INDEX_EXPIRED
    usable = document.variants_of(blueprint.digest)
    had_some = any(variant.blueprint_digest == blueprint.digest for variant in document.variants)
    return usable if usable or not had_some else Reason.REVOKED
