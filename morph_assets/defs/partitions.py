"""The partitions: what is active now. The registry holds the rest; Dagster never carries more than these."""

from collections.abc import Collection

import dagster as dg

from morph_assets.usecases.prepare_dagster import ACTIVE_BLUEPRINTS

MAX_ACTIVE_BLUEPRINTS = 2000
MAX_ACTIVE_RUNS = 500

active_blueprints = dg.DynamicPartitionsDefinition(name=ACTIVE_BLUEPRINTS)
active_runs = dg.DynamicPartitionsDefinition(name="active_runs")

Requests = list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]


def request_changes(
    partitions: dg.DynamicPartitionsDefinition, *, register: Collection[str], drop: Collection[str]
) -> Requests:
    """Return what a sensor asks Dagster for, so that these keys come and those go; nothing where none does."""
    requests: Requests = []
    if register:
        requests.append(partitions.build_add_request(list(register)))
    if drop:
        requests.append(partitions.build_delete_request(list(drop)))
    return requests
