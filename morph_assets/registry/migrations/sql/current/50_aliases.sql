-- Aliases move by compare-and-swap.
CREATE CONSTRAINT TRIGGER alias_has_its_event AFTER INSERT OR UPDATE OR DELETE ON alias
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('blueprint', 'name');
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
