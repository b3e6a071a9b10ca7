-- Any past point: finding it, beginning a branch there, going back to it, and giving it a name.
-- Nothing here takes a checkpoint away, and each call may be repeated when its answer was lost.
CREATE CONSTRAINT TRIGGER checkpoint_tag_has_its_event AFTER INSERT OR UPDATE OR DELETE ON checkpoint_tag
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('checkpoint', 'checkpoint');

-- The newest checkpoint that was saved on a branch and fits; where none does, of those from which its head descends.
CREATE FUNCTION find_point(p_run text, p_branch text, p_epoch bigint, p_step bigint, p_at timestamptz, p_before bigint)
RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    found uuid;
BEGIN
    SELECT c.checkpoint INTO found FROM checkpoint c
    WHERE c.tenant = my_tenant AND c.run = p_run AND c.branch = p_branch
      AND (p_epoch IS NULL OR c.epoch = p_epoch) AND (p_step IS NULL OR c.step = p_step)
      AND (p_at IS NULL OR c.recorded_at <= p_at) AND (p_before IS NULL OR c.seq < p_before)
    ORDER BY c.seq DESC LIMIT 1;
    IF found IS NULL THEN
        WITH RECURSIVE line AS (
            SELECT c.* FROM branch_head h JOIN checkpoint c ON c.tenant = h.tenant AND c.checkpoint = h.checkpoint
            WHERE h.tenant = my_tenant AND h.run = p_run AND h.branch = p_branch
            UNION ALL SELECT c.* FROM line l JOIN checkpoint c ON c.tenant = l.tenant AND c.checkpoint = l.parent)
        SELECT l.checkpoint INTO found FROM line l
        WHERE (p_epoch IS NULL OR l.epoch = p_epoch) AND (p_step IS NULL OR l.step = p_step)
          AND (p_at IS NULL OR l.recorded_at <= p_at) AND (p_before IS NULL OR l.seq < p_before)
        ORDER BY l.seq DESC LIMIT 1;
    END IF;
    RETURN found;
END $$;

-- At most one of the last six is given; none means the head of the branch.
CREATE FUNCTION resolve_checkpoint(p_run text, p_branch text, p_checkpoint uuid, p_tag text, p_epoch bigint,
                                   p_step bigint, p_at timestamptz, p_before bigint)
