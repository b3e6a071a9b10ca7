-- How a kernel goes: retired into a tombstone, restored from it, or purged with a proof.
CREATE CONSTRAINT TRIGGER tombstone_has_its_event AFTER INSERT OR UPDATE OR DELETE ON tombstone
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('kernel', 'kernel_digest');
CREATE CONSTRAINT TRIGGER doomed_object_has_its_event AFTER INSERT OR UPDATE OR DELETE ON doomed_object
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('kernel', 'kernel_digest');
CREATE CONSTRAINT TRIGGER policy_has_its_event AFTER INSERT OR UPDATE OR DELETE ON retention_policy
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('policy', 'name');

-- What stands on a kernel's tombstone allows, or not. `guard` is a name of the lifecycle.
CREATE FUNCTION tombstone_allows(guard text, subject kernel) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    SELECT EXISTS (
        SELECT 1 FROM tombstone t WHERE t.tenant = subject.tenant AND t.kernel_digest = subject.digest
        AND CASE guard
            WHEN 'restored' THEN t.restores_to = subject.state AND t.purge_seq IS NULL AND t.grace_until > clock_timestamp()
            -- Its bytes may be gone already: a run that tells only now what it was served keeps nothing.
            WHEN 'being_purged' THEN t.purge_seq IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM checkpoint_kernel c
                WHERE c.tenant = subject.tenant AND c.kernel_digest = subject.digest)
            -- What was found wrong stays gone, also when the compiler makes the very same bits again.
            WHEN 'may_be_built_again' THEN t.purged_seq IS NOT NULL AND t.restores_to NOT IN ('REJECTED', 'REVOKED')
        END)
$$;

-- Of some blobs, one that nobody may use: not there with this size, not live, or about to be deleted. The caller holds
-- them, in an earlier statement, against a removal that begins meanwhile. p_blobs: [{"digest", "size_bytes"}, ...]
CREATE FUNCTION unusable_blob(p_tenant text, p_blobs jsonb) RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    SELECT b.digest FROM jsonb_to_recordset(p_blobs) AS b (digest text, size_bytes bigint)
    WHERE NOT EXISTS (SELECT 1 FROM blob k WHERE k.tenant = p_tenant AND k.digest = b.digest AND k.state = 'live'
                                             AND k.size_bytes = b.size_bytes)
       OR EXISTS (SELECT 1 FROM doomed_object d
                  WHERE d.tenant = p_tenant AND d.kind = 'bundle' AND d.digest = b.digest)
    LIMIT 1
$$;

-- What was recorded of a kernel goes only with the kernel.
CREATE FUNCTION refuse_change_while_kept() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    gone jsonb := to_jsonb(OLD);
    subject text := coalesce(gone ->> 'kernel_digest', (
        SELECT r.kernel_digest FROM report r
        WHERE r.tenant = gone ->> 'tenant' AND r.report_id = (gone ->> 'report_id')::uuid));
BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (SELECT 1 FROM kernel k WHERE k.tenant = gone ->> 'tenant' AND k.digest = subject
                                                             AND k.state = 'PURGED') THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, lower(TG_OP) USING ERRCODE = 'MO009';
END $$;

DO $$
DECLARE
    written_once text;
