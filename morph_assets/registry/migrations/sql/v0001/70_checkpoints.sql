-- Checkpoints: one row makes a checkpoint visible, and a fenced, live-checked transaction makes that row.
CREATE TABLE run (
    tenant asset_name NOT NULL REFERENCES tenant,
    run asset_name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, run)
);

CREATE TABLE checkpoint (
    tenant asset_name NOT NULL,
    checkpoint uuid NOT NULL,
    run asset_name NOT NULL,
    branch asset_name NOT NULL,
    parent uuid,
    epoch bigint NOT NULL CHECK (epoch >= 0),
    step bigint NOT NULL CHECK (step >= 0),
    controller_version text NOT NULL CHECK (length(controller_version) <= 200),
    world_size int NOT NULL CHECK (world_size > 0),
    manifest_digest digest NOT NULL,
    manifest_key text NOT NULL COLLATE "C" CHECK (manifest_key ~ '^[!-~]+$' AND length(manifest_key) <= 1024),
    lease_epoch bigint NOT NULL,
    seq bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, checkpoint),
    FOREIGN KEY (tenant, run) REFERENCES run,
    FOREIGN KEY (tenant, parent) REFERENCES checkpoint,
    CHECK (parent <> checkpoint)
);
CREATE INDEX checkpoint_by_run ON checkpoint (tenant, run, seq);

-- The foreign keys keep what a kept checkpoint needs from being removed.
CREATE TABLE checkpoint_blob (
    tenant asset_name NOT NULL,
    checkpoint uuid NOT NULL,
    digest digest NOT NULL,
    PRIMARY KEY (tenant, checkpoint, digest),
    FOREIGN KEY (tenant, checkpoint) REFERENCES checkpoint,
    FOREIGN KEY (tenant, digest) REFERENCES blob
);
CREATE INDEX checkpoint_by_blob ON checkpoint_blob (tenant, digest);
CREATE TABLE checkpoint_kernel (
    tenant asset_name NOT NULL,
    checkpoint uuid NOT NULL,
    kernel_digest digest NOT NULL,
    PRIMARY KEY (tenant, checkpoint, kernel_digest),
    FOREIGN KEY (tenant, checkpoint) REFERENCES checkpoint,
    FOREIGN KEY (tenant, kernel_digest) REFERENCES kernel
);
CREATE INDEX checkpoint_by_kernel ON checkpoint_kernel (tenant, kernel_digest);

CREATE TABLE branch_head (
    tenant asset_name NOT NULL,
    run asset_name NOT NULL,
    branch asset_name NOT NULL,
    checkpoint uuid NOT NULL,
    row_version int NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, run, branch),
    FOREIGN KEY (tenant, run) REFERENCES run,
    -- Deferred: the head is locked and moved before the checkpoint it moves to is written.
    FOREIGN KEY (tenant, checkpoint) REFERENCES checkpoint DEFERRABLE INITIALLY DEFERRED
);
