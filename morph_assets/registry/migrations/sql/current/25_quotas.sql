-- What a tenant may use. Rows are charged by what they count, so that no count drifts from it.

-- Charged one statement at a time. Arguments: the resource, and the expression over a row that says how much of it the
-- row takes; a change takes what the new row takes more than the old one.
CREATE FUNCTION charge_quota() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    charge record;
    counted text := CASE TG_OP
        WHEN 'INSERT' THEN format('SELECT tenant, %s AS amount FROM changed', TG_ARGV[1])
        WHEN 'DELETE' THEN format('SELECT tenant, -(%s) AS amount FROM removed', TG_ARGV[1])
        ELSE format('SELECT tenant, %1$s AS amount FROM changed UNION ALL SELECT tenant, -(%1$s) FROM removed', TG_ARGV[1])
    END;
BEGIN
    FOR charge IN EXECUTE format('SELECT tenant, sum(amount)::bigint AS amount FROM (%s) counted GROUP BY tenant
                                  HAVING sum(amount) <> 0', counted)
    LOOP
        UPDATE quota SET used = used + charge.amount
        WHERE tenant = charge.tenant AND resource = TG_ARGV[0]
          AND (charge.amount < 0 OR used + charge.amount <= hard_limit);
        IF NOT FOUND THEN
            RAISE EXCEPTION 'quota of % reached: % more would pass the limit', TG_ARGV[0], charge.amount
                USING ERRCODE = 'MO008';
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- A count of the UTC day: the first of a day begins it. Argument: the resource.
CREATE FUNCTION charge_day() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    charge record;
    today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
BEGIN
    FOR charge IN SELECT tenant, count(*) AS amount FROM changed GROUP BY tenant LOOP
        UPDATE quota SET used = CASE WHEN day = today THEN used ELSE 0 END + charge.amount, day = today
        WHERE tenant = charge.tenant AND resource = TG_ARGV[0]
          AND CASE WHEN day = today THEN used ELSE 0 END + charge.amount <= hard_limit;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'quota of % reached: % more would pass the limit of this day (UTC)', TG_ARGV[0],
                charge.amount USING ERRCODE = 'MO008';
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER quota_has_its_event AFTER UPDATE OF hard_limit ON quota
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('quota', 'resource');
CREATE CONSTRAINT TRIGGER quota_begins_with_its_event AFTER INSERT OR DELETE ON quota
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('tenant', 'tenant');
CREATE CONSTRAINT TRIGGER member_has_its_event AFTER INSERT OR UPDATE OR DELETE ON tenant_member
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('tenant', 'tenant');

-- Refuses an amount that would pass the limit before anything is spent on it; whoever then takes it is charged.
CREATE FUNCTION require_quota(p_resource text, p_amount bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM quota WHERE tenant = current_tenant() AND resource = p_resource
                   AND CASE WHEN day IS NULL OR day = today THEN used ELSE 0 END + p_amount <= hard_limit) THEN
        RAISE EXCEPTION 'quota of % reached: % more would pass the limit', p_resource, p_amount USING ERRCODE = 'MO008';
    END IF;
END $$;

-- The operator's: any limit, but none below what is used already. Returns the limit before.
CREATE FUNCTION set_quota_for(p_tenant text, p_resource text, p_limit bigint, p_reason text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    was quota;
    used_now bigint;
BEGIN
    SELECT * INTO was FROM quota WHERE tenant = p_tenant AND resource = p_resource FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'tenant % has no quota of %', p_tenant, p_resource USING ERRCODE = '22023';
    END IF;
    used_now := CASE WHEN was.day < (clock_timestamp() AT TIME ZONE 'UTC')::date THEN 0 ELSE was.used END;
    IF p_limit < used_now THEN
        RAISE EXCEPTION 'a limit of % on % is below the % that are used', p_limit, p_resource, used_now
            USING ERRCODE = 'MO003';
    END IF;
    IF p_limit IS DISTINCT FROM was.hard_limit THEN
        UPDATE quota SET hard_limit = p_limit WHERE tenant = p_tenant AND resource = p_resource;
        PERFORM append_event_for(p_tenant, 'quota.changed', 'quota/' || p_resource,
            jsonb_build_object('resource', p_resource, 'from', was.hard_limit, 'to', p_limit, 'reason', p_reason));
    END IF;
    RETURN was.hard_limit;
END $$;

-- A tenant's own: lower only.
CREATE FUNCTION lower_quota(p_resource text, p_limit bigint, p_reason text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    was bigint;
BEGIN
    SELECT hard_limit INTO was FROM quota WHERE tenant = current_tenant() AND resource = p_resource FOR UPDATE;
    IF was < p_limit THEN
        RAISE EXCEPTION 'only the operator raises a quota' USING ERRCODE = '42501';
    END IF;
    RETURN set_quota_for(current_tenant(), p_resource, p_limit, p_reason);
END $$;

-- The operator's: make the tenant, or add what is missing of it, each with its event. p_members: {login: role}.
CREATE FUNCTION create_tenant_for(p_tenant text, p_limits jsonb, p_members jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    was_created boolean;
    added record;
BEGIN
    INSERT INTO tenant (tenant) VALUES (p_tenant) ON CONFLICT DO NOTHING;
    was_created := FOUND;
    INSERT INTO chain_head (tenant) VALUES (p_tenant) ON CONFLICT DO NOTHING;
    FOR added IN
        INSERT INTO quota (tenant, resource, hard_limit)
        SELECT p_tenant, key, value::bigint FROM jsonb_each_text(p_limits) ORDER BY key
        ON CONFLICT DO NOTHING RETURNING resource, hard_limit
    LOOP
        CONTINUE WHEN was_created;
        PERFORM append_event_for(p_tenant, 'quota.added', 'tenant/' || p_tenant,
            jsonb_build_object('resource', added.resource, 'limit', added.hard_limit));
    END LOOP;
    FOR added IN
        INSERT INTO tenant_member (login, tenant, role)
        SELECT key, p_tenant, value FROM jsonb_each_text(p_members) ORDER BY key
        ON CONFLICT DO NOTHING RETURNING login, role
    LOOP
        CONTINUE WHEN was_created;
        PERFORM append_event_for(p_tenant, 'member.added', 'tenant/' || p_tenant,
            jsonb_build_object('login', added.login, 'role', added.role));
    END LOOP;
    IF was_created THEN
        PERFORM append_event_for(p_tenant, 'tenant.created', 'tenant/' || p_tenant,
            jsonb_build_object('tenant', p_tenant, 'limits', p_limits, 'members', p_members));
    ELSIF NOT EXISTS (SELECT 1 FROM event WHERE tenant = p_tenant AND type IN ('tenant.created', 'tenant.described')
                      AND convert_from(payload, 'UTF8')::jsonb ? 'limits') THEN
        -- The first version's log did not tell of these.
        PERFORM append_event_for(p_tenant, 'tenant.described', 'tenant/' || p_tenant,
            (SELECT jsonb_build_object('limits', jsonb_object_agg(q.resource, q.hard_limit))
             FROM quota q WHERE q.tenant = p_tenant)
            || (SELECT jsonb_build_object('members', jsonb_object_agg(m.login, m.role))
                FROM tenant_member m WHERE m.tenant = p_tenant));
    END IF;
END $$;
