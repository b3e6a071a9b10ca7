-- What was used, by whom and for what: written once, each row by the event that told of it. Moments are microseconds
-- since 1970, as in the log.
CREATE TABLE usage_entry (
    tenant asset_name NOT NULL REFERENCES tenant,
    entry_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('build_cpu_s', 'stored_byte_hours', 'bytes_served')),
    run asset_name,
    blueprint_digest digest,
    kernel_digest digest,
    quantity double precision NOT NULL CHECK (quantity >= 0 AND quantity < 'infinity'),
    from_us bigint NOT NULL,
    to_us bigint NOT NULL CHECK (to_us >= from_us),
    seq bigint NOT NULL,
    PRIMARY KEY (tenant, entry_id),
    FOREIGN KEY (tenant, run) REFERENCES run,
    FOREIGN KEY (tenant, blueprint_digest) REFERENCES blueprint_document,
    FOREIGN KEY (tenant, kernel_digest) REFERENCES kernel
);
CREATE INDEX usage_by_kernel ON usage_entry (tenant, kernel_digest, kind, to_us);
CREATE INDEX usage_by_time ON usage_entry (tenant, to_us);

-- How far the meter of what is stored has come: within a window, kernel by kernel, in the order of digests.
CREATE TABLE metering (
    tenant asset_name NOT NULL REFERENCES tenant,
    meter text NOT NULL CHECK (meter = 'storage'),
    from_us bigint NOT NULL,
    to_us bigint NOT NULL CHECK (to_us >= from_us),
    after text NOT NULL COLLATE "C",
    PRIMARY KEY (tenant, meter)
);
