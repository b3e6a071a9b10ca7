-- Blueprints: immutable documents, released under a name with gap-free versions.
CREATE TABLE blueprint_document (
    tenant asset_name NOT NULL REFERENCES tenant,
    digest digest NOT NULL,
    document bytea NOT NULL CHECK (octet_length(document) <= 4194304),
    PRIMARY KEY (tenant, digest),
    CONSTRAINT document_has_its_digest CHECK (encode(sha256(document), 'hex') = digest)
);

CREATE TABLE blueprint (
    tenant asset_name NOT NULL REFERENCES tenant,
    name asset_name NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, name)
);

CREATE TABLE blueprint_release (
    tenant asset_name NOT NULL,
    name asset_name NOT NULL,
    version int NOT NULL CHECK (version > 0),
    blueprint_digest digest NOT NULL,
    state text NOT NULL DEFAULT 'SUBMITTED' CHECK (state IN ('SUBMITTED', 'PUBLISHED', 'RETIRED')),
    tags text[] NOT NULL CHECK (tags_are_valid(tags)),
    author text NOT NULL CHECK (length(author) <= 200),
    parents text[] NOT NULL,
    row_version int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, name, version),
    UNIQUE (tenant, name, blueprint_digest),
    FOREIGN KEY (tenant, name) REFERENCES blueprint,
    FOREIGN KEY (tenant, blueprint_digest) REFERENCES blueprint_document
);
CREATE INDEX release_by_digest ON blueprint_release (tenant, blueprint_digest);

INSERT INTO lifecycle (kind, from_state, to_state, guard) VALUES
    ('release', '*', 'SUBMITTED', NULL),
    ('release', 'SUBMITTED', 'PUBLISHED', 'kernel_published'),
    ('release', 'SUBMITTED', 'RETIRED', 'unaliased'),
    ('release', 'PUBLISHED', 'RETIRED', 'unaliased');
