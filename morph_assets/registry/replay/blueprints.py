"""Repeats what happened to blueprints, releases and aliases."""

from morph_assets.registry.replay.state import ReplayedState, ToldEvent, applies


@applies("blueprint.submitted")
def submitted(state: ReplayedState, event: ToldEvent) -> None:
    """A release under the next version; its document is a body named by digest."""
    facts = event.facts
    name, digest = facts["name"], facts["blueprint_digest"]
    state.put("blueprint", (name,))
    state.put("blueprint_document", (digest,))
    state.put(
        "blueprint_release",
        (name, facts["version"]),
        blueprint_digest=digest,
        state="SUBMITTED",
        tags=facts["tags"],
        author=facts["author"],
        parents=facts["parents"],
        row_version=1,
        import_id=None,
    )
    for parent in sorted(set(facts["parents"]) - {digest}):
        state.link(f"blueprint/{digest}", "derived_from", f"blueprint/{parent}", event.seq)


@applies("release.published")
def published(state: ReplayedState, event: ToldEvent) -> None:
    """A release with its first published kernel."""
    state.change("blueprint_release", event.facts["name"], event.facts["version"], state="PUBLISHED")


@applies("release.retired")
def retired(state: ReplayedState, event: ToldEvent) -> None:
    """A release nobody shall use."""
    state.change("blueprint_release", event.facts["name"], event.facts["version"], state="RETIRED")


@applies("alias.moved")
def alias_moved(state: ReplayedState, event: ToldEvent) -> None:
    """An alias that points elsewhere, or is new."""
    facts = event.facts
    name, alias, moved = facts["name"], facts["alias"], facts["row_version"]
    state.put("alias", (name, alias), frozen_reason=None, frozen_by=None)
    state.change("alias", name, alias, version=facts["version"], row_version=moved)
    state.put(
        "alias_history",
        (name, alias, moved),
        version=facts["version"],
        since_seq=event.seq,
        actor=event.actor,
        rolled_back=facts.get("rolled_back", False),
    )


@applies("alias.frozen", "alias.unfrozen")
def alias_held(state: ReplayedState, event: ToldEvent) -> None:
    """An alias that does not move, or does again."""
    facts, frozen = event.facts, event.type == "alias.frozen"
    held = state.row("alias", facts["name"], facts["alias"])
    held.update(frozen_reason=facts["reason"] if frozen else None, frozen_by=event.actor if frozen else None)
