"""The asset that training makes."""

import dagster as dg

from morph_assets.defs.partitions import active_runs

# A run may graft any kernel; which ones a checkpoint holds stands in its metadata and in the registry. Without the
# mapping Dagster would take a run's name for a blueprint's.
checkpoint = dg.AssetSpec(
    "checkpoint",
    deps=[dg.AssetDep("published_kernel", partition_mapping=dg.AllPartitionMapping())],
    description="A run's state at an epoch boundary, committed by the training job; able to come back bit for bit.",
    group_name="training",
    kinds={"pytorch", "s3", "postgres"},
    owners=["team:training"],
    partitions_def=active_runs,
)
