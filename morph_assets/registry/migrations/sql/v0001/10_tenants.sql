-- Who there is: tenants, their logins, their limits. Everything else hangs on a tenant.
-- A function is callable by nobody until 90_grants.sql says otherwise.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

CREATE DOMAIN digest AS text COLLATE "C" CHECK (VALUE ~ '^[0-9a-f]{64}$');
CREATE DOMAIN asset_name AS text COLLATE "C" CHECK (VALUE ~ '^[a-z0-9][a-z0-9._-]{0,62}$');

-- A restored backup starts a new timeline; it stands in the high bits of every lease epoch and index generation,
-- so whatever was handed out after the backup was taken is older than anything handed out now.
CREATE TABLE timeline (
    timeline int PRIMARY KEY CHECK (timeline BETWEEN 1 AND 4095),
    reason text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO timeline (timeline, reason) VALUES (1, 'created');

CREATE TABLE tenant (
    tenant asset_name PRIMARY KEY CHECK (length(tenant) <= 40),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tenant_member (
    login name PRIMARY KEY,
    tenant asset_name NOT NULL REFERENCES tenant,
    role text NOT NULL CHECK (role IN ('platform', 'compiler', 'evaluator', 'publisher', 'trainer', 'controller',
                                       'auditor', 'curator', 'admin'))
);

CREATE TABLE quota (
    tenant asset_name NOT NULL REFERENCES tenant,
    resource text NOT NULL CHECK (resource IN ('blueprints', 'kernels', 'blob_bytes', 'checkpoints')),
    hard_limit bigint NOT NULL CHECK (hard_limit >= 0),
    used bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
    PRIMARY KEY (tenant, resource)
);

CREATE FUNCTION tags_are_valid(tags text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = morph, pg_temp
AS $$
    SELECT cardinality(tags) <= 64
       AND (SELECT coalesce(bool_and(tag ~ '^[a-z0-9][a-z0-9._:=-]{0,62}$'), true) FROM unnest(tags) tag)
$$;

-- Transitions are data: a pair that does not stand here does not happen. '*' is "not there yet".
CREATE TABLE lifecycle (
    kind text NOT NULL,
    from_state text NOT NULL,
    to_state text NOT NULL,
    guard text,
    PRIMARY KEY (kind, from_state, to_state)
);
