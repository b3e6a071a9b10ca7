"""Anchoring, to start by hand or every five minutes."""

import dagster as dg

from morph_assets.defs.failures import explained_failures
from morph_assets.platform import Platform


@dg.op
def anchor(context: dg.OpExecutionContext, platform: dg.ResourceParam[Platform]) -> None:
    """Archive what is not yet in the store, then sign where every chain stands."""
    with explained_failures():
        anchored = platform.anchor_audit()
    context.add_output_metadata(
        {
            "anchor": anchored.number,
            "created": anchored.created,
            "head": f"{anchored.seq}:{anchored.hash.hex()}",
            "waited_events": anchored.waited.events,
            "waited_s": anchored.waited.oldest_s,
        }
    )
    context.log.info("anchor %d covers the log up to event %d", anchored.number, anchored.seq)


@dg.job(description="Signs where the audit log stands and keeps that outside of the database.")
def anchor_log() -> None:
    """Anchor once."""
    anchor()


anchor_log_schedule = dg.ScheduleDefinition(
    name="anchor_log_schedule",
    job=anchor_log,
    cron_schedule="*/5 * * * *",
    description="Keeps the window of events that no anchor covers below five minutes.",
)
