-- The log outside of the log: refusals, cursors of what follows it, the heads that an anchor signs.

CREATE TRIGGER security_event_is_append_only BEFORE UPDATE OR DELETE ON security_event
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Append to the tenant's chain of refusals. An id that stands there already appends nothing and returns null.
CREATE FUNCTION append_security(p_tenant text, p_event uuid, p_type text, p_subject text, p_payload jsonb)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    head security_head;
    told event;
BEGIN
    told.payload := written_payload(p_payload);
    INSERT INTO security_head (tenant) VALUES (p_tenant) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT head FROM security_head WHERE tenant = p_tenant FOR UPDATE;
    IF EXISTS (SELECT 1 FROM security_event WHERE tenant = p_tenant AND event_id = p_event) THEN
        RETURN NULL;
    END IF;
    told.tenant := p_tenant;
    told.seq := head.seq + 1;
    told.event_id := p_event;
    told.type := p_type;
    told.subject := p_subject;
    told.prev_hash := head.hash;
    told := sealed_event(told);
    INSERT INTO security_event (tenant, seq, timeline, event_id, type, subject, schema_version, actor, recorded_at,
                                payload, prev_hash, hash, claimed_actor, claimed_at)
    VALUES (told.tenant, told.seq, told.timeline, told.event_id, told.type, told.subject, told.schema_version,
            told.actor, told.recorded_at, told.payload, told.prev_hash, told.hash, told.claimed_actor, told.claimed_at);
    UPDATE security_head SET seq = told.seq, hash = told.hash WHERE tenant = p_tenant;
    RETURN told.seq;
END $$;

-- Tell of a refusal, as the login that met it, or of a change of who is trusted. At most ten a minute, login and type
-- are kept; the others are counted and told by the next one. Also a login of a suspended tenant may tell; returns null
-- where nothing was kept.
CREATE FUNCTION record_security(p_type text, p_subject text, p_facts jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := (SELECT m.tenant FROM tenant_member m WHERE m.login = session_user);
    window_s constant int := 60;
    most constant int := 10;
    seen security_window;
    untold bigint := 0;
BEGIN
    IF my_tenant IS NULL THEN
        RAISE EXCEPTION 'login % belongs to no tenant', session_user USING ERRCODE = 'MO001';
    END IF;
    IF p_type NOT IN ('security.access_refused', 'security.signature_refused', 'security.trust_changed') THEN
        RAISE EXCEPTION 'no such refusal: %', p_type USING ERRCODE = '22023';
    END IF;
    INSERT INTO security_window (tenant, login, type, began_at, told, suppressed)
    VALUES (my_tenant, session_user, p_type, clock_timestamp(), 0, 0) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT seen FROM security_window
    WHERE tenant = my_tenant AND login = session_user AND type = p_type FOR UPDATE;
    IF seen.began_at <= clock_timestamp() - make_interval(secs => window_s) THEN
        seen.began_at := clock_timestamp();
        seen.told := 0;
    END IF;
    IF seen.told >= most THEN
        UPDATE security_window SET suppressed = suppressed + 1
        WHERE tenant = my_tenant AND login = session_user AND type = p_type;
        RETURN NULL;
    END IF;
    untold := seen.suppressed;
    UPDATE security_window SET began_at = seen.began_at, told = seen.told + 1, suppressed = 0
    WHERE tenant = my_tenant AND login = session_user AND type = p_type;
    RETURN append_security(my_tenant, gen_random_uuid(), p_type, p_subject,
                           jsonb_build_object('facts', p_facts, 'suppressed', untold));
END $$;

-- Tell how often a login of this tenant was refused within one minute, as the server's own log says. The same minute
-- twice is told once, so that a log may be read again.
CREATE FUNCTION record_failed_logins(p_login text, p_minute timestamptz, p_count bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    minute timestamptz := date_trunc('minute', p_minute, 'UTC');
BEGIN
    IF NOT EXISTS (SELECT 1 FROM tenant_member WHERE tenant = my_tenant AND login = p_login) THEN
        RETURN NULL;
    END IF;
    RETURN append_security(
        my_tenant, md5(my_tenant || E'\n' || p_login || E'\n' || extract(epoch FROM minute)::bigint)::uuid,
        'security.login_failed', 'login/' || p_login,
        jsonb_build_object('login', p_login, 'minute_s', extract(epoch FROM minute)::bigint, 'count', p_count));
END $$;

-- Move a cursor that still stands where the caller saw it; 0 is the start. False where somebody else moved it.
CREATE FUNCTION advance_relay(p_relay text, p_expected bigint, p_seq bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    newest bigint := CASE p_relay
        WHEN 'archive' THEN (SELECT seq FROM chain_head WHERE tenant = my_tenant)
        WHEN 'anchored' THEN (SELECT seq FROM chain_head WHERE tenant = my_tenant)
        WHEN 'security' THEN (SELECT seq FROM security_head WHERE tenant = my_tenant)
    END;
BEGIN
    IF p_seq <= p_expected OR p_seq > newest THEN
        RAISE EXCEPTION 'relay % cannot go from % to %', p_relay, p_expected, p_seq USING ERRCODE = '22023';
    END IF;
    IF p_expected = 0 THEN
        INSERT INTO relay (tenant, relay, seq) VALUES (my_tenant, p_relay, p_seq) ON CONFLICT DO NOTHING;
    ELSE
        UPDATE relay SET seq = p_seq, row_version = row_version + 1, moved_at = clock_timestamp()
        WHERE tenant = my_tenant AND relay = p_relay AND seq = p_expected;
    END IF;
    RETURN FOUND;
END $$;

-- The heads of all tenants in one snapshot; their names only as digests, so that nobody learns who else is here.
CREATE FUNCTION anchor_heads()
RETURNS TABLE (tenant_digest text, seq bigint, hash bytea, security_seq bigint, security_hash bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    PERFORM current_tenant();
    RETURN QUERY
    SELECT encode(sha256(convert_to(h.tenant, 'UTF8')), 'hex'), h.seq, h.hash,
           coalesce(s.seq, 0), coalesce(s.hash, decode(repeat('00', 32), 'hex'))
    FROM chain_head h LEFT JOIN security_head s ON s.tenant = h.tenant
    ORDER BY 1;
END $$;
