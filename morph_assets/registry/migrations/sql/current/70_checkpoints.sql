-- Committing checkpoints, and finding them and their blobs.
CREATE TRIGGER checkpoint_never_changes BEFORE UPDATE ON checkpoint
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE CONSTRAINT TRIGGER checkpoint_has_its_event AFTER INSERT OR DELETE ON checkpoint
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('checkpoint', 'checkpoint');
CREATE TRIGGER checkpoint_is_charged AFTER INSERT ON checkpoint
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION charge_quota('checkpoints', '1');
CREATE TRIGGER checkpoint_is_refunded AFTER DELETE ON checkpoint
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION charge_quota('checkpoints', '1');
CREATE CONSTRAINT TRIGGER branch_head_has_its_event AFTER INSERT OR UPDATE OR DELETE ON branch_head
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('checkpoint', 'checkpoint');
-- Not on insert: a checkpoint names thousands of blobs, and its own row has its event.
CREATE CONSTRAINT TRIGGER checkpoint_blob_has_its_event AFTER UPDATE OR DELETE ON checkpoint_blob
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('checkpoint', 'checkpoint');
CREATE CONSTRAINT TRIGGER checkpoint_kernel_has_its_event AFTER UPDATE OR DELETE ON checkpoint_kernel
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('checkpoint', 'checkpoint');

CREATE FUNCTION open_run(p_run text, p_holder uuid, p_ttl_s double precision) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    taken bigint;
BEGIN
    taken := take_lease('run/' || p_run, p_holder, p_ttl_s);
    IF taken IS NULL THEN
        RAISE EXCEPTION 'run % has another live writer', p_run USING ERRCODE = 'MO011';
    END IF;
    INSERT INTO run (tenant, run) VALUES (current_tenant(), p_run) ON CONFLICT DO NOTHING;
    PERFORM append_event('run.opened', 'run/' || p_run,
        jsonb_build_object('run', p_run, 'holder', p_holder, 'lease_epoch', taken));
    RETURN taken;
END $$;

CREATE FUNCTION renew_run(p_run text, p_holder uuid, p_epoch bigint, p_ttl_s double precision) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$ SELECT renew_lease('run/' || p_run, p_holder, p_epoch, p_ttl_s) $$;

