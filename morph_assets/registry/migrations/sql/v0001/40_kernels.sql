-- Blobs, kernels, how they were built, and what vouches for them.
CREATE TABLE blob (
    tenant asset_name NOT NULL REFERENCES tenant,
    digest digest NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    state text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'dead')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, digest)
);
CREATE TABLE blob_location (
    tenant asset_name NOT NULL,
    digest digest NOT NULL,
    location text NOT NULL COLLATE "C" CHECK (location ~ '^[!-~]+$' AND length(location) <= 1024),
    byte_offset bigint NOT NULL DEFAULT 0 CHECK (byte_offset >= 0),
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, digest, location, byte_offset),
    FOREIGN KEY (tenant, digest) REFERENCES blob
);
CREATE INDEX blob_by_location ON blob_location (tenant, location);

CREATE TABLE kernel (
    tenant asset_name NOT NULL REFERENCES tenant,
    digest digest NOT NULL,
    blueprint_digest digest NOT NULL,
    build_key digest NOT NULL,
    target jsonb NOT NULL CHECK (jsonb_typeof(target) = 'object'),
    device text NOT NULL GENERATED ALWAYS AS (target ->> 'device') STORED,
    isa text NOT NULL GENERATED ALWAYS AS (target ->> 'isa') STORED,
    dtype text NOT NULL GENERATED ALWAYS AS (target ->> 'dtype') STORED,
    torch text NOT NULL GENERATED ALWAYS AS (target ->> 'torch') STORED,
    toolchain text NOT NULL,
    pipeline text NOT NULL,
    recipe_version int NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes > 0),
    bundle_digest digest NOT NULL,
    bundle_key text NOT NULL,
    state text NOT NULL DEFAULT 'COMPILED',
    state_reason text NOT NULL DEFAULT '',
    evaluation int NOT NULL DEFAULT 0,
    speed_ratio double precision CHECK (speed_ratio > 0),
    latency_us double precision CHECK (latency_us > 0),
    memory_bytes bigint CHECK (memory_bytes >= 0),
    row_version int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, digest),
    FOREIGN KEY (tenant, blueprint_digest) REFERENCES blueprint_document,
    FOREIGN KEY (tenant, bundle_digest) REFERENCES blob,
    CONSTRAINT kernel_state_is_known CHECK (state IN ('COMPILED', 'VALIDATING', 'VALIDATED', 'REJECTED', 'PUBLISHED',
                                                      'QUARANTINED', 'REVOKED', 'RETIRED'))
);
-- One kernel a build key, as long as it is wanted: what was retired may be built anew.
CREATE UNIQUE INDEX kernel_by_build_key ON kernel (tenant, build_key) WHERE state <> 'RETIRED';
CREATE INDEX kernel_by_blueprint ON kernel (tenant, blueprint_digest, state);
CREATE INDEX kernel_by_state ON kernel (tenant, state, created_at);

-- One row for each compiler run that really happened, also the failed and the redundant ones: this is what was spent.
CREATE TABLE build (
    tenant asset_name NOT NULL REFERENCES tenant,
    build_id uuid NOT NULL,
    build_key digest NOT NULL,
    blueprint_digest digest NOT NULL,
    kernel_digest digest,
    outcome text NOT NULL CHECK (outcome IN ('built', 'redundant', 'failed')),
    reason text NOT NULL DEFAULT '',
    cpu_s double precision NOT NULL CHECK (cpu_s >= 0),
    wall_s double precision NOT NULL CHECK (wall_s >= 0),
    isolation text NOT NULL,
    log_tail text NOT NULL CHECK (length(log_tail) <= 65536),
    builder text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, build_id),
    FOREIGN KEY (tenant, kernel_digest) REFERENCES kernel,
    FOREIGN KEY (tenant, blueprint_digest) REFERENCES blueprint_document,
    CHECK ((kernel_digest IS NULL) = (outcome = 'failed'))
);
CREATE INDEX build_by_key ON build (tenant, build_key);

