-- Bulk imports. A batch has one event; the rules that hold for every row hold for its rows too, by set instead of by row.
CREATE TRIGGER import_is_append_only BEFORE UPDATE OR DELETE ON kernel_import
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE CONSTRAINT TRIGGER import_has_its_event AFTER INSERT ON kernel_import
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('import', 'import_id');

-- A row without an event of its own came with an import of this very transaction, which has one.
CREATE FUNCTION require_import() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM (SELECT DISTINCT tenant, import_id FROM added WHERE import_id IS NOT NULL) a
        WHERE NOT EXISTS (SELECT 1 FROM kernel_import i WHERE i.tenant = a.tenant AND i.import_id = a.import_id
                                                       AND i.txid = pg_current_xact_id()))
    THEN
        RAISE EXCEPTION 'a change of % was made under an import of another transaction', TG_TABLE_NAME
            USING ERRCODE = 'MO007';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER release_came_with_its_import AFTER INSERT ON blueprint_release
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION require_import();
CREATE TRIGGER kernel_came_with_its_import AFTER INSERT ON kernel
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION require_import();

-- At the end of the statement that adds them, validated kernels have what the evaluator's transition asks for one by one.
CREATE FUNCTION require_evidence() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    bare text;
BEGIN
    -- Counted a kernel at a time: asked with EXISTS, the planner joins all reports to all attestations for every batch.
    SELECT a.digest INTO bare FROM added a
    WHERE a.state <> 'COMPILED' AND (
        (SELECT count(*) FROM report r JOIN attestation v ON v.tenant = r.tenant AND v.report_id = r.report_id
         WHERE r.tenant = a.tenant AND r.kernel_digest = a.digest AND r.evaluation = a.evaluation
           AND r.verdict = 'pass' AND v.kind = 'verification' AND v.kernel_digest = a.digest) = 0
        OR (SELECT count(*) FROM attestation p WHERE p.tenant = a.tenant AND p.kernel_digest = a.digest
                                                 AND p.kind = 'provenance') = 0)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'kernel % comes without a passing report, its attestation and a provenance', bare
            USING ERRCODE = 'MO003';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER added_kernel_has_evidence AFTER INSERT ON kernel
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION require_evidence();

