-- How kernels go: by policies that are data, first into a tombstone, after a grace for good, with a proof of it.
CREATE TABLE retention_policy (
    tenant asset_name NOT NULL REFERENCES tenant,
    name asset_name NOT NULL,
    kind text NOT NULL,
    parameters jsonb NOT NULL,
    grace_s bigint NOT NULL CHECK (grace_s BETWEEN 0 AND 315360000),
    enabled boolean NOT NULL DEFAULT true,
    row_version int NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, name),
    -- Each kind has its own parameters, all of them and no others, as whole numbers or versions.
    CONSTRAINT policy_has_the_parameters_of_its_kind CHECK (CASE kind
        WHEN 'unused' THEN parameters - 'days' = '{}' AND jsonb_typeof(parameters -> 'days') = 'number'
            AND parameters ->> 'days' ~ '^[0-9]{1,5}$'
        WHEN 'slower' THEN parameters - 'percent' = '{}' AND jsonb_typeof(parameters -> 'percent') = 'number'
            AND parameters ->> 'percent' ~ '^[0-9]{1,4}$'
        WHEN 'superseded' THEN parameters - 'keep' = '{}' AND jsonb_typeof(parameters -> 'keep') = 'number'
            AND parameters ->> 'keep' ~ '^[1-9][0-9]{0,4}$'
        WHEN 'outdated_toolchain' THEN parameters - 'torch' = '{}' AND jsonb_typeof(parameters -> 'torch') = 'string'
            AND parameters ->> 'torch' ~ '^[0-9]{1,4}([.][0-9]{1,4}){0,3}$'
        ELSE false END IS TRUE)
);

-- A retired kernel that can still come back, until its grace is over; later, what is left of it.
CREATE TABLE tombstone (
    tenant asset_name NOT NULL,
    kernel_digest digest NOT NULL,
    restores_to text NOT NULL CHECK (restores_to IN ('COMPILED', 'VALIDATED', 'REJECTED', 'QUARANTINED', 'REVOKED')),
    reason text NOT NULL,
    policy text NOT NULL,
    grace_until timestamptz NOT NULL,
    -- From here on there is no way back: the events that began and ended the removal, and the proof of it.
    purge_seq bigint,
    purged_seq bigint CHECK (purged_seq > purge_seq),
    proof_digest digest,
    proof_key text,
    PRIMARY KEY (tenant, kernel_digest),
    FOREIGN KEY (tenant, kernel_digest) REFERENCES kernel,
    CONSTRAINT what_is_gone_has_its_proof CHECK (num_nulls(purged_seq, proof_digest, proof_key) IN (0, 3))
);
CREATE INDEX tombstone_by_grace ON tombstone (tenant, grace_until) WHERE purged_seq IS NULL;

-- The objects that are about to be deleted: they stand here before the first of them is.
CREATE TABLE doomed_object (
    tenant asset_name NOT NULL,
    kernel_digest digest NOT NULL,
    kind text NOT NULL CHECK (kind IN ('bundle', 'report')),
    digest digest NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    PRIMARY KEY (tenant, kernel_digest, kind, digest),
    FOREIGN KEY (tenant, kernel_digest) REFERENCES tombstone
);

-- squawk-ignore ban-drop-constraint
ALTER TABLE kernel DROP CONSTRAINT kernel_state_is_known;
ALTER TABLE kernel ADD CONSTRAINT kernel_state_is_known
    CHECK (state IN ('COMPILED', 'VALIDATING', 'VALIDATED', 'REJECTED', 'PUBLISHED', 'QUARANTINED', 'REVOKED',
                     'RETIRED', 'PURGED')) NOT VALID;
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX kernel_by_build_key;
CREATE UNIQUE INDEX kernel_by_build_key ON kernel (tenant, build_key) WHERE state NOT IN ('RETIRED', 'PURGED');

INSERT INTO lifecycle (kind, from_state, to_state, guard) VALUES
    ('kernel', 'RETIRED', 'COMPILED', 'restored'),
    ('kernel', 'RETIRED', 'VALIDATED', 'restored'),
    ('kernel', 'RETIRED', 'REJECTED', 'restored'),
    ('kernel', 'RETIRED', 'QUARANTINED', 'restored'),
    ('kernel', 'RETIRED', 'REVOKED', 'restored'),
    ('kernel', 'RETIRED', 'PURGED', 'being_purged'),
    ('kernel', 'PURGED', 'COMPILED', 'may_be_built_again');
