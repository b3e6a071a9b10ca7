-- Who somebody is, and what never changes.
CREATE FUNCTION current_timeline() RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$ SELECT max(timeline) FROM timeline $$;

CREATE FUNCTION timeline_floor() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$ SELECT current_timeline()::bigint << 40 $$;

-- The tenant follows from the login alone: nothing a session can set has a say in it.
CREATE FUNCTION current_tenant() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    found_tenant text;
BEGIN
    SELECT m.tenant INTO found_tenant
    FROM tenant_member m JOIN tenant t ON t.tenant = m.tenant
    WHERE m.login = session_user AND t.state = 'active';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'login % belongs to no active tenant', session_user USING ERRCODE = 'MO001';
    END IF;
    RETURN found_tenant;
END $$;

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = morph, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, lower(TG_OP) USING ERRCODE = 'MO009';
END $$;
