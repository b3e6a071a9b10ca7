-- Appending to the log, and the rule that nothing governed changes without it.

-- RFC 8785 for what events are made of: objects with printable ASCII keys, strings, integers, booleans, null, arrays;
-- nested no deeper than any reader's stack.
CREATE FUNCTION canonical_text(document jsonb, levels int DEFAULT 32) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = morph, pg_temp
AS $$
DECLARE
    written text;
BEGIN
    IF levels = 0 THEN
        RAISE EXCEPTION 'an event is nested too deeply' USING ERRCODE = '22023';
    END IF;
    CASE jsonb_typeof(document)
    WHEN 'object' THEN
        IF EXISTS (SELECT 1 FROM jsonb_object_keys(document) key WHERE key !~ '^[ -~]*$') THEN
            RAISE EXCEPTION 'an event key must be printable ASCII' USING ERRCODE = '22023';
        END IF;
        SELECT '{' || coalesce(string_agg(to_jsonb(key)::text || ':' || canonical_text(value, levels - 1), ','
                                          ORDER BY key COLLATE "C"), '') || '}'
        INTO written FROM jsonb_each(document);
    WHEN 'array' THEN
        SELECT '[' || coalesce(string_agg(canonical_text(value, levels - 1), ',' ORDER BY place), '') || ']'
        INTO written FROM jsonb_array_elements(document) WITH ORDINALITY AS element (value, place);
    WHEN 'number' THEN
        IF document::numeric <> trunc(document::numeric) OR abs(document::numeric) > 9007199254740991 THEN
            RAISE EXCEPTION 'an event holds integers up to 2^53 only, not %', document USING ERRCODE = '22023';
        END IF;
        written := document::numeric::bigint::text;
    ELSE
        written := document::text;
    END CASE;
    RETURN written;
END $$;

CREATE TRIGGER event_is_append_only BEFORE UPDATE OR DELETE ON event
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- sha256(prev_hash || sha256(header) || sha256(payload)); the header's fields hold no line feed, so joining is
-- unambiguous. Version 2 ends with what the client claims: who acts and when, an empty line each where it claims nothing.
CREATE FUNCTION event_hash(told event) RETURNS bytea
LANGUAGE sql IMMUTABLE SET search_path = morph, pg_temp
AS $$
    SELECT sha256(
        told.prev_hash
        || sha256(convert_to(concat_ws(E'\n', told.tenant, told.seq, told.timeline, told.event_id, told.type, told.subject,
               told.schema_version, told.actor, (extract(epoch FROM told.recorded_at) * 1000000)::bigint)
               || CASE WHEN told.schema_version < 2 THEN '' ELSE
                      E'\n' || coalesce(told.claimed_actor, '')
                      || E'\n' || coalesce((extract(epoch FROM told.claimed_at) * 1000000)::bigint::text, '') END,
               'UTF8'))
        || sha256(told.payload))
$$;

-- What is a fact about an event comes from the session and the clock; what the client says of itself (settings
-- `morph.claimed_actor`, `morph.claimed_at` in microseconds since 1970) is kept beside it as its claim.
CREATE FUNCTION sealed_event(told event) RETURNS event
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    claimed_us text := substring(current_setting('morph.claimed_at', true) FROM '^[0-9]{1,16}$');
BEGIN
    told.timeline := current_timeline();
    told.schema_version := 2;
    told.actor := session_user;
    told.recorded_at := clock_timestamp();
    told.claimed_actor := nullif(left(regexp_replace(current_setting('morph.claimed_actor', true),
                                                     '[[:cntrl:]]', '', 'g'), 200), '');
    told.claimed_at := to_timestamp(0) + claimed_us::bigint * interval '1 microsecond';
    told.hash := event_hash(told);
    RETURN told;
END $$;

-- An event's payload, written before the chain's head is held: what takes long, or is refused, holds nobody up.
CREATE FUNCTION written_payload(document jsonb) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = morph, pg_temp
AS $$
BEGIN
    -- The table's own limit is lower: this one only saves the work.
    IF octet_length(document::text) > 4194304 THEN
        RAISE EXCEPTION 'an event is too large' USING ERRCODE = '23514';
    END IF;
    RETURN convert_to(canonical_text(document), 'UTF8');
END $$;

-- Call last: the head stays locked to the end of the transaction, so that sequence order is commit order, without gaps.
CREATE FUNCTION append_event_for(p_tenant text, p_type text, p_subject text, p_payload jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    head chain_head;
    told event;
BEGIN
    told.payload := written_payload(p_payload);
    SELECT * INTO STRICT head FROM chain_head WHERE tenant = p_tenant FOR UPDATE;
    told.tenant := p_tenant;
    told.seq := head.seq + 1;
    told.event_id := gen_random_uuid();
    told.type := p_type;
    told.subject := p_subject;
    told.prev_hash := head.hash;
    told := sealed_event(told);
    told.txid := pg_current_xact_id();
    INSERT INTO event SELECT told.*;
    UPDATE chain_head SET seq = told.seq, hash = told.hash WHERE tenant = p_tenant;
    RETURN told.seq;
END $$;

CREATE FUNCTION append_event(p_type text, p_subject text, p_payload jsonb) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$ SELECT append_event_for(current_tenant(), p_type, p_subject, p_payload) $$;

-- Deferred: at commit the newest event about the row's subject must be this transaction's.
-- Arguments: the subject's prefix and the column that completes it; the column holds all of it where the prefix is empty.
CREATE FUNCTION require_event() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    changed jsonb := CASE WHEN TG_OP = 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
    told event;
BEGIN
    SELECT * INTO told FROM event
    WHERE tenant = changed ->> 'tenant' AND subject = concat(nullif(TG_ARGV[0], '') || '/', changed ->> TG_ARGV[1])
    ORDER BY seq DESC LIMIT 1;
    IF NOT FOUND OR told.txid <> pg_current_xact_id() OR told.timeline <> current_timeline() THEN
        RAISE EXCEPTION 'a change of % was committed without its event', TG_TABLE_NAME USING ERRCODE = 'MO007';
    END IF;
    RETURN NULL;
END $$;