-- The blueprints of a batch: names, documents, and releases under the next versions. Returns how many rows it made.
CREATE FUNCTION import_releases(p_tenant text, p_import uuid, p_lines jsonb[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    missing text;
    made bigint;
BEGIN
    INSERT INTO blueprint (tenant, name)
    SELECT DISTINCT p_tenant, line ->> 'name' FROM unnest(p_lines) line WHERE line ->> 'kind' = 'blueprint' ORDER BY 2
    ON CONFLICT DO NOTHING;
    PERFORM 1 FROM blueprint b WHERE b.tenant = p_tenant
        AND b.name IN (SELECT line ->> 'name' FROM unnest(p_lines) line WHERE line ->> 'kind' = 'blueprint')
    ORDER BY b.name FOR NO KEY UPDATE;
    WITH told AS MATERIALIZED (
        SELECT line, place, decode(line ->> 'document', 'base64') AS document
        FROM unnest(p_lines) WITH ORDINALITY AS lines (line, place) WHERE line ->> 'kind' = 'blueprint'
    ), documents AS (
        INSERT INTO blueprint_document (tenant, digest, document)
        SELECT DISTINCT p_tenant, encode(sha256(t.document), 'hex'), t.document FROM told t
        ON CONFLICT DO NOTHING RETURNING 1
    ), releases AS (
        INSERT INTO blueprint_release (tenant, name, version, blueprint_digest, tags, author, parents, import_id)
        SELECT p_tenant, t.line ->> 'name',
               (SELECT coalesce(max(r.version), 0) FROM blueprint_release r
                WHERE r.tenant = p_tenant AND r.name = t.line ->> 'name')
               + row_number() OVER (PARTITION BY t.line ->> 'name' ORDER BY t.place),
               encode(sha256(t.document), 'hex'), ARRAY(SELECT jsonb_array_elements_text(t.line -> 'tags')),
               t.line ->> 'author', ARRAY(SELECT jsonb_array_elements_text(t.line -> 'parents')), p_import
        FROM told t ORDER BY t.line ->> 'name', t.place
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM documents) + (SELECT count(*) FROM releases) INTO made;
    SELECT parent INTO missing
    FROM unnest(p_lines) line, jsonb_array_elements_text(line -> 'parents') parent
    WHERE NOT EXISTS (SELECT 1 FROM blueprint_document d WHERE d.tenant = p_tenant AND d.digest = parent) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'parent blueprint % is not registered', missing USING ERRCODE = 'MO006';
    END IF;
    RETURN made;
END $$;

-- The kernels of a batch with all that vouches for them, in one statement, at whose end every rule is checked. Returns
-- how many rows it made.
CREATE FUNCTION import_kernel_rows(p_tenant text, p_import uuid, p_lines jsonb[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    WITH told AS MATERIALIZED (
        SELECT k.* FROM unnest(p_lines) line, jsonb_to_record(line) AS k (
            kind text, digest text, blueprint_digest text, build_key text, target jsonb, toolchain text, pipeline text,
            recipe_version int, size_bytes bigint, bundle_digest text, bundle_key text, bundle_bytes bigint,
            provenance text, report jsonb)
        WHERE k.kind = 'kernel'
    ), judged AS MATERIALIZED (
        SELECT t.digest AS kernel_digest, r.*, decode(r.body, 'base64') AS body_bytes,
               decode(r.attestation, 'base64') AS envelope
        FROM told t, jsonb_to_record(t.report) AS r (
            report_id uuid, suite text, body text, torch text, device text, isa text, measurements jsonb, tags text[],
            attestation text)
        WHERE jsonb_typeof(t.report) = 'object'
    ), measured AS MATERIALIZED (
        SELECT j.kernel_digest, j.report_id, m.* FROM judged j, jsonb_to_recordset(j.measurements) AS m (
            metric text, shape_class text, hardware text, value double precision, unit text)
    ), summary AS (
        SELECT kernel_digest, max(value) FILTER (WHERE metric = 'speed_ratio') AS speed_ratio,
               max(value) FILTER (WHERE metric = 'latency_us') AS latency_us,
               max(value) FILTER (WHERE metric = 'memory_bytes')::bigint AS memory_bytes,
               max(value) FILTER (WHERE metric = 'risk') AS risk
        FROM measured WHERE shape_class = '' GROUP BY kernel_digest
    ), blobs AS (
        INSERT INTO blob (tenant, digest, size_bytes)
        SELECT DISTINCT p_tenant, t.bundle_digest, t.bundle_bytes FROM told t
        ON CONFLICT DO NOTHING RETURNING 1
    ), locations AS (
        INSERT INTO blob_location (tenant, digest, location, size_bytes)
        SELECT DISTINCT p_tenant, t.bundle_digest, t.bundle_key, t.bundle_bytes FROM told t
        ON CONFLICT DO NOTHING RETURNING 1
    ), kernels AS (
        INSERT INTO kernel (tenant, digest, blueprint_digest, build_key, target, toolchain, pipeline, recipe_version,
                            size_bytes, bundle_digest, bundle_key, state, evaluation, speed_ratio, latency_us,
                            memory_bytes, risk, tags, import_id)
        SELECT p_tenant, t.digest, t.blueprint_digest, t.build_key, t.target, t.toolchain, t.pipeline, t.recipe_version,
               t.size_bytes, t.bundle_digest, t.bundle_key,
               CASE WHEN j.report_id IS NULL THEN 'COMPILED' ELSE 'VALIDATED' END,
               CASE WHEN j.report_id IS NULL THEN 0 ELSE 1 END,
               s.speed_ratio, s.latency_us, s.memory_bytes, s.risk, coalesce(sorted_tags(j.tags), '{}'), p_import
        FROM told t LEFT JOIN judged j ON j.kernel_digest = t.digest LEFT JOIN summary s ON s.kernel_digest = t.digest
        RETURNING 1
    ), reports AS (
        INSERT INTO report (tenant, report_id, kernel_digest, evaluation, suite, verdict, body, body_digest,
                            runtime_torch, runtime_device, runtime_isa, recorded_by)
        SELECT p_tenant, j.report_id, j.kernel_digest, 1, j.suite, 'pass', j.body_bytes,
               encode(sha256(j.body_bytes), 'hex'), j.torch, j.device, j.isa, session_user
        FROM judged j RETURNING 1
    ), measurements AS (
        INSERT INTO measurement (tenant, report_id, metric, shape_class, hardware, value, unit)
        SELECT p_tenant, m.report_id, m.metric, m.shape_class, m.hardware, m.value, m.unit FROM measured m
        RETURNING 1
    ), attestations AS (
        INSERT INTO attestation (tenant, kernel_digest, envelope_digest, kind, report_id, envelope, recorded_by)
        SELECT p_tenant, t.digest, encode(sha256(p.envelope), 'hex'), 'provenance', NULL::uuid, p.envelope, session_user
        FROM told t, decode(t.provenance, 'base64') AS p (envelope)
        UNION ALL
        SELECT p_tenant, j.kernel_digest, encode(sha256(j.envelope), 'hex'), 'verification', j.report_id, j.envelope,
               session_user
        FROM judged j RETURNING 1
    ), latencies AS (
        INSERT INTO kernel_latency (tenant, kernel_digest, hardware, shape_class, latency_us)
        SELECT p_tenant, m.kernel_digest, m.hardware, m.shape_class, m.value FROM measured m
        WHERE m.metric = CASE m.shape_class WHEN '' THEN 'latency_us' ELSE 'step_us' END AND m.value > 0
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM blobs) + (SELECT count(*) FROM locations) + (SELECT count(*) FROM kernels)
         + (SELECT count(*) FROM reports) + (SELECT count(*) FROM measurements) + (SELECT count(*) FROM attestations)
         + (SELECT count(*) FROM latencies)
$$;

-- Who came from whom in a batch; from its event on.
CREATE FUNCTION import_edges(p_tenant text, p_seq bigint, p_lines jsonb[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    made bigint;
BEGIN
    INSERT INTO edge (tenant, source, relation, target, since_seq)
    SELECT p_tenant, 'kernel/' || (line ->> 'digest'), 'compiled_from', 'blueprint/' || (line ->> 'blueprint_digest'), p_seq
    FROM unnest(p_lines) line WHERE line ->> 'kind' = 'kernel'
    UNION ALL
    SELECT p_tenant, 'report/' || (line -> 'report' ->> 'report_id')::uuid, 'evaluates', 'kernel/' || (line ->> 'digest'), p_seq
    FROM unnest(p_lines) line WHERE jsonb_typeof(line -> 'report') = 'object'
    UNION ALL
    SELECT DISTINCT p_tenant, 'blueprint/' || b.digest, 'derived_from', 'blueprint/' || parent, p_seq
    FROM unnest(p_lines) line, jsonb_array_elements_text(line -> 'parents') parent,
         encode(sha256(decode(line ->> 'document', 'base64')), 'hex') AS b (digest)
    WHERE parent <> b.digest;
    GET DIAGNOSTICS made = ROW_COUNT;
    RETURN made;
END $$;

-- Take in everything that a batch manifest tells of, or nothing. The database takes the digest of the very bytes that it
-- expands, so that the event names what happened. The same manifest again changes nothing.
-- The lines of a manifest: morph_assets/registry/import_manifest.py.
CREATE FUNCTION import_kernels(p_import uuid, p_manifest bytea, p_manifest_key text, OUT import_id uuid,
                               OUT row_count bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    my_tenant text := current_tenant();
    my_digest text := encode(sha256(p_manifest), 'hex');
    lines jsonb[];
    counts record;
    released text[];
    refused text;
    event_seq bigint;
BEGIN
    SELECT i.import_id, 0 INTO import_id, row_count FROM kernel_import i
    WHERE i.tenant = my_tenant AND i.manifest_digest = my_digest;
    IF FOUND THEN
        RETURN;
    END IF;
    IF octet_length(p_manifest) > 33554432 THEN
        RAISE EXCEPTION 'a batch of % bytes is too large', octet_length(p_manifest) USING ERRCODE = '22023';
    END IF;
    lines := ARRAY(SELECT line::jsonb FROM string_to_table(rtrim(convert_from(p_manifest, 'UTF8'), E'\n'), E'\n') line);
    IF cardinality(lines) > 5001 OR lines[1] IS DISTINCT FROM '{"format": 1, "kind": "manifest"}' THEN
        RAISE EXCEPTION 'this is no batch manifest of format 1, or it has more than 5000 lines' USING ERRCODE = '22023';
    END IF;
    SELECT count(*) FILTER (WHERE line ->> 'kind' = 'blueprint') AS blueprints,
           count(*) FILTER (WHERE line ->> 'kind' = 'kernel') AS kernels,
           count(*) FILTER (WHERE jsonb_typeof(line -> 'report') = 'object') AS reports
    INTO counts FROM unnest(lines) line;
    IF counts.blueprints + counts.kernels <> cardinality(lines) - 1 OR cardinality(lines) = 1 THEN
        RAISE EXCEPTION 'a manifest is a header and lines of blueprints and kernels' USING ERRCODE = '22023';
    END IF;
    import_id := p_import;
    INSERT INTO kernel_import (tenant, import_id, manifest_digest, manifest_key, blueprints, kernels, reports, txid)
    VALUES (my_tenant, p_import, my_digest, p_manifest_key, counts.blueprints, counts.kernels, counts.reports,
            pg_current_xact_id())
    ON CONFLICT (tenant, manifest_digest) DO NOTHING;
    IF NOT FOUND THEN  -- somebody took in the very same meanwhile
        SELECT i.import_id, 0 INTO import_id, row_count FROM kernel_import i
        WHERE i.tenant = my_tenant AND i.manifest_digest = my_digest;
        RETURN;
    END IF;
    row_count := import_releases(my_tenant, p_import, lines);
    released := ARRAY(SELECT DISTINCT encode(sha256(decode(line ->> 'document', 'base64')), 'hex')
                      FROM unnest(lines) line WHERE line ->> 'kind' = 'blueprint');
    PERFORM 1 FROM blueprint_document d WHERE d.tenant = my_tenant
        AND (d.digest = ANY (released) OR d.digest IN (SELECT line ->> 'blueprint_digest' FROM unnest(lines) line))
    ORDER BY d.digest FOR NO KEY UPDATE;
    row_count := row_count + import_kernel_rows(my_tenant, p_import, lines);
    -- The kernels' foreign keys hold their bundles; what was here before may be another, or on its way out.
    refused := unusable_blob(my_tenant, (
        SELECT jsonb_agg(jsonb_build_object('digest', line -> 'bundle_digest', 'size_bytes', line -> 'bundle_bytes'))
        FROM unnest(lines) line WHERE line ->> 'kind' = 'kernel'));
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'blob % is not live with this size: upload it again', refused USING ERRCODE = 'MO010';
    END IF;
    event_seq := append_event('kernels.imported', 'import/' || p_import,
        jsonb_build_object('import_id', p_import, 'manifest_digest', my_digest, 'manifest_key', p_manifest_key,
                           'blueprints', counts.blueprints, 'kernels', counts.kernels, 'reports', counts.reports));
    row_count := row_count + import_edges(my_tenant, event_seq, lines);
    -- As with a release that is submitted: a blueprint that is in service already is so under its new name too.
    PERFORM publish_releases(k.blueprint_digest)
    FROM (SELECT DISTINCT served.blueprint_digest FROM kernel served WHERE served.tenant = my_tenant
          AND served.blueprint_digest = ANY (released) AND served.state = 'PUBLISHED' ORDER BY 1) k;
END $$;