BEGIN
    FOREACH written_once IN ARRAY ARRAY['report', 'measurement', 'attestation'] LOOP
        EXECUTE format('CREATE TRIGGER %1$s_is_append_only BEFORE UPDATE OR DELETE ON %1$I
                        FOR EACH ROW EXECUTE FUNCTION refuse_change_while_kept()', written_once);
    END LOOP;
END $$;

CREATE FUNCTION set_policy(p_name text, p_kind text, p_parameters jsonb, p_grace_s bigint, p_enabled boolean,
                           p_expected int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    kept retention_policy;
BEGIN
    IF p_expected IS NULL THEN
        INSERT INTO retention_policy (tenant, name, kind, parameters, grace_s, enabled)
        VALUES (my_tenant, p_name, p_kind, p_parameters, p_grace_s, p_enabled)
        ON CONFLICT DO NOTHING RETURNING * INTO kept;
    ELSE
        UPDATE retention_policy SET kind = p_kind, parameters = p_parameters, grace_s = p_grace_s, enabled = p_enabled,
                                    row_version = row_version + 1
        WHERE tenant = my_tenant AND name = p_name AND row_version = p_expected RETURNING * INTO kept;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'policy % was changed meanwhile', p_name USING ERRCODE = 'MO004';
    END IF;
    PERFORM append_event('policy.changed', 'policy/' || p_name,
        jsonb_build_object('name', p_name, 'kind', p_kind, 'parameters', p_parameters, 'grace_s', p_grace_s,
                           'enabled', p_enabled, 'row_version', kept.row_version));
    RETURN kept.row_version;
END $$;

-- A policy takes nothing that an alias serves; a curator may, as long as another kernel takes its place.
CREATE FUNCTION retire_kernel(p_kernel text, p_reason text, p_policy text DEFAULT '', p_grace_s bigint DEFAULT 604800)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    locked kernel;
    until_at timestamptz := clock_timestamp() + make_interval(secs => p_grace_s);
    comes_back_as text;
BEGIN
    IF p_grace_s NOT BETWEEN 0 AND 315360000 THEN
        RAISE EXCEPTION 'a grace lasts up to ten years, not % s', p_grace_s USING ERRCODE = '22023';
    END IF;
    -- An alias being moved holds its release: wait for it, or make it wait.
    PERFORM 1 FROM blueprint_release r JOIN kernel k ON k.tenant = r.tenant AND k.blueprint_digest = r.blueprint_digest
    WHERE k.tenant = current_tenant() AND k.digest = p_kernel
    ORDER BY r.name, r.version FOR UPDATE OF r;
    locked := lock_kernel(p_kernel);
    IF locked.state = 'RETIRED' THEN
        RETURN;
    END IF;
    IF p_policy <> '' AND locked.state = 'PUBLISHED' AND EXISTS (
        SELECT 1 FROM alias a JOIN blueprint_release r ON r.tenant = a.tenant AND r.name = a.name AND r.version = a.version
        WHERE r.tenant = locked.tenant AND r.blueprint_digest = locked.blueprint_digest) THEN
        RAISE EXCEPTION 'no policy retires a published kernel behind an alias' USING ERRCODE = 'MO003';
    END IF;
    -- What served comes back as what may be published: somebody has to want it.
    comes_back_as := CASE locked.state WHEN 'PUBLISHED' THEN 'VALIDATED' ELSE locked.state END;
    UPDATE kernel SET state = 'RETIRED', state_reason = p_reason WHERE tenant = locked.tenant AND digest = p_kernel;
    INSERT INTO tombstone (tenant, kernel_digest, restores_to, reason, policy, grace_until)
    VALUES (locked.tenant, p_kernel, comes_back_as, p_reason, p_policy, until_at);
    PERFORM append_event('kernel.retired', 'kernel/' || p_kernel,
        jsonb_build_object('kernel_digest', p_kernel, 'blueprint_digest', locked.blueprint_digest, 'from', locked.state,
                           'to', 'RETIRED', 'reason', p_reason, 'policy', p_policy, 'restores_to', comes_back_as,
                           'grace_until_us', to_us(until_at)));
END $$;

-- Back from the tombstone, to the state before it. Returns that state.
CREATE FUNCTION restore_kernel(p_kernel text, p_reason text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    locked kernel := lock_kernel(p_kernel);
    stone tombstone;
BEGIN
    SELECT * INTO stone FROM tombstone WHERE tenant = locked.tenant AND kernel_digest = p_kernel FOR UPDATE;
    IF NOT FOUND OR stone.purged_seq IS NOT NULL THEN
        RAISE EXCEPTION 'kernel % has no tombstone to come back from', p_kernel USING ERRCODE = 'MO006';
    ELSIF EXISTS (SELECT 1 FROM kernel k WHERE k.tenant = locked.tenant AND k.build_key = locked.build_key
                                           AND k.state NOT IN ('RETIRED', 'PURGED')) THEN
        RAISE EXCEPTION 'another kernel was built in the place of %', p_kernel USING ERRCODE = 'MO003';
    END IF;
    UPDATE kernel SET state = stone.restores_to, state_reason = p_reason
    WHERE tenant = locked.tenant AND digest = p_kernel;
    DELETE FROM tombstone WHERE tenant = locked.tenant AND kernel_digest = p_kernel;
    PERFORM append_event('kernel.restored', 'kernel/' || p_kernel,
        jsonb_build_object('kernel_digest', p_kernel, 'blueprint_digest', locked.blueprint_digest, 'from', locked.state,
                           'to', stone.restores_to, 'reason', p_reason));
    RETURN stone.restores_to;
END $$;

-- The point of no return: say which objects nothing else needs. Returns the event's number, and again the same.
CREATE FUNCTION begin_purge(p_kernel text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    locked kernel := lock_kernel(p_kernel);
    stone tombstone;
    doomed jsonb;
    event_seq bigint;
BEGIN
    SELECT * INTO stone FROM tombstone WHERE tenant = locked.tenant AND kernel_digest = p_kernel FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'kernel % has no tombstone', p_kernel USING ERRCODE = 'MO006';
    ELSIF stone.purge_seq IS NOT NULL THEN
        RETURN stone.purge_seq;
    ELSIF stone.grace_until > clock_timestamp() THEN
        RAISE EXCEPTION 'kernel % may come back until %', p_kernel, stone.grace_until USING ERRCODE = 'MO003';
    ELSIF why_kernel_stays(locked, 'RETIRED') IS NOT NULL THEN
        RAISE EXCEPTION 'kernel % stays: %', p_kernel, why_kernel_stays(locked, 'RETIRED') USING ERRCODE = 'MO003';
    END IF;
    PERFORM 1 FROM blob WHERE tenant = locked.tenant AND digest = locked.bundle_digest FOR UPDATE;
    INSERT INTO doomed_object (tenant, kernel_digest, kind, digest, size_bytes)
    SELECT b.tenant, p_kernel, 'bundle', b.digest, b.size_bytes FROM blob b
    WHERE b.tenant = locked.tenant AND b.digest = locked.bundle_digest AND b.state = 'live'
      AND NOT EXISTS (SELECT 1 FROM checkpoint_blob c WHERE c.tenant = b.tenant AND c.digest = b.digest)
      AND NOT EXISTS (SELECT 1 FROM kernel k WHERE k.tenant = b.tenant AND k.bundle_digest = b.digest
                                               AND k.digest <> p_kernel AND k.state <> 'PURGED')
    UNION SELECT r.tenant, p_kernel, 'report', r.body_digest, octet_length(r.body) FROM report r
    WHERE r.tenant = locked.tenant AND r.kernel_digest = p_kernel
      AND NOT EXISTS (SELECT 1 FROM report o WHERE o.tenant = r.tenant AND o.body_digest = r.body_digest
                                               AND o.kernel_digest <> p_kernel);
    SELECT coalesce(jsonb_agg(jsonb_build_object('kind', d.kind, 'digest', d.digest, 'size_bytes', d.size_bytes)
                              ORDER BY d.kind, d.digest), '[]') INTO doomed
    FROM doomed_object d WHERE d.tenant = locked.tenant AND d.kernel_digest = p_kernel;
    event_seq := append_event('kernel.purge_started', 'kernel/' || p_kernel,
        jsonb_build_object('kernel_digest', p_kernel, 'blueprint_digest', locked.blueprint_digest,
                           'reason', stone.reason, 'policy', stone.policy, 'objects', doomed));
    UPDATE tombstone SET purge_seq = event_seq WHERE tenant = locked.tenant AND kernel_digest = p_kernel;
    RETURN event_seq;
END $$;

-- The rows that go with a kernel, by what finds each again.
CREATE FUNCTION rows_of_kernel(p_tenant text, p_kernel text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    SELECT jsonb_build_object(
        'reports', (SELECT coalesce(jsonb_agg(r.report_id ORDER BY r.report_id), '[]') FROM report r
                    WHERE r.tenant = p_tenant AND r.kernel_digest = p_kernel),
        'measurements', (SELECT coalesce(jsonb_agg(jsonb_build_array(m.report_id, m.metric, m.shape_class, m.hardware)
                                                   ORDER BY m.report_id, m.metric, m.shape_class, m.hardware), '[]')
                         FROM report r JOIN measurement m ON m.tenant = r.tenant AND m.report_id = r.report_id
                         WHERE r.tenant = p_tenant AND r.kernel_digest = p_kernel),
        'attestations', (SELECT coalesce(jsonb_agg(a.envelope_digest ORDER BY a.envelope_digest), '[]')
                         FROM attestation a WHERE a.tenant = p_tenant AND a.kernel_digest = p_kernel),
        'latencies', (SELECT coalesce(jsonb_agg(jsonb_build_array(l.hardware, l.shape_class)
                                                ORDER BY l.hardware, l.shape_class), '[]') FROM kernel_latency l
                      WHERE l.tenant = p_tenant AND l.kernel_digest = p_kernel),
        'locations', (SELECT coalesce(jsonb_agg(jsonb_build_array(l.digest, l.location, l.byte_offset)
                                                ORDER BY l.location, l.byte_offset), '[]')
                      FROM doomed_object d JOIN blob_location l ON l.tenant = d.tenant AND l.digest = d.digest
                      WHERE d.tenant = p_tenant AND d.kernel_digest = p_kernel AND d.kind = 'bundle'),
        'edges', (SELECT coalesce(jsonb_agg(jsonb_build_array(e.source, e.relation, e.target, e.since_seq)
                                            ORDER BY e.since_seq, e.source), '[]')
                  FROM edge e WHERE e.tenant = p_tenant AND e.until_seq IS NULL
                              AND 'kernel/' || p_kernel IN (e.source, e.target)))
$$;

-- After the objects are deleted and the proof lies in the store. The kernel's row stays, as the name of what was.
CREATE FUNCTION finish_purge(p_kernel text, p_proof_digest text, p_proof_key text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    locked kernel := lock_kernel(p_kernel);
    stone tombstone;
    gone jsonb;
    event_seq bigint;
BEGIN
    SELECT * INTO stone FROM tombstone WHERE tenant = locked.tenant AND kernel_digest = p_kernel FOR UPDATE;
    IF locked.state = 'PURGED' THEN
        RETURN;
    ELSIF stone.purge_seq IS NULL THEN
        RAISE EXCEPTION 'no purge of kernel % was begun', p_kernel USING ERRCODE = 'MO003';
    END IF;
    gone := rows_of_kernel(locked.tenant, p_kernel);
    UPDATE kernel SET state = 'PURGED' WHERE tenant = locked.tenant AND digest = p_kernel;
    DELETE FROM kernel_latency WHERE tenant = locked.tenant AND kernel_digest = p_kernel;
    DELETE FROM measurement m USING report r
    WHERE r.tenant = locked.tenant AND r.kernel_digest = p_kernel AND m.tenant = r.tenant AND m.report_id = r.report_id;
    DELETE FROM attestation WHERE tenant = locked.tenant AND kernel_digest = p_kernel;
    DELETE FROM report WHERE tenant = locked.tenant AND kernel_digest = p_kernel;
    UPDATE blob b SET state = 'dead' FROM doomed_object d
    WHERE d.tenant = locked.tenant AND d.kernel_digest = p_kernel AND d.kind = 'bundle'
      AND b.tenant = d.tenant AND b.digest = d.digest;
    DELETE FROM blob_location l USING doomed_object d
    WHERE d.tenant = locked.tenant AND d.kernel_digest = p_kernel AND d.kind = 'bundle'
      AND l.tenant = d.tenant AND l.digest = d.digest;
    DELETE FROM doomed_object WHERE tenant = locked.tenant AND kernel_digest = p_kernel;
    event_seq := append_event('kernel.purged', 'kernel/' || p_kernel,
        jsonb_build_object('kernel_digest', p_kernel, 'blueprint_digest', locked.blueprint_digest, 'from', locked.state,
                           'to', 'PURGED', 'reason', stone.reason, 'policy', stone.policy,
                           'purge_seq', stone.purge_seq, 'proof_digest', p_proof_digest, 'proof_key', p_proof_key,
                           'rows', gone));
    UPDATE edge SET until_seq = event_seq
    WHERE tenant = locked.tenant AND until_seq IS NULL AND 'kernel/' || p_kernel IN (source, target);
    UPDATE tombstone SET purged_seq = event_seq, proof_digest = p_proof_digest, proof_key = p_proof_key
    WHERE tenant = locked.tenant AND kernel_digest = p_kernel;
END $$;
