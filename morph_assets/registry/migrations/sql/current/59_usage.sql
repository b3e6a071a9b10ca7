-- The usage ledger: every entry is told by the event whose number it carries.
CREATE TRIGGER usage_entry_is_append_only BEFORE UPDATE OR DELETE ON usage_entry
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION require_told_entries() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM (SELECT DISTINCT tenant, seq FROM added) a
               WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.tenant = a.tenant AND e.seq = a.seq
                                                         AND e.txid = pg_current_xact_id())) THEN
        RAISE EXCEPTION 'usage was entered without its event' USING ERRCODE = 'MO007';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER usage_entry_has_its_event AFTER INSERT ON usage_entry
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION require_told_entries();
CREATE CONSTRAINT TRIGGER metering_has_its_event AFTER INSERT OR UPDATE OR DELETE ON metering
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('usage', 'meter');

CREATE FUNCTION to_us(moment timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = morph, pg_temp
AS $$ SELECT (extract(epoch FROM moment) * 1000000)::bigint $$;

-- The same facts have the same id, however often they are told.
CREATE FUNCTION entry_of(VARIADIC parts text[]) RETURNS uuid
LANGUAGE sql IMMUTABLE SET search_path = morph, pg_temp
AS $$ SELECT substr(encode(sha256(convert_to(array_to_string(parts, '/'), 'UTF8')), 'hex'), 1, 32)::uuid $$;

-- Enter what an event tells. p_entries: [[entry, run, blueprint, kernel, quantity as text], ...]
CREATE FUNCTION enter_usage(p_tenant text, p_kind text, p_entries jsonb, p_from_us bigint, p_to_us bigint, p_seq bigint)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    INSERT INTO usage_entry (tenant, entry_id, kind, run, blueprint_digest, kernel_digest, quantity, from_us, to_us, seq)
    SELECT p_tenant, (e ->> 0)::uuid, p_kind, e ->> 1, e ->> 2, e ->> 3, (e ->> 4)::double precision, p_from_us, p_to_us,
           p_seq
    FROM jsonb_array_elements(p_entries) e
$$;

-- The bytes of a kernel's bundle times the hours that it lay there in the window; a checkpoint's blobs go to the run that
-- committed them first.
CREATE FUNCTION stored_entries(p_tenant text, p_from_us bigint, p_to_us bigint, p_after text, p_limit int) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    WITH held AS (
        SELECT k.digest, k.blueprint_digest, b.size_bytes,
               greatest(p_from_us, to_us(k.created_at)) AS began_us,
               least(p_to_us, (SELECT to_us(e.recorded_at) FROM tombstone t
                               JOIN event e ON e.tenant = t.tenant AND e.seq = t.purged_seq
                               WHERE t.tenant = k.tenant AND t.kernel_digest = k.digest)) AS ended_us
        FROM kernel k JOIN blob b ON b.tenant = k.tenant AND b.digest = k.bundle_digest
        WHERE k.tenant = p_tenant AND k.digest > p_after AND to_us(k.created_at) < p_to_us
          AND (k.state <> 'PURGED' OR EXISTS (
              SELECT 1 FROM tombstone t JOIN event e ON e.tenant = t.tenant AND e.seq = t.purged_seq
              WHERE t.tenant = k.tenant AND t.kernel_digest = k.digest AND to_us(e.recorded_at) > p_from_us))
        ORDER BY k.digest LIMIT p_limit
    )
    SELECT coalesce(jsonb_agg(jsonb_build_array(
               entry_of(p_tenant, 'storage', p_from_us::text, p_to_us::text, digest), NULL, blueprint_digest, digest,
               (size_bytes * greatest(0, ended_us - began_us) / 3600000000)::text) ORDER BY digest), '[]')
    FROM held
$$;

CREATE FUNCTION stored_by_runs(p_tenant text, p_from_us bigint, p_to_us bigint, p_runs text[]) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    WITH summed AS (
        SELECT c.run, sum(b.size_bytes * greatest(0, p_to_us - greatest(p_from_us, to_us(c.recorded_at))) / 3600000000)
                      AS byte_hours
        FROM checkpoint c JOIN checkpoint_blob cb ON cb.tenant = c.tenant AND cb.checkpoint = c.checkpoint
        JOIN blob b ON b.tenant = cb.tenant AND b.digest = cb.digest
        WHERE c.tenant = p_tenant AND c.run = ANY (p_runs) AND NOT EXISTS (
            SELECT 1 FROM checkpoint_blob other JOIN checkpoint earlier
                ON earlier.tenant = other.tenant AND earlier.checkpoint = other.checkpoint AND earlier.seq < c.seq
            WHERE other.tenant = cb.tenant AND other.digest = cb.digest)
        GROUP BY c.run
    )
    SELECT coalesce(jsonb_agg(jsonb_build_array(
               entry_of(p_tenant, 'storage', p_from_us::text, p_to_us::text, 'run', run), run, NULL, NULL,
               byte_hours::text) ORDER BY run), '[]')
    FROM summed
$$;

-- Meter the next kernels of the window, or begin the one that ends with the last full hour; behind the last kernel its runs.
-- Returns whether the window is metered.
CREATE FUNCTION meter_storage(p_limit int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    room constant int := least(greatest(p_limit, 1), 2000);
    at metering;
    runs text[];
    entries jsonb := '[]';
    is_last boolean := false;
    event_seq bigint;
BEGIN
    -- Of two meters one waits for the other, also where neither has metered yet.
    PERFORM 1 FROM tenant WHERE tenant = my_tenant FOR NO KEY UPDATE;
    SELECT * INTO at FROM metering WHERE tenant = my_tenant AND meter = 'storage' FOR UPDATE;
    IF NOT FOUND THEN
        SELECT my_tenant, 'storage', u, u, '' INTO at FROM (
            SELECT to_us(date_trunc('hour', created_at)) AS u FROM tenant WHERE tenant = my_tenant) begun;
    END IF;
    IF at.after = '' AND at.from_us = at.to_us THEN
        at.to_us := to_us(date_trunc('hour', clock_timestamp()));
    END IF;
    IF at.to_us = at.from_us THEN
        RETURN true;
    END IF;
    IF NOT starts_with(at.after, 'run/') THEN
        entries := stored_entries(my_tenant, at.from_us, at.to_us, at.after, room);
        at.after := CASE WHEN jsonb_array_length(entries) < room THEN 'run/' ELSE entries -> -1 ->> 3 END;
    END IF;
    IF starts_with(at.after, 'run/') THEN
        runs := ARRAY(SELECT r.run FROM run r WHERE r.tenant = my_tenant AND r.run > substr(at.after, 5)
                      ORDER BY r.run LIMIT room);
        is_last := cardinality(runs) < room;
        at.after := coalesce('run/' || runs[cardinality(runs)], at.after);
        entries := entries || stored_by_runs(my_tenant, at.from_us, at.to_us, runs);
    END IF;
    -- Before the chain's head, as everybody does; the entries' foreign keys would ask for it behind.
    PERFORM 1 FROM kernel k WHERE k.tenant = my_tenant AND k.digest IN (
        SELECT e ->> 3 FROM jsonb_array_elements(entries) e) ORDER BY k.digest FOR KEY SHARE;
    event_seq := append_event('usage.metered', 'usage/storage',
        jsonb_build_object('kind', 'stored_byte_hours', 'from_us', at.from_us, 'to_us', at.to_us, 'entries', entries,
                           'after', at.after, 'is_last', is_last));
    PERFORM enter_usage(my_tenant, 'stored_byte_hours', entries, at.from_us, at.to_us, event_seq);
    INSERT INTO metering (tenant, meter, from_us, to_us, after)
    VALUES (my_tenant, 'storage', CASE WHEN is_last THEN at.to_us ELSE at.from_us END, at.to_us,
            CASE WHEN is_last THEN '' ELSE at.after END)
    ON CONFLICT (tenant, meter) DO UPDATE
        SET from_us = excluded.from_us, to_us = excluded.to_us, after = excluded.after;
    RETURN is_last;
END $$;

-- Bytes of kernels that were handed out. p_served: {kernel: bytes}. The id is the client's own: told twice is told once.
-- A trainer tells of its run, which has to be there.
CREATE FUNCTION report_served(p_report uuid, p_run text, p_served jsonb, p_from timestamptz, p_to timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    content text;
    entries jsonb;
    event_seq bigint;
BEGIN
    IF p_report IS NULL OR jsonb_typeof(p_served) IS DISTINCT FROM 'object' OR p_from IS NULL OR p_to IS NULL
       OR p_to < p_from OR p_to - p_from > interval '1 day' OR p_to > clock_timestamp() + interval '1 minute'
       OR (SELECT count(*) FROM jsonb_each(p_served)) NOT BETWEEN 1 AND 256
       OR EXISTS (SELECT 1 FROM jsonb_each_text(p_served) WHERE value !~ '^[0-9]{1,15}$') THEN
        RAISE EXCEPTION 'a report tells of 1 to 256 kernels, whole bytes, and a day at most' USING ERRCODE = '22023';
    END IF;
    IF p_run IS NULL AND EXISTS (SELECT 1 FROM tenant_member WHERE login = session_user AND role = 'trainer') THEN
        RAISE EXCEPTION 'a trainer reports what its run was served' USING ERRCODE = '42501';
    END IF;
    SELECT jsonb_agg(jsonb_build_array(entry_of(my_tenant, 'served', p_report::text, s.key), p_run, k.blueprint_digest,
                                       s.key, s.value) ORDER BY s.key) INTO entries
    FROM jsonb_each_text(p_served) s LEFT JOIN kernel k ON k.tenant = my_tenant AND k.digest = s.key;
    IF EXISTS (SELECT 1 FROM jsonb_array_elements(entries) e WHERE e ->> 2 IS NULL) THEN
        RAISE EXCEPTION 'a report names kernels that are not here' USING ERRCODE = 'MO006';
    END IF;
    content := encode(sha256(convert_to(jsonb_build_array(p_run, p_served, to_us(p_from), to_us(p_to))::text, 'UTF8')),
                      'hex');
    IF NOT accept_once(my_tenant, 'usage/' || p_report, content) THEN
        RETURN;
    END IF;
    -- Against a kernel's retirement, which looks for runs that use it.
    PERFORM 1 FROM kernel k WHERE k.tenant = my_tenant AND p_served ? k.digest ORDER BY k.digest FOR KEY SHARE;
    event_seq := append_event('usage.reported', 'usage/' || p_report,
        jsonb_build_object('kind', 'bytes_served', 'content_digest', content, 'from_us', to_us(p_from),
                           'to_us', to_us(p_to), 'entries', entries));
    PERFORM enter_usage(my_tenant, 'bytes_served', entries, to_us(p_from), to_us(p_to), event_seq);
END $$;
