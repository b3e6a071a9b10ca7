-- A bulk import: one row a batch, named by its manifest. Kernels and releases that came with it point at it.
CREATE TABLE kernel_import (
    tenant asset_name NOT NULL REFERENCES tenant,
    import_id uuid NOT NULL,
    manifest_digest digest NOT NULL,
    manifest_key text NOT NULL COLLATE "C" CHECK (manifest_key ~ '^[!-~]+$' AND length(manifest_key) <= 1024),
    blueprints bigint NOT NULL CHECK (blueprints >= 0),
    kernels bigint NOT NULL CHECK (kernels >= 0),
    reports bigint NOT NULL CHECK (reports >= 0),
    -- Means something only in the server that ran the transaction.
    txid xid8 NOT NULL,
    imported_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, import_id),
    UNIQUE (tenant, manifest_digest)
);
ALTER TABLE kernel ADD COLUMN import_id uuid;
ALTER TABLE kernel ADD CONSTRAINT kernel_came_with_an_import
    FOREIGN KEY (tenant, import_id) REFERENCES kernel_import NOT VALID;
ALTER TABLE blueprint_release ADD COLUMN import_id uuid;
ALTER TABLE blueprint_release ADD CONSTRAINT release_came_with_an_import
    FOREIGN KEY (tenant, import_id) REFERENCES kernel_import NOT VALID;

INSERT INTO lifecycle (kind, from_state, to_state, guard) VALUES ('kernel', '*', 'VALIDATED', 'being_imported');
