"""The platform as a resource: opened when something first needs it, never when definitions load."""

from collections.abc import Iterator

import dagster as dg

from morph_assets.platform import Platform


@dg.resource(description="The tenant's platform, as the environment or the nearest `.morph` folder names it.")
def open_platform(_context: dg.InitResourceContext) -> Iterator[Platform]:
    """Open the platform for one run or tick, and give its connections back afterwards."""
    with Platform.connect() as platform:
        yield platform
