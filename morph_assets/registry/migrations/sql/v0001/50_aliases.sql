-- Aliases point at releases and move by compare-and-swap; the index document says so to the loaders.
CREATE TABLE alias (
    tenant asset_name NOT NULL,
    name asset_name NOT NULL,
    alias asset_name NOT NULL CHECK (alias !~ '^v?[0-9]+$' AND alias <> 'latest'),
    version int NOT NULL,
    row_version int NOT NULL DEFAULT 1,
    moved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, name, alias),
    FOREIGN KEY (tenant, name, version) REFERENCES blueprint_release
);

-- Where the alias pointed from which event on; it pointed there until the next row.
CREATE TABLE alias_history (
    tenant asset_name NOT NULL,
    name asset_name NOT NULL,
    alias asset_name NOT NULL,
    row_version int NOT NULL,
    version int NOT NULL,
    since_seq bigint NOT NULL,
    actor text NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, name, alias, row_version)
);

CREATE TABLE index_generation (
    tenant asset_name NOT NULL,
    name asset_name NOT NULL,
    generation bigint NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, name),
    FOREIGN KEY (tenant, name) REFERENCES blueprint
);
