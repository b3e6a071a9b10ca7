-- What the signed index documents have to say, and how far they are behind.

-- The next generation of a name's index, its own short transaction: what a slow reader holds is no lock.
CREATE FUNCTION raise_index(p_name text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    raised bigint;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM blueprint WHERE tenant = my_tenant AND name = p_name) THEN
        RAISE EXCEPTION 'no blueprint named %', p_name USING ERRCODE = 'MO006';
    END IF;
    INSERT INTO index_generation AS g (tenant, name, generation) VALUES (my_tenant, p_name, timeline_floor() + 1)
    ON CONFLICT (tenant, name) DO UPDATE
        SET generation = greatest(g.generation, timeline_floor()) + 1, raised_at = now()
    RETURNING generation INTO raised;
    RETURN raised;
END $$;

-- Everything that a generation has to say. It must still be the newest one in the very snapshot that is read: the
-- snapshot of the next generation is then younger, and knows no less. `seq` is the newest event that it knows of.
-- A long answer is on its way for as long as its reader likes, so nothing is locked here.
CREATE FUNCTION read_index(p_name text, p_generation bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    snapshot jsonb;
BEGIN
    PERFORM 1 FROM index_generation WHERE tenant = my_tenant AND name = p_name AND generation = p_generation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'generation % of the index of % is not the newest', p_generation, p_name
            USING ERRCODE = 'MO004';
    END IF;
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
        'generation', p_generation,
        'seq', (SELECT h.seq FROM chain_head h WHERE h.tenant = my_tenant),
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

-- Say that this generation lies in the store, where loaders find it.
CREATE FUNCTION index_was_published(p_name text, p_generation bigint, p_seq bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    UPDATE index_generation
    SET published_generation = p_generation, published_seq = p_seq, published_at = clock_timestamp()
    WHERE tenant = current_tenant() AND name = p_name AND published_generation < p_generation
      AND p_generation <= generation;
END $$;