CREATE TABLE report (
    tenant asset_name NOT NULL,
    report_id uuid NOT NULL,
    kernel_digest digest NOT NULL,
    evaluation int NOT NULL,
    suite text NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('pass', 'fail', 'error')),
    body bytea NOT NULL CHECK (octet_length(body) <= 4194304),
    body_digest digest NOT NULL,
    runtime_torch text NOT NULL,
    runtime_device text NOT NULL,
    runtime_isa text NOT NULL,
    recorded_by text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, report_id),
    FOREIGN KEY (tenant, kernel_digest) REFERENCES kernel,
    CONSTRAINT report_has_its_digest CHECK (encode(sha256(body), 'hex') = body_digest)
);
CREATE INDEX report_by_kernel ON report (tenant, kernel_digest, recorded_at);

CREATE TABLE measurement (
    tenant asset_name NOT NULL,
    report_id uuid NOT NULL,
    metric text NOT NULL,
    shape_class text NOT NULL DEFAULT '',
    hardware text NOT NULL DEFAULT '',
    value double precision NOT NULL CHECK (value = value AND abs(value) < 'infinity'),
    unit text NOT NULL,
    PRIMARY KEY (tenant, report_id, metric, shape_class, hardware),
    FOREIGN KEY (tenant, report_id) REFERENCES report
);

CREATE TABLE attestation (
    tenant asset_name NOT NULL,
    kernel_digest digest NOT NULL,
    envelope_digest digest NOT NULL,
    kind text NOT NULL CHECK (kind IN ('provenance', 'verification')),
    report_id uuid,
    envelope bytea NOT NULL CHECK (octet_length(envelope) BETWEEN 1 AND 262144),
    recorded_by text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, kernel_digest, envelope_digest),
    FOREIGN KEY (tenant, kernel_digest) REFERENCES kernel,
    FOREIGN KEY (tenant, report_id) REFERENCES report,
    CHECK ((report_id IS NULL) = (kind = 'provenance')),
    CONSTRAINT envelope_has_its_digest CHECK (encode(sha256(envelope), 'hex') = envelope_digest)
);

-- Tags beside the kernels, with what a search limits: row-level security keeps a GIN index on an array from being used.
CREATE TABLE kernel_tag (
    tenant asset_name NOT NULL,
    tag text NOT NULL COLLATE "C" CHECK (tags_are_valid(ARRAY[tag])),
    kernel_digest digest NOT NULL,
    device text NOT NULL,
    dtype text NOT NULL,
    latency_us double precision,
    PRIMARY KEY (tenant, tag, kernel_digest),
    FOREIGN KEY (tenant, kernel_digest) REFERENCES kernel
);
CREATE INDEX kernel_tag_by_kernel ON kernel_tag (tenant, kernel_digest);

INSERT INTO lifecycle (kind, from_state, to_state, guard) VALUES
    ('kernel', '*', 'COMPILED', NULL),
    ('kernel', 'COMPILED', 'VALIDATING', NULL),
    ('kernel', 'QUARANTINED', 'VALIDATING', NULL),
    ('kernel', 'VALIDATING', 'COMPILED', 'evaluation_broke'),
    ('kernel', 'VALIDATING', 'VALIDATED', 'evidence'),
    ('kernel', 'VALIDATING', 'REJECTED', 'failing_report'),
    ('kernel', 'VALIDATED', 'PUBLISHED', 'evidence'),
    ('kernel', 'COMPILED', 'QUARANTINED', NULL),
    ('kernel', 'VALIDATING', 'QUARANTINED', NULL),
    ('kernel', 'VALIDATED', 'QUARANTINED', NULL),
    ('kernel', 'PUBLISHED', 'QUARANTINED', NULL),
    ('kernel', 'COMPILED', 'REVOKED', NULL),
    ('kernel', 'VALIDATING', 'REVOKED', NULL),
    ('kernel', 'VALIDATED', 'REVOKED', NULL),
    ('kernel', 'PUBLISHED', 'REVOKED', NULL),
    ('kernel', 'QUARANTINED', 'REVOKED', NULL),
    ('kernel', 'COMPILED', 'RETIRED', 'unreferenced'),
    ('kernel', 'VALIDATED', 'RETIRED', 'unreferenced'),
    ('kernel', 'REJECTED', 'RETIRED', 'unreferenced'),
    ('kernel', 'PUBLISHED', 'RETIRED', 'unreferenced'),
    ('kernel', 'QUARANTINED', 'RETIRED', 'unreferenced'),
    ('kernel', 'REVOKED', 'RETIRED', 'unreferenced');
