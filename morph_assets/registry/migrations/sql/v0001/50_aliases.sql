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
CREATE CONSTRAINT TRIGGER alias_has_its_event AFTER INSERT OR UPDATE OR DELETE ON alias
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('blueprint', 'name');

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
CREATE TRIGGER alias_history_is_append_only BEFORE UPDATE OR DELETE ON alias_history
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- p_expected: the row version last seen, or null for an alias that is not there yet. Returns the new row version.
-- Moving an alias to where it points already changes nothing.
CREATE FUNCTION move_alias(p_name text, p_alias text, p_version int, p_expected int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    release blueprint_release;
    seen record;
    event_seq bigint;
BEGIN
    SELECT * INTO release FROM blueprint_release
    WHERE tenant = my_tenant AND name = p_name AND version = p_version FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no release %@%', p_name, p_version USING ERRCODE = 'MO006';
    END IF;
    IF release.state <> 'PUBLISHED' THEN
        RAISE EXCEPTION 'an alias points at published releases; %@% is %', p_name, p_version, release.state
            USING ERRCODE = 'MO003';
    END IF;
    IF p_expected IS NULL THEN
        INSERT INTO alias (tenant, name, alias, version) VALUES (my_tenant, p_name, p_alias, p_version)
        ON CONFLICT DO NOTHING RETURNING * INTO seen;
        IF NOT FOUND THEN
            SELECT * INTO STRICT seen FROM alias WHERE tenant = my_tenant AND name = p_name AND alias = p_alias;
            IF seen.version = p_version THEN
                RETURN seen.row_version;
            END IF;
            RAISE EXCEPTION '%@% exists already', p_name, p_alias USING ERRCODE = 'MO004';
        END IF;
    ELSE
        SELECT * INTO seen FROM alias
        WHERE tenant = my_tenant AND name = p_name AND alias = p_alias FOR UPDATE;
        IF NOT FOUND OR seen.row_version <> p_expected THEN
            RAISE EXCEPTION '%@% was moved meanwhile', p_name, p_alias USING ERRCODE = 'MO004';
        END IF;
        IF seen.version = p_version THEN
            RETURN seen.row_version;
        END IF;
        UPDATE alias SET version = p_version, row_version = row_version + 1, moved_at = now()
        WHERE tenant = my_tenant AND name = p_name AND alias = p_alias RETURNING * INTO seen;
    END IF;
    event_seq := append_event('alias.moved', 'blueprint/' || p_name,
        jsonb_build_object('name', p_name, 'alias', p_alias, 'version', p_version, 'row_version', seen.row_version,
                           'blueprint_digest', release.blueprint_digest));
    INSERT INTO alias_history (tenant, name, alias, row_version, version, since_seq, actor)
    VALUES (my_tenant, p_name, p_alias, seen.row_version, p_version, event_seq, session_user);
    RETURN seen.row_version;
END $$;

CREATE TABLE index_generation (
    tenant asset_name NOT NULL,
    name asset_name NOT NULL,
    generation bigint NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, name),
    FOREIGN KEY (tenant, name) REFERENCES blueprint
);

-- The next generation and everything it has to say, read in one snapshot that is younger than the generation before:
-- its row stays locked to the end of the transaction.
CREATE FUNCTION next_index(p_name text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    raised bigint;
    snapshot jsonb;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM blueprint WHERE tenant = my_tenant AND name = p_name) THEN
        RAISE EXCEPTION 'no blueprint named %', p_name USING ERRCODE = 'MO006';
    END IF;
    INSERT INTO index_generation AS g (tenant, name, generation) VALUES (my_tenant, p_name, timeline_floor() + 1)
    ON CONFLICT (tenant, name) DO UPDATE
        SET generation = greatest(g.generation, timeline_floor()) + 1, raised_at = now()
    RETURNING generation INTO raised;
    WITH release AS (
        SELECT r.version, r.blueprint_digest FROM blueprint_release r
        WHERE r.tenant = my_tenant AND r.name = p_name AND r.state = 'PUBLISHED'
    ), variant AS (
        SELECT k.* FROM kernel k
        WHERE k.tenant = my_tenant AND k.blueprint_digest IN (SELECT blueprint_digest FROM release)
    )
    SELECT jsonb_build_object(
        'tenant', my_tenant,
        'name', p_name,
        'generation', raised,
        'aliases', (SELECT coalesce(jsonb_object_agg(a.alias, a.version), '{}') FROM alias a
                    WHERE a.tenant = my_tenant AND a.name = p_name),
        'releases', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                        'version', r.version, 'blueprint_digest', r.blueprint_digest,
                        'document', encode(d.document, 'hex')) ORDER BY r.version), '[]')
                     FROM release r JOIN blueprint_document d
                         ON d.tenant = my_tenant AND d.digest = r.blueprint_digest),
        'variants', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                        'kernel_digest', v.digest, 'blueprint_digest', v.blueprint_digest, 'target', v.target,
                        'size_bytes', v.size_bytes, 'speed_ratio', v.speed_ratio,
                        'attestations', (SELECT jsonb_agg(encode(e.envelope, 'hex') ORDER BY e.kind, e.recorded_at)
                                         FROM attestation e
                                         WHERE e.tenant = my_tenant AND e.kernel_digest = v.digest))
                        ORDER BY v.digest), '[]')
                     FROM variant v WHERE v.state = 'PUBLISHED'),
        'revoked', (SELECT coalesce(jsonb_agg(v.digest ORDER BY v.digest), '[]')
                    FROM variant v WHERE v.state IN ('REVOKED', 'QUARANTINED')))
    INTO snapshot;
    RETURN snapshot;
END $$;
