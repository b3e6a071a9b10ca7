-- What may not be removed, and why.
CREATE CONSTRAINT TRIGGER pin_has_its_event AFTER INSERT OR UPDATE OR DELETE ON pin
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('', 'about');

CREATE FUNCTION pin_holds(until_at timestamptz) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = morph, pg_temp
AS $$ SELECT until_at IS NULL OR until_at > clock_timestamp() $$;

-- The release that a subject 'release/<name>@<version>' names.
CREATE FUNCTION release_of(p_subject text, OUT name text, OUT version int)
LANGUAGE sql IMMUTABLE SET search_path = morph, pg_temp
AS $$ SELECT m[1], m[2]::int FROM regexp_match(p_subject, '^release/([^@]+)@([0-9]{1,9})$') m $$;

-- Hold what is to be pinned against its own removal, and refuse what is not there or is going already.
CREATE FUNCTION lock_to_pin(p_subject text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    kind text := split_part(p_subject, '/', 1);
    identity text := substr(p_subject, length(kind) + 2);
    found_state text;
BEGIN
    CASE kind
    WHEN 'kernel' THEN
        found_state := (lock_kernel(identity)).state;
        IF EXISTS (SELECT 1 FROM tombstone t WHERE t.tenant = my_tenant AND t.kernel_digest = identity
                                               AND t.purge_seq IS NOT NULL) THEN
            RAISE EXCEPTION '% is being removed, or gone', p_subject USING ERRCODE = 'MO003';
        END IF;
    WHEN 'release' THEN
        SELECT r.state INTO found_state FROM blueprint_release r JOIN release_of(p_subject) o
            ON r.name = o.name AND r.version = o.version
        WHERE r.tenant = my_tenant FOR SHARE OF r;
    WHEN 'checkpoint' THEN
        SELECT 'COMMITTED' INTO found_state FROM checkpoint c
        WHERE c.tenant = my_tenant AND c.checkpoint = identity::uuid FOR KEY SHARE;
    ELSE
        RAISE EXCEPTION 'a kernel, a release or a checkpoint is pinned, not %', p_subject USING ERRCODE = '22023';
    END CASE;
    IF found_state IS NULL THEN
        RAISE EXCEPTION 'no %', p_subject USING ERRCODE = 'MO006';
    ELSIF kind = 'release' AND found_state = 'RETIRED' THEN
        RAISE EXCEPTION '% is retired: there is nothing left to keep', p_subject USING ERRCODE = 'MO003';
    END IF;
END $$;

-- Whose pin it is, held to the end of the transaction; somebody else's is not to be touched.
CREATE FUNCTION require_own_pin(p_subject text, p_whose text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    held pin;
BEGIN
    SELECT * INTO held FROM pin WHERE tenant = current_tenant() AND subject = p_subject FOR UPDATE;
    IF FOUND AND held.pinned_by <> p_whose THEN
        RAISE EXCEPTION '% is pinned by %: %', p_subject, held.pinned_by, held.reason USING ERRCODE = 'MO003';
    END IF;
END $$;

-- Pin a subject, or say anew why and until when it is pinned: by whomever, or, given a login, only by this one.
CREATE FUNCTION put_pin(p_subject text, p_reason text, p_until timestamptz, p_whose text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    held pin;
BEGIN
    IF NOT pin_holds(p_until) THEN
        RAISE EXCEPTION 'a pin until % would hold nothing', p_until USING ERRCODE = '22023';
    END IF;
    PERFORM lock_to_pin(p_subject);
    INSERT INTO pin AS p (tenant, subject, kernel_digest, name, version, checkpoint, reason, pinned_by, until_at)
    SELECT current_tenant(), p_subject,
           CASE WHEN p_subject LIKE 'kernel/%' THEN substr(p_subject, 8) END, o.name, o.version,
           CASE WHEN p_subject LIKE 'checkpoint/%' THEN substr(p_subject, 12)::uuid END,
           p_reason, session_user, p_until
    FROM release_of(p_subject) o
    ON CONFLICT (tenant, subject) DO UPDATE
        SET reason = excluded.reason, pinned_by = excluded.pinned_by, until_at = excluded.until_at,
            row_version = p.row_version + 1
        WHERE (p_whose IS NULL OR p.pinned_by = p_whose)
          AND (p.reason, p.until_at) IS DISTINCT FROM (excluded.reason, excluded.until_at)
    RETURNING * INTO held;
    IF FOUND THEN
        PERFORM append_event(split_part(p_subject, '/', 1) || '.pinned', held.about,
            jsonb_build_object('subject', p_subject, 'reason', p_reason, 'row_version', held.row_version,
                               'until_us', to_us(p_until)));
    ELSIF p_whose IS NOT NULL THEN
        PERFORM require_own_pin(p_subject, p_whose);
    END IF;
END $$;

CREATE FUNCTION pin(p_subject text, p_reason text, p_until timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$ SELECT put_pin(p_subject, p_reason, p_until, NULL) $$;

-- Returns whether it was pinned.
CREATE FUNCTION unpin(p_subject text, p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    held pin;
BEGIN
    DELETE FROM pin WHERE tenant = current_tenant() AND subject = p_subject RETURNING * INTO held;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM append_event(split_part(p_subject, '/', 1) || '.unpinned', held.about,
        jsonb_build_object('subject', p_subject, 'reason', p_reason));
    RETURN true;
END $$;

-- Why a kernel may not go, or null. `was` is the state that it leaves: what is published serves whoever asks by alias.
CREATE FUNCTION why_kernel_stays(subject kernel, was text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    SELECT coalesce(
        (SELECT 'checkpoint ' || c.checkpoint || ' needs it' FROM checkpoint_kernel c
         WHERE c.tenant = subject.tenant AND c.kernel_digest = subject.digest LIMIT 1),
        (SELECT 'pinned by ' || p.pinned_by || ': ' || p.reason FROM pin p
         WHERE p.tenant = subject.tenant AND p.kernel_digest = subject.digest AND pin_holds(p.until_at)),
        (SELECT 'release ' || p.name || '@' || p.version || ' is pinned by ' || p.pinned_by || ': ' || p.reason
         FROM pin p JOIN blueprint_release r ON r.tenant = p.tenant AND r.name = p.name AND r.version = p.version
         WHERE p.tenant = subject.tenant AND r.blueprint_digest = subject.blueprint_digest
           AND was IN ('VALIDATED', 'PUBLISHED') AND pin_holds(p.until_at) LIMIT 1),
        (SELECT 'run ' || u.run || ' was served it and is alive' FROM usage_entry u
         JOIN lease l ON l.tenant = u.tenant AND l.name = 'run/' || u.run AND l.expires_at > clock_timestamp()
         WHERE u.tenant = subject.tenant AND u.kernel_digest = subject.digest AND u.kind = 'bytes_served' LIMIT 1),
        -- No alias is left without a body on its device.
        (SELECT 'the last published kernel behind ' || a.name || '@' || a.alias
         FROM alias a JOIN blueprint_release r ON r.tenant = a.tenant AND r.name = a.name AND r.version = a.version
         WHERE r.tenant = subject.tenant AND r.blueprint_digest = subject.blueprint_digest AND was = 'PUBLISHED'
           AND NOT EXISTS (
               SELECT 1 FROM kernel k
               WHERE k.tenant = subject.tenant AND k.blueprint_digest = subject.blueprint_digest
                 AND k.device = subject.target ->> 'device' AND k.digest <> subject.digest AND k.state = 'PUBLISHED')
         LIMIT 1))
$$;
