-- Aliases move by compare-and-swap, and not at all while they are frozen.
CREATE CONSTRAINT TRIGGER alias_has_its_event AFTER INSERT OR UPDATE OR DELETE ON alias
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('blueprint', 'name');
CREATE CONSTRAINT TRIGGER alias_history_has_its_event AFTER INSERT ON alias_history
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('blueprint', 'name');
CREATE TRIGGER alias_history_is_append_only BEFORE UPDATE OR DELETE ON alias_history
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Whoever writes the row: the release is locked against being retired meanwhile, and a frozen alias stays.
CREATE FUNCTION check_alias() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    release_state text;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.version = OLD.version THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.frozen_reason IS NOT NULL THEN
        RAISE EXCEPTION '%@% is frozen by %: %', OLD.name, OLD.alias, OLD.frozen_by, OLD.frozen_reason
            USING ERRCODE = 'MO003';
    END IF;
    SELECT state INTO release_state FROM blueprint_release
    WHERE tenant = NEW.tenant AND name = NEW.name AND version = NEW.version FOR SHARE;
    IF release_state <> 'PUBLISHED' THEN
        RAISE EXCEPTION 'an alias points at published releases; %@% is %', NEW.name, NEW.version, release_state
            USING ERRCODE = 'MO003';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER alias_points_at_published_releases BEFORE INSERT OR UPDATE ON alias
    FOR EACH ROW EXECUTE FUNCTION check_alias();

-- p_expected: the row version last seen, or null for an alias that is not there yet. Returns the new row version.
-- Moving an alias to where it points already changes nothing. p_rolled_back: it is a step back in its history.
CREATE FUNCTION move_alias(p_name text, p_alias text, p_version int, p_expected int,
                           p_rolled_back boolean DEFAULT false) RETURNS int
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
                           'blueprint_digest', release.blueprint_digest, 'rolled_back', p_rolled_back));
    INSERT INTO alias_history (tenant, name, alias, row_version, version, since_seq, actor, rolled_back)
    VALUES (my_tenant, p_name, p_alias, seen.row_version, p_version, event_seq, session_user, p_rolled_back);
    RETURN seen.row_version;
END $$;

-- Freeze (a reason) or unfreeze (none) an alias; p_why goes into the event. Returns whether anything changed.
CREATE FUNCTION set_frozen(p_name text, p_alias text, p_reason text, p_event text, p_why text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    seen morph.alias;
BEGIN
    SELECT * INTO seen FROM alias WHERE tenant = current_tenant() AND name = p_name AND alias = p_alias FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no alias %@%', p_name, p_alias USING ERRCODE = 'MO006';
    END IF;
    IF seen.frozen_reason IS NOT DISTINCT FROM p_reason THEN
        RETURN false;
    END IF;
    UPDATE alias SET frozen_reason = p_reason, frozen_by = CASE WHEN p_reason IS NOT NULL THEN session_user END
    WHERE tenant = seen.tenant AND name = p_name AND alias = p_alias;
    PERFORM append_event(p_event, 'blueprint/' || p_name,
        jsonb_build_object('name', p_name, 'alias', p_alias, 'version', seen.version, 'reason', p_why));
    RETURN true;
END $$;

CREATE FUNCTION freeze_alias(p_name text, p_alias text, p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    IF coalesce(p_reason, '') = '' THEN
        RAISE EXCEPTION 'an alias is frozen for a reason' USING ERRCODE = '22023';
    END IF;
    RETURN set_frozen(p_name, p_alias, p_reason, 'alias.frozen', p_reason);
END $$;

CREATE FUNCTION unfreeze_alias(p_name text, p_alias text, p_reason text) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$ SELECT set_frozen(p_name, p_alias, NULL, 'alias.unfrozen', p_reason) $$;
