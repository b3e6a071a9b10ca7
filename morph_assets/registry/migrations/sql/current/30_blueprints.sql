-- Releases: submitted under gap-free versions, published with their first kernel, retired when no alias points there.
CREATE TRIGGER document_is_append_only BEFORE UPDATE OR DELETE ON blueprint_document
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION check_release() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    wanted text;
    holds boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.version <> (SELECT coalesce(max(r.version), 0) + 1 FROM blueprint_release r
                           WHERE r.tenant = NEW.tenant AND r.name = NEW.name) THEN
            RAISE EXCEPTION 'versions of % have no gaps', NEW.name USING ERRCODE = 'MO002';
        END IF;
    ELSIF (NEW.tenant, NEW.name, NEW.version, NEW.blueprint_digest, NEW.tags, NEW.author, NEW.parents, NEW.created_at,
           NEW.import_id)
          IS DISTINCT FROM
          (OLD.tenant, OLD.name, OLD.version, OLD.blueprint_digest, OLD.tags, OLD.author, OLD.parents, OLD.created_at,
           OLD.import_id) THEN
        RAISE EXCEPTION 'a release never changes, only its state' USING ERRCODE = 'MO009';
    ELSE
        NEW.row_version := OLD.row_version + 1;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.state = OLD.state THEN
        RETURN NEW;
    END IF;
    SELECT l.guard INTO wanted FROM lifecycle l
    WHERE l.kind = 'release' AND l.to_state = NEW.state
      AND l.from_state = CASE WHEN TG_OP = 'INSERT' THEN '*' ELSE OLD.state END;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'release %@% cannot become %', NEW.name, NEW.version, NEW.state USING ERRCODE = 'MO002';
    END IF;
    holds := CASE wanted
        WHEN 'kernel_published' THEN EXISTS (
            SELECT 1 FROM kernel k WHERE k.tenant = NEW.tenant AND k.blueprint_digest = NEW.blueprint_digest
                                     AND k.state = 'PUBLISHED')
        WHEN 'unaliased' THEN NOT EXISTS (
            SELECT 1 FROM alias a WHERE a.tenant = NEW.tenant AND a.name = NEW.name AND a.version = NEW.version)
            AND NOT EXISTS (
            SELECT 1 FROM pin p WHERE p.tenant = NEW.tenant AND p.name = NEW.name AND p.version = NEW.version
                                  AND pin_holds(p.until_at))
        ELSE wanted IS NULL
    END;
    IF NOT holds THEN
        RAISE EXCEPTION 'release %@% cannot become %: % does not hold', NEW.name, NEW.version, NEW.state, wanted
            USING ERRCODE = 'MO003';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER release_obeys_its_lifecycle BEFORE INSERT OR UPDATE ON blueprint_release
    FOR EACH ROW EXECUTE FUNCTION check_release();
CREATE TRIGGER release_is_never_deleted BEFORE DELETE ON blueprint_release
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE CONSTRAINT TRIGGER release_has_its_event AFTER UPDATE OR DELETE ON blueprint_release
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('blueprint', 'name');
-- One that came with an import shares the import's event: 49_imports.sql.
CREATE CONSTRAINT TRIGGER new_release_has_its_event AFTER INSERT ON blueprint_release
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.import_id IS NULL)
    EXECUTE FUNCTION require_event('blueprint', 'name');
CREATE TRIGGER blueprint_is_charged AFTER INSERT ON blueprint
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION charge_quota('blueprints', '1');
CREATE TRIGGER blueprint_is_refunded AFTER DELETE ON blueprint
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION charge_quota('blueprints', '1');

-- Publish every waiting release of a digest that has a published kernel; appends their events. The caller holds the
-- document's row lock, so a release submitted meanwhile is either seen here or sees the published kernel itself.
CREATE FUNCTION publish_releases(p_digest text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    waiting record;
BEGIN
    FOR waiting IN
        UPDATE blueprint_release SET state = 'PUBLISHED'
        WHERE tenant = current_tenant() AND blueprint_digest = p_digest AND state = 'SUBMITTED'
        RETURNING name, version
    LOOP
        PERFORM append_event('release.published', 'blueprint/' || waiting.name,
            jsonb_build_object('name', waiting.name, 'version', waiting.version, 'blueprint_digest', p_digest));
    END LOOP;
END $$;

CREATE FUNCTION submit_blueprint(p_name text, p_digest text, p_document bytea, p_tags text[], p_author text,
                                 p_parents text[], OUT release_version int, OUT was_created boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    missing text;
    event_seq bigint;
BEGIN
    INSERT INTO blueprint (tenant, name) VALUES (my_tenant, p_name) ON CONFLICT DO NOTHING;
    PERFORM 1 FROM blueprint WHERE tenant = my_tenant AND name = p_name FOR NO KEY UPDATE;
    SELECT version INTO release_version FROM blueprint_release
    WHERE tenant = my_tenant AND name = p_name AND blueprint_digest = p_digest;
    was_created := NOT FOUND;
    IF NOT was_created THEN
        RETURN;
    END IF;
    SELECT parent INTO missing FROM unnest(p_parents) parent
    WHERE NOT EXISTS (SELECT 1 FROM blueprint_document d WHERE d.tenant = my_tenant AND d.digest = parent);
    IF FOUND THEN
        RAISE EXCEPTION 'parent blueprint % is not registered', missing USING ERRCODE = 'MO006';
    END IF;
    INSERT INTO blueprint_document (tenant, digest, document) VALUES (my_tenant, p_digest, p_document)
        ON CONFLICT DO NOTHING;
    PERFORM 1 FROM blueprint_document WHERE tenant = my_tenant AND digest = p_digest FOR NO KEY UPDATE;
    SELECT coalesce(max(version), 0) + 1 INTO release_version FROM blueprint_release
    WHERE tenant = my_tenant AND name = p_name;
    INSERT INTO blueprint_release (tenant, name, version, blueprint_digest, tags, author, parents)
    VALUES (my_tenant, p_name, release_version, p_digest, p_tags, p_author, p_parents);
    event_seq := append_event('blueprint.submitted', 'blueprint/' || p_name,
        jsonb_build_object('name', p_name, 'version', release_version, 'blueprint_digest', p_digest,
                           'tags', p_tags, 'author', p_author, 'parents', p_parents));
    INSERT INTO edge (tenant, source, relation, target, since_seq)
    SELECT DISTINCT my_tenant, 'blueprint/' || p_digest, 'derived_from', 'blueprint/' || parent, event_seq
    FROM unnest(p_parents) parent WHERE parent <> p_digest;
    IF EXISTS (SELECT 1 FROM kernel k WHERE k.tenant = my_tenant AND k.blueprint_digest = p_digest
                                        AND k.state = 'PUBLISHED') THEN
        PERFORM publish_releases(p_digest);
    END IF;
END $$;

CREATE FUNCTION retire_release(p_name text, p_version int, p_reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    -- Against the lock that move_alias takes: an alias cannot be raced onto a release that is being retired.
    PERFORM 1 FROM blueprint_release
    WHERE tenant = current_tenant() AND name = p_name AND version = p_version FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no release %@%', p_name, p_version USING ERRCODE = 'MO006';
    END IF;
    UPDATE blueprint_release SET state = 'RETIRED'
    WHERE tenant = current_tenant() AND name = p_name AND version = p_version AND state <> 'RETIRED';
    IF FOUND THEN
        PERFORM append_event('release.retired', 'blueprint/' || p_name,
            jsonb_build_object('name', p_name, 'version', p_version, 'reason', p_reason));
    END IF;
END $$;
