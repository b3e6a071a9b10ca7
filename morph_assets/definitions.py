"""The composition root: everything that Dagster sees, put together once."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from morph_assets.defs.automation import automation
from morph_assets.defs.blueprints.assets import blueprint
from morph_assets.defs.checkpoints.assets import checkpoint
from morph_assets.defs.kernels.assets import compiled_kernel, published_kernel
from morph_assets.defs.kernels.checks import kernel_was_built_once
from morph_assets.defs.kernels.jobs import publish_blueprint, relay_indexes
from morph_assets.defs.platform_resource import open_platform
from morph_sensors.blueprint_arrivals import blueprint_arrivals


def build_defs(*, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return the definitions; a test gives its own platform as `resource_overrides={"platform": ...}`."""
    return dg.Definitions(
        assets=[blueprint, compiled_kernel, published_kernel, checkpoint],
        asset_checks=[kernel_was_built_once],
        jobs=[publish_blueprint, relay_indexes],
        sensors=[automation, blueprint_arrivals],
        resources={"platform": open_platform, **(resource_overrides or {})},
        # Every other executor imports the code again for each step.
        executor=dg.in_process_executor,
    )


defs = build_defs()
