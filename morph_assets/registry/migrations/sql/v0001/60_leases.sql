-- Leases: one holder at a time, a new epoch for every acquisition, checked inside the transaction it protects.
CREATE TABLE lease (
    tenant asset_name NOT NULL REFERENCES tenant,
    name text NOT NULL COLLATE "C" CHECK (name ~ '^[!-~]{1,200}$'),
    holder uuid NOT NULL,
    epoch bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, name)
);