-- The newest place of each live blob among the digests; an unknown or dead one has no row.
CREATE FUNCTION live_blobs(p_digests text[])
RETURNS TABLE (digest text, location text, byte_offset bigint, size_bytes bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    SELECT DISTINCT ON (b.digest) b.digest::text, l.location, l.byte_offset, l.size_bytes
    FROM blob b JOIN blob_location l ON l.tenant = b.tenant AND l.digest = b.digest
    WHERE b.tenant = (SELECT current_tenant()) AND b.digest = ANY (p_digests) AND b.state = 'live'
    ORDER BY b.digest, l.added_at DESC, l.location, l.byte_offset
$$;

-- The event of a checkpoint that is there already, or null. Another manifest under the same id is no retry.
CREATE FUNCTION find_commit(p_checkpoint uuid, p_run text, p_manifest_digest text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    known checkpoint;
BEGIN
    SELECT * INTO known FROM checkpoint WHERE tenant = current_tenant() AND checkpoint = p_checkpoint;
    IF FOUND AND (known.run <> p_run OR known.manifest_digest <> p_manifest_digest) THEN
        RAISE EXCEPTION 'checkpoint % was committed with another manifest', p_checkpoint USING ERRCODE = 'MO004';
    END IF;
    RETURN known.seq;
END $$;

-- Register new blobs, and hold every named one live to the end of the transaction. A dead blob comes back only with
-- a place not known before (it was uploaded again): its old places may be gone at any moment.
-- Whoever marks blobs dead locks them FOR UPDATE first: that waits for the key-share locks taken here.
CREATE FUNCTION hold_blobs(p_blobs jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    wanted text[];
    refused text;
BEGIN
    SELECT array_agg(DISTINCT b.digest) INTO wanted FROM jsonb_to_recordset(p_blobs) AS b (digest text);
    INSERT INTO blob (tenant, digest, size_bytes)
    SELECT DISTINCT ON (b.digest COLLATE "C") my_tenant, b.digest, b.size_bytes
    FROM jsonb_to_recordset(p_blobs) AS b (digest text, size_bytes bigint)
    ORDER BY b.digest COLLATE "C" ON CONFLICT DO NOTHING;
    UPDATE blob k SET state = 'live'
    FROM jsonb_to_recordset(p_blobs) AS b (digest text, location text, byte_offset bigint)
    WHERE k.tenant = my_tenant AND k.digest = b.digest AND k.state = 'dead'
      AND NOT EXISTS (SELECT 1 FROM blob_location l
                      WHERE l.tenant = my_tenant AND l.digest = b.digest AND l.location = b.location);
    PERFORM 1 FROM blob k WHERE k.tenant = my_tenant AND k.digest = ANY (wanted) ORDER BY k.digest FOR KEY SHARE;
    refused := unusable_blob(my_tenant, p_blobs);
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'blob % is not live with this size: upload it again', refused USING ERRCODE = 'MO010';
    END IF;
    INSERT INTO blob_location (tenant, digest, location, byte_offset, size_bytes)
    SELECT my_tenant, b.digest, b.location, coalesce(b.byte_offset, 0), b.size_bytes
    FROM jsonb_to_recordset(p_blobs) AS b (digest text, location text, byte_offset bigint, size_bytes bigint)
    ON CONFLICT DO NOTHING;
END $$;

-- Blobs as a payload tells of them: for each object the lines `digest offset size`, so that thousands stay cheap.
CREATE FUNCTION told_blobs(p_blobs jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = morph, pg_temp
AS $$
    SELECT coalesce(jsonb_object_agg(o.location, o.lines), '{}') FROM (
        SELECT b.location, string_agg(format('%s %s %s', b.digest, coalesce(b.byte_offset, 0), b.size_bytes), E'\n'
                                      ORDER BY coalesce(b.byte_offset, 0), b.digest COLLATE "C") AS lines
        FROM jsonb_to_recordset(p_blobs) AS b (digest text, location text, byte_offset bigint, size_bytes bigint)
        GROUP BY b.location) o
$$;

-- The only commit point of a checkpoint. Returns the sequence number of its event; the same call again returns the same.
-- p_expected_head: the branch's head as the writer knows it, or null to begin the branch.
CREATE FUNCTION commit_checkpoint(p_checkpoint uuid, p_run text, p_branch text, p_parent uuid, p_holder uuid,
                                  p_lease_epoch bigint, p_epoch bigint, p_step bigint, p_controller_version text,
                                  p_world_size int, p_manifest_digest text, p_manifest_key text, p_blobs jsonb,
                                  p_kernels text[], p_expected_head uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    event_seq bigint := find_commit(p_checkpoint, p_run, p_manifest_digest);
    wanted_kernels text[] := ARRAY(SELECT DISTINCT k COLLATE "C" FROM unnest(p_kernels) k ORDER BY 1);
    missing text;
BEGIN
    IF event_seq IS NOT NULL THEN
        RETURN event_seq;
    END IF;
    PERFORM fence('run/' || p_run, p_holder, p_lease_epoch);
    IF p_expected_head IS NULL THEN
        INSERT INTO branch_head (tenant, run, branch, checkpoint) VALUES (my_tenant, p_run, p_branch, p_checkpoint)
        ON CONFLICT DO NOTHING;
    ELSE
        UPDATE branch_head SET checkpoint = p_checkpoint, row_version = row_version + 1
        WHERE tenant = my_tenant AND run = p_run AND branch = p_branch AND checkpoint = p_expected_head;
    END IF;
    IF NOT FOUND THEN
        -- The head's lock may have been a wait for this very commit, sent twice.
        event_seq := find_commit(p_checkpoint, p_run, p_manifest_digest);
        IF event_seq IS NOT NULL THEN
            RETURN event_seq;
        END IF;
        RAISE EXCEPTION 'branch %/% has another head', p_run, p_branch USING ERRCODE = 'MO004';
    END IF;
    PERFORM hold_blobs(p_blobs);
    PERFORM 1 FROM kernel k WHERE k.tenant = my_tenant AND k.digest = ANY (wanted_kernels)
    ORDER BY k.digest FOR KEY SHARE;
    SELECT w INTO missing FROM unnest(wanted_kernels) w
    WHERE NOT EXISTS (SELECT 1 FROM kernel k WHERE k.tenant = my_tenant AND k.digest = w);
    IF FOUND THEN
        RAISE EXCEPTION 'no kernel %', missing USING ERRCODE = 'MO006';
    END IF;
    SELECT t.kernel_digest INTO missing FROM tombstone t
    WHERE t.tenant = my_tenant AND t.kernel_digest = ANY (wanted_kernels) AND t.purge_seq IS NOT NULL;
    IF FOUND THEN
        RAISE EXCEPTION 'kernel % is being removed: nothing may need it any more', missing USING ERRCODE = 'MO003';
    END IF;
    event_seq := append_event('checkpoint.committed', 'checkpoint/' || p_checkpoint,
        jsonb_build_object('checkpoint', p_checkpoint, 'run', p_run, 'branch', p_branch, 'parent', p_parent,
                           'epoch', p_epoch, 'step', p_step, 'controller_version', p_controller_version,
                           'world_size', p_world_size, 'manifest_digest', p_manifest_digest,
                           'manifest_key', p_manifest_key, 'lease_epoch', p_lease_epoch, 'kernels', wanted_kernels,
                           'blobs', told_blobs(p_blobs)));
    INSERT INTO checkpoint (tenant, checkpoint, run, branch, parent, epoch, step, controller_version, world_size,
                            manifest_digest, manifest_key, lease_epoch, seq)
    VALUES (my_tenant, p_checkpoint, p_run, p_branch, p_parent, p_epoch, p_step, p_controller_version, p_world_size,
            p_manifest_digest, p_manifest_key, p_lease_epoch, event_seq);
    INSERT INTO checkpoint_blob (tenant, checkpoint, digest)
    SELECT DISTINCT my_tenant, p_checkpoint, b.digest FROM jsonb_to_recordset(p_blobs) AS b (digest text);
    INSERT INTO checkpoint_kernel (tenant, checkpoint, kernel_digest)
    SELECT my_tenant, p_checkpoint, w FROM unnest(wanted_kernels) w;
    INSERT INTO edge (tenant, source, relation, target, since_seq)
    SELECT my_tenant, 'checkpoint/' || p_checkpoint, 'uses', 'kernel/' || w, event_seq FROM unnest(wanted_kernels) w
    UNION ALL SELECT my_tenant, 'checkpoint/' || p_checkpoint, 'belongs_to', 'run/' || p_run, event_seq
    UNION ALL SELECT my_tenant, 'checkpoint/' || p_checkpoint, 'follows', 'checkpoint/' || p_parent, event_seq
    WHERE p_parent IS NOT NULL;
    RETURN event_seq;
END $$;

-- Say that the run went on from a checkpoint; the writer's lease keeps a zombie from saying so.
CREATE FUNCTION record_restore(p_run text, p_holder uuid, p_lease_epoch bigint, p_checkpoint uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    event_seq bigint;
BEGIN
    PERFORM fence('run/' || p_run, p_holder, p_lease_epoch);
    PERFORM 1 FROM checkpoint WHERE tenant = my_tenant AND checkpoint = p_checkpoint FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no checkpoint %', p_checkpoint USING ERRCODE = 'MO006';
    END IF;
    event_seq := append_event('run.restored', 'run/' || p_run,
        jsonb_build_object('run', p_run, 'checkpoint', p_checkpoint, 'lease_epoch', p_lease_epoch));
    INSERT INTO edge (tenant, source, relation, target, since_seq)
    VALUES (my_tenant, 'run/' || p_run, 'restored_from', 'checkpoint/' || p_checkpoint, event_seq);
    RETURN event_seq;
END $$;

-- Newest first; a null branch means all of them.
CREATE FUNCTION find_checkpoints(p_run text, p_branch text, p_limit int)
RETURNS TABLE (checkpoint uuid, parent uuid, epoch bigint, step bigint, manifest_digest text, manifest_key text,
               seq bigint, recorded_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    SELECT c.checkpoint, c.parent, c.epoch, c.step, c.manifest_digest::text, c.manifest_key, c.seq, c.recorded_at
    FROM checkpoint c
    WHERE c.tenant = (SELECT current_tenant()) AND c.run = p_run AND (p_branch IS NULL OR c.branch = p_branch)
    ORDER BY c.seq DESC LIMIT least(greatest(p_limit, 0), 10000)
$$;

CREATE FUNCTION checkpoint_blobs(p_checkpoint uuid)
RETURNS TABLE (digest text, location text, byte_offset bigint, size_bytes bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    SELECT DISTINCT ON (c.digest) c.digest::text, l.location, l.byte_offset, l.size_bytes
    FROM checkpoint_blob c JOIN blob_location l ON l.tenant = c.tenant AND l.digest = c.digest
    WHERE c.tenant = (SELECT current_tenant()) AND c.checkpoint = p_checkpoint
    ORDER BY c.digest, l.added_at DESC, l.location, l.byte_offset
$$;
