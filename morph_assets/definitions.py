"""The composition root: everything that Dagster sees, put together once."""

import dagster as dg

from morph_assets.defs.checkpoints.assets import checkpoint


def build_defs() -> dg.Definitions:
    """Return the definitions."""
    return dg.Definitions(
        assets=[checkpoint],
        # Every other executor imports the code again for each step.
        executor=dg.in_process_executor,
    )


defs = build_defs()
