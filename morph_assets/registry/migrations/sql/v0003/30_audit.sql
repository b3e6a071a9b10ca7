-- Who somebody says to be, kept apart from who they are: hashed with the event, believed by nobody.
ALTER TABLE event
    ADD COLUMN claimed_actor text CHECK (claimed_actor ~ '^[^[:cntrl:]]{1,200}$'),
    ADD COLUMN claimed_at timestamptz;

-- Refusals have a chain of their own: what was refused is rolled back, and its telling must not be.
CREATE TABLE security_head (
    tenant asset_name PRIMARY KEY REFERENCES tenant,
    seq bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(hash) = 32)
);

-- Columns, header and hash are those of `event`.
CREATE TABLE security_event (
    tenant asset_name NOT NULL REFERENCES tenant,
    seq bigint NOT NULL CHECK (seq > 0),
    timeline int NOT NULL REFERENCES timeline,
    event_id uuid NOT NULL,
    type text NOT NULL COLLATE "C" CHECK (type ~ '^security\.[a-z_]+$'),
    subject text NOT NULL COLLATE "C" CHECK (subject ~ '^[ -~]{1,200}$'),
    schema_version int NOT NULL,
    actor text NOT NULL CHECK (actor !~ '[[:cntrl:]]'),
    recorded_at timestamptz NOT NULL,
    payload bytea NOT NULL CHECK (octet_length(payload) <= 16384),
    prev_hash bytea NOT NULL,
    hash bytea NOT NULL,
    claimed_actor text CHECK (claimed_actor ~ '^[^[:cntrl:]]{1,200}$'),
    claimed_at timestamptz,
    PRIMARY KEY (tenant, seq),
    UNIQUE (tenant, event_id)
);

-- How often a login was refused within its present minute; what was not told is told by its next event.
CREATE TABLE security_window (
    tenant asset_name NOT NULL REFERENCES tenant,
    login text NOT NULL,
    type text NOT NULL,
    began_at timestamptz NOT NULL,
    told int NOT NULL,
    suppressed bigint NOT NULL,
    PRIMARY KEY (tenant, login, type)
);

-- How far something that follows the log has come; moved by compare-and-swap alone.
CREATE TABLE relay (
    tenant asset_name NOT NULL REFERENCES tenant,
    relay text NOT NULL COLLATE "C" CHECK (relay IN ('archive', 'security', 'anchor', 'anchored')),
    seq bigint NOT NULL CHECK (seq > 0),
    row_version int NOT NULL DEFAULT 1,
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, relay)
);
