-- Taking, keeping and giving back a lease, and the fence that a zombie meets.
CREATE FUNCTION take_lease(p_name text, p_holder uuid, p_ttl_s double precision) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    taken bigint;
BEGIN
    IF p_ttl_s IS NULL OR NOT (p_ttl_s > 0 AND p_ttl_s <= 3600) THEN
        RAISE EXCEPTION 'a lease lasts up to 3600 s, not %', p_ttl_s USING ERRCODE = '22023';
    END IF;
    -- Also its present holder gets a new epoch: what it started before is then as stale as anybody else's.
    INSERT INTO lease AS l (tenant, name, holder, epoch, expires_at)
    VALUES (current_tenant(), p_name, p_holder, timeline_floor() + 1, clock_timestamp() + make_interval(secs => p_ttl_s))
    ON CONFLICT (tenant, name) DO UPDATE
        SET holder = excluded.holder, epoch = greatest(l.epoch, timeline_floor()) + 1,
            expires_at = clock_timestamp() + make_interval(secs => p_ttl_s)
        WHERE l.expires_at <= clock_timestamp() OR l.holder = excluded.holder
    RETURNING epoch INTO taken;
    RETURN taken;
END $$;

-- The writer's lease of a run is the trainer's: nobody else keeps, gives back or commits under it, whatever of its
-- holder and epoch they have read in the log.
CREATE FUNCTION require_own_kind_of_lease(p_name text) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    IF p_name LIKE 'run/%' AND NOT pg_has_role(session_user, 'morph_trainer', 'MEMBER') THEN
        RAISE EXCEPTION 'the lease of a run is its trainer''s' USING ERRCODE = '42501';
    END IF;
END $$;

-- Null when another live holder has it. Each kind of work has its own login: nobody else keeps it waiting.
CREATE FUNCTION acquire_lease(p_name text, p_holder uuid, p_ttl_s double precision) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    IF p_name LIKE 'run/%' THEN
        RAISE EXCEPTION 'a run is opened with open_run' USING ERRCODE = '42501';
    ELSIF NOT EXISTS (
        SELECT 1 FROM (VALUES ('build/', 'compiler'), ('build/', 'platform'), ('evaluation/', 'evaluator'),
                              ('relay/index', 'publisher'), ('relay/archive', 'platform')) AS kind (beginning, role)
        JOIN tenant_member m ON m.role = kind.role
        WHERE m.login = session_user AND starts_with(p_name, kind.beginning)) THEN
        RAISE EXCEPTION 'login % takes no lease %', session_user, p_name USING ERRCODE = '42501';
    END IF;
    RETURN take_lease(p_name, p_holder, p_ttl_s);
END $$;

-- The shared row lock keeps a takeover from committing until this transaction has ended.
CREATE FUNCTION fence(p_name text, p_holder uuid, p_epoch bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    PERFORM require_own_kind_of_lease(p_name);
    PERFORM 1 FROM lease
    WHERE tenant = current_tenant() AND name = p_name AND holder = p_holder AND epoch = p_epoch
      AND epoch > timeline_floor() FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'fenced: epoch % of lease % is over', p_epoch, p_name USING ERRCODE = 'MO005';
    END IF;
END $$;

CREATE FUNCTION renew_lease(p_name text, p_holder uuid, p_epoch bigint, p_ttl_s double precision) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    PERFORM require_own_kind_of_lease(p_name);
    IF p_ttl_s IS NULL OR NOT (p_ttl_s > 0 AND p_ttl_s <= 3600) THEN
        RAISE EXCEPTION 'a lease lasts up to 3600 s, not %', p_ttl_s USING ERRCODE = '22023';
    END IF;
    UPDATE lease SET expires_at = clock_timestamp() + make_interval(secs => p_ttl_s)
    WHERE tenant = current_tenant() AND name = p_name AND holder = p_holder AND epoch = p_epoch
      AND epoch > timeline_floor();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'fenced: epoch % of lease % is over', p_epoch, p_name USING ERRCODE = 'MO005';
    END IF;
END $$;

CREATE FUNCTION release_lease(p_name text, p_holder uuid, p_epoch bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    PERFORM require_own_kind_of_lease(p_name);
    -- Out of date, not gone: the epoch has to be remembered.
    UPDATE lease SET expires_at = '-infinity'
    WHERE tenant = current_tenant() AND name = p_name AND holder = p_holder AND epoch = p_epoch;
    RETURN FOUND;
END $$;
