"""What an asset with checks returns."""

from typing import TYPE_CHECKING

import dagster as dg

# Dagster takes the bare class as the annotation of an asset with checks, and refuses it with a type argument.
if TYPE_CHECKING:
    Materialized = dg.MaterializeResult[None]
else:
    Materialized = dg.MaterializeResult