RETURNS TABLE (checkpoint uuid, parent uuid, epoch bigint, step bigint, manifest_digest text, manifest_key text,
               seq bigint, recorded_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    SELECT c.checkpoint, c.parent, c.epoch, c.step, c.manifest_digest::text, c.manifest_key, c.seq, c.recorded_at
    FROM checkpoint c
    WHERE c.tenant = (SELECT current_tenant()) AND c.checkpoint = (SELECT CASE
        WHEN p_checkpoint IS NOT NULL THEN p_checkpoint
        WHEN p_tag IS NOT NULL THEN (
            SELECT t.checkpoint FROM checkpoint_tag t
            WHERE t.tenant = (SELECT current_tenant()) AND t.run = p_run AND t.tag = p_tag)
        WHEN num_nonnulls(p_epoch, p_step, p_at, p_before) > 0 THEN
            find_point(p_run, p_branch, p_epoch, p_step, p_at, p_before)
        ELSE (
            SELECT h.checkpoint FROM branch_head h
            WHERE h.tenant = (SELECT current_tenant()) AND h.run = p_run AND h.branch = p_branch)
        END)
$$;

-- Hold a checkpoint against its own removal to the end of the transaction.
CREATE FUNCTION hold_checkpoint(p_checkpoint uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    PERFORM 1 FROM checkpoint WHERE tenant = current_tenant() AND checkpoint = p_checkpoint FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no checkpoint %', p_checkpoint USING ERRCODE = 'MO006';
    END IF;
END $$;

-- Returns the event, or null where the branch stood there already.
CREATE FUNCTION fork_branch(p_run text, p_holder uuid, p_lease_epoch bigint, p_branch text, p_checkpoint uuid)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    event_seq bigint;
BEGIN
    PERFORM fence('run/' || p_run, p_holder, p_lease_epoch);
    PERFORM hold_checkpoint(p_checkpoint);
    INSERT INTO branch_head (tenant, run, branch, checkpoint) VALUES (my_tenant, p_run, p_branch, p_checkpoint)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM 1 FROM branch_head
        WHERE tenant = my_tenant AND run = p_run AND branch = p_branch AND checkpoint = p_checkpoint;
        IF FOUND THEN
            RETURN NULL;
        END IF;
        RAISE EXCEPTION 'branch %/% is there already, with another head', p_run, p_branch USING ERRCODE = 'MO004';
    END IF;
    event_seq := append_event('branch.forked', 'checkpoint/' || p_checkpoint,
        jsonb_build_object('run', p_run, 'branch', p_branch, 'checkpoint', p_checkpoint,
                           'lease_epoch', p_lease_epoch));
    INSERT INTO edge (tenant, source, relation, target, since_seq)
    VALUES (my_tenant, 'run/' || p_run, 'forked_from', 'checkpoint/' || p_checkpoint, event_seq);
    RETURN event_seq;
END $$;

-- Returns the event, or null where the head was there already.
CREATE FUNCTION move_head(p_run text, p_holder uuid, p_lease_epoch bigint, p_branch text, p_checkpoint uuid,
                          p_expected_head uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    head uuid;
BEGIN
    PERFORM fence('run/' || p_run, p_holder, p_lease_epoch);
    PERFORM hold_checkpoint(p_checkpoint);
    SELECT h.checkpoint INTO head FROM branch_head h
    WHERE h.tenant = my_tenant AND h.run = p_run AND h.branch = p_branch FOR UPDATE;
    IF head = p_checkpoint THEN
        RETURN NULL;
    ELSIF head IS NULL OR head IS DISTINCT FROM p_expected_head THEN
        RAISE EXCEPTION 'branch %/% has another head', p_run, p_branch USING ERRCODE = 'MO004';
    END IF;
    UPDATE branch_head SET checkpoint = p_checkpoint, row_version = row_version + 1
    WHERE tenant = my_tenant AND run = p_run AND branch = p_branch;
    RETURN append_event('branch.rolled_back', 'checkpoint/' || p_checkpoint,
        jsonb_build_object('run', p_run, 'branch', p_branch, 'checkpoint', p_checkpoint, 'left', p_expected_head,
                           'lease_epoch', p_lease_epoch));
END $$;

-- Returns the event, or null where the tag named it already.
CREATE FUNCTION tag_checkpoint(p_run text, p_holder uuid, p_lease_epoch bigint, p_tag text, p_checkpoint uuid,
                               p_move boolean) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    named checkpoint_tag;
BEGIN
    PERFORM fence('run/' || p_run, p_holder, p_lease_epoch);
    PERFORM hold_checkpoint(p_checkpoint);
    INSERT INTO checkpoint_tag AS t (tenant, run, tag, checkpoint) VALUES (my_tenant, p_run, p_tag, p_checkpoint)
    ON CONFLICT (tenant, run, tag) DO UPDATE SET checkpoint = excluded.checkpoint, row_version = t.row_version + 1
        WHERE p_move AND t.checkpoint <> excluded.checkpoint
    RETURNING * INTO named;
    IF NOT FOUND THEN
        PERFORM 1 FROM checkpoint_tag
        WHERE tenant = my_tenant AND run = p_run AND tag = p_tag AND checkpoint = p_checkpoint;
        IF FOUND THEN
            RETURN NULL;
        END IF;
        RAISE EXCEPTION 'tag % of run % names another checkpoint: say that it shall move', p_tag, p_run
            USING ERRCODE = 'MO004';
    END IF;
    RETURN append_event('checkpoint.tagged', 'checkpoint/' || p_checkpoint,
        jsonb_build_object('run', p_run, 'tag', p_tag, 'checkpoint', p_checkpoint, 'row_version', named.row_version,
                           'lease_epoch', p_lease_epoch));
END $$;

-- A trainer's own pin: what somebody else pinned, it neither changes nor lets go.
CREATE FUNCTION pin_checkpoint(p_run text, p_holder uuid, p_lease_epoch bigint, p_checkpoint uuid, p_reason text,
                               p_until timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    PERFORM fence('run/' || p_run, p_holder, p_lease_epoch);
    PERFORM put_pin('checkpoint/' || p_checkpoint, p_reason, p_until, session_user);
END $$;

CREATE FUNCTION unpin_checkpoint(p_run text, p_holder uuid, p_lease_epoch bigint, p_checkpoint uuid, p_reason text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    PERFORM fence('run/' || p_run, p_holder, p_lease_epoch);
    PERFORM require_own_pin('checkpoint/' || p_checkpoint, session_user);
    RETURN unpin('checkpoint/' || p_checkpoint, p_reason);
END $$;
