-- What happened: one hash chain a tenant, appended in the transaction of the change it tells of.
CREATE TABLE chain_head (
    tenant asset_name PRIMARY KEY REFERENCES tenant,
    seq bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(hash) = 32)
);

CREATE TABLE event (
    tenant asset_name NOT NULL REFERENCES tenant,
    seq bigint NOT NULL CHECK (seq > 0),
    timeline int NOT NULL REFERENCES timeline,
    event_id uuid NOT NULL,
    type text NOT NULL COLLATE "C" CHECK (type ~ '^[a-z]+\.[a-z_]+$'),
    subject text NOT NULL COLLATE "C" CHECK (subject ~ '^[ -~]{1,200}$'),
    schema_version int NOT NULL,
    actor text NOT NULL CHECK (actor !~ '[[:cntrl:]]'),
    recorded_at timestamptz NOT NULL,
    payload bytea NOT NULL CHECK (octet_length(payload) <= 1048576),
    prev_hash bytea NOT NULL,
    hash bytea NOT NULL,
    -- Not hashed: it means something only in the server that ran the transaction.
    txid xid8 NOT NULL,
    PRIMARY KEY (tenant, seq),
    UNIQUE (tenant, event_id)
);
CREATE INDEX event_by_subject ON event (tenant, subject, seq);
CREATE INDEX event_by_type ON event (tenant, type, seq);

-- Who came from whom, and from which event on. Nodes are subjects: 'kernel/<digest>', 'blueprint/<digest>' ...
CREATE TABLE edge (
    tenant asset_name NOT NULL REFERENCES tenant,
    source text NOT NULL COLLATE "C",
    relation text NOT NULL CHECK (relation IN ('derived_from', 'compiled_from', 'evaluates', 'uses', 'follows', 'belongs_to')),
    target text NOT NULL COLLATE "C",
    since_seq bigint NOT NULL,
    until_seq bigint CHECK (until_seq > since_seq),
    PRIMARY KEY (tenant, source, relation, target, since_seq),
    CHECK (source <> target)
);
CREATE INDEX edge_from_target ON edge (tenant, target, relation);
