-- Kernels: guards, transitions, and what the compiler records.
CREATE TRIGGER blob_never_changes BEFORE UPDATE OF tenant, digest, size_bytes ON blob
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
-- What was purged takes nothing any more; its row stays.
DO $$
DECLARE
    counted record;
BEGIN
    FOR counted IN SELECT * FROM (VALUES
        ('blob', 'blob_bytes', 'CASE state WHEN ''live'' THEN size_bytes ELSE 0 END'),
        ('kernel', 'kernels', 'CASE state WHEN ''PURGED'' THEN 0 ELSE 1 END')
    ) AS rows (owner, resource, amount) LOOP
        EXECUTE format('CREATE TRIGGER %1$s_is_charged AFTER INSERT ON %1$I REFERENCING NEW TABLE AS changed
                        FOR EACH STATEMENT EXECUTE FUNCTION charge_quota(%2$L, %3$L)', counted.owner, counted.resource,
                       counted.amount);
        EXECUTE format('CREATE TRIGGER %1$s_is_recharged AFTER UPDATE ON %1$I
                        REFERENCING OLD TABLE AS removed NEW TABLE AS changed
                        FOR EACH STATEMENT EXECUTE FUNCTION charge_quota(%2$L, %3$L)', counted.owner, counted.resource,
                       counted.amount);
        EXECUTE format('CREATE TRIGGER %1$s_is_refunded AFTER DELETE ON %1$I REFERENCING OLD TABLE AS removed
                        FOR EACH STATEMENT EXECUTE FUNCTION charge_quota(%2$L, %3$L)', counted.owner, counted.resource,
                       counted.amount);
    END LOOP;
END $$;
CREATE TRIGGER build_is_charged AFTER INSERT ON build
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION charge_day('builds_per_day');

CREATE TRIGGER build_is_append_only BEFORE UPDATE OR DELETE ON build
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- A guard reads only what stands in the tables. `subject` is the kernel as it will be, `was` the state it leaves.
CREATE FUNCTION kernel_guard_holds(guard text, subject kernel, was text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    CASE guard
    WHEN 'evidence' THEN  -- a passing report of this very evaluation, vouched for, and a signed provenance
        RETURN EXISTS (
            SELECT 1 FROM report r JOIN attestation a ON a.tenant = r.tenant AND a.report_id = r.report_id
            WHERE r.tenant = subject.tenant AND r.kernel_digest = subject.digest AND r.evaluation = subject.evaluation
              AND r.verdict = 'pass' AND a.kind = 'verification' AND a.kernel_digest = subject.digest)
        AND EXISTS (
            SELECT 1 FROM attestation a
            WHERE a.tenant = subject.tenant AND a.kernel_digest = subject.digest AND a.kind = 'provenance');
    WHEN 'failing_report' THEN
        RETURN EXISTS (SELECT 1 FROM report r WHERE r.tenant = subject.tenant AND r.kernel_digest = subject.digest
                       AND r.evaluation = subject.evaluation AND r.verdict = 'fail');
    WHEN 'evaluation_broke' THEN
        RETURN EXISTS (SELECT 1 FROM report r WHERE r.tenant = subject.tenant AND r.kernel_digest = subject.digest
                       AND r.evaluation = subject.evaluation AND r.verdict = 'error');
    WHEN 'being_imported' THEN  -- now; its evidence is looked at when all of the batch is there
        RETURN EXISTS (SELECT 1 FROM kernel_import i WHERE i.tenant = subject.tenant
                       AND i.import_id = subject.import_id AND i.txid = pg_current_xact_id());
    WHEN 'fit_for_service' THEN
        RETURN kernel_guard_holds('evidence', subject, was) AND why_kernel_waits(subject) IS NULL;
    WHEN 'unreferenced' THEN
        RETURN why_kernel_stays(subject, was) IS NULL;
    ELSE
        RETURN coalesce(tombstone_allows(guard, subject), false);
    END CASE;
END $$;

CREATE FUNCTION check_kernel() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    was text := CASE WHEN TG_OP = 'INSERT' THEN '*' ELSE OLD.state END;
    wanted text;
BEGIN
    NEW.speculative := NEW.speculative OR NEW.pipeline = 'aggressive';
    IF TG_OP = 'UPDATE' THEN
        IF OLD.state = 'PURGED' AND NEW.state = 'COMPILED' THEN
            -- Built again to the same bits: packed anew, they may lie in another bundle.
            OLD.bundle_digest := NEW.bundle_digest;
            OLD.bundle_key := NEW.bundle_key;
        END IF;
        IF (NEW.tenant, NEW.digest, NEW.blueprint_digest, NEW.build_key, NEW.target, NEW.toolchain, NEW.pipeline,
            NEW.recipe_version, NEW.size_bytes, NEW.bundle_digest, NEW.bundle_key, NEW.created_at,
            NEW.import_id, NEW.speculative) IS DISTINCT FROM
           (OLD.tenant, OLD.digest, OLD.blueprint_digest, OLD.build_key, OLD.target, OLD.toolchain, OLD.pipeline,
            OLD.recipe_version, OLD.size_bytes, OLD.bundle_digest, OLD.bundle_key, OLD.created_at,
            OLD.import_id, OLD.speculative) THEN
            RAISE EXCEPTION 'a kernel never changes, only its state and measurements' USING ERRCODE = 'MO009';
        END IF;
        NEW.row_version := OLD.row_version + 1;
        NEW.updated_at := now();
        NEW.evaluation := OLD.evaluation
            + CASE WHEN NEW.state = 'VALIDATING' AND OLD.state <> 'VALIDATING' THEN 1 ELSE 0 END;
    END IF;
    IF NEW.state = was THEN
        RETURN NEW;
    END IF;
    SELECT l.guard INTO wanted FROM lifecycle l
    WHERE l.kind = 'kernel' AND l.from_state = was AND l.to_state = NEW.state;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a kernel that is % cannot become %', was, NEW.state USING ERRCODE = 'MO002';
    END IF;
    IF wanted IS NOT NULL AND NOT kernel_guard_holds(wanted, NEW, was) THEN
        RAISE EXCEPTION 'a kernel that is % cannot become %: % does not hold%', was, NEW.state, wanted,
            coalesce(' (' || CASE wanted WHEN 'unreferenced' THEN why_kernel_stays(NEW, was)
                                         WHEN 'fit_for_service' THEN why_kernel_waits(NEW) END || ')', '')
            USING ERRCODE = 'MO003';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER kernel_obeys_its_lifecycle BEFORE INSERT OR UPDATE ON kernel
    FOR EACH ROW EXECUTE FUNCTION check_kernel();
CREATE CONSTRAINT TRIGGER kernel_has_its_event AFTER UPDATE OR DELETE ON kernel
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('kernel', 'digest');
-- One that came with an import shares the import's event: 49_imports.sql.
CREATE CONSTRAINT TRIGGER new_kernel_has_its_event AFTER INSERT ON kernel
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.import_id IS NULL)
    EXECUTE FUNCTION require_event('kernel', 'digest');

-- FOR UPDATE: also against the key-share locks of checkpoints being committed with this kernel.
CREATE FUNCTION lock_kernel(p_digest text) RETURNS kernel
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    locked kernel;
BEGIN
    SELECT * INTO locked FROM kernel WHERE tenant = current_tenant() AND digest = p_digest FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no kernel %', p_digest USING ERRCODE = 'MO006';
    END IF;
    RETURN locked;
END $$;

-- Change the state and tell of it, once: a kernel already in the state is left as it is.
CREATE FUNCTION advance_kernel(p_digest text, p_state text, p_reason text, p_event text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    locked kernel := lock_kernel(p_digest);
BEGIN
    IF locked.state = p_state THEN
        RETURN NULL;
    END IF;
    IF locked.state IN ('RETIRED', 'PURGED') THEN
        -- Whatever its tombstone says: what was retired comes back by `restore_kernel` alone.
        RAISE EXCEPTION 'a kernel that is % cannot become %', locked.state, p_state USING ERRCODE = 'MO002';
    END IF;
    UPDATE kernel SET state = p_state, state_reason = p_reason WHERE tenant = locked.tenant AND digest = p_digest;
    RETURN append_event(p_event, 'kernel/' || p_digest,
        jsonb_build_object('kernel_digest', p_digest, 'blueprint_digest', locked.blueprint_digest,
                           'from', locked.state, 'to', p_state, 'reason', p_reason));
END $$;

-- What a payload can hold of seconds and of long texts; the rows hold no more than the log does.
CREATE FUNCTION whole_ms(seconds double precision) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = morph, pg_temp
AS $$ SELECT round(seconds * 1000)::bigint $$;

CREATE FUNCTION text_digest(told text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = morph, pg_temp
AS $$ SELECT encode(sha256(convert_to(told, 'UTF8')), 'hex') $$;

CREATE FUNCTION record_build(p_build uuid, p_kernel text, p_blueprint text, p_build_key text, p_target jsonb,
                             p_toolchain text, p_pipeline text, p_recipe_version int, p_size_bytes bigint,
                             p_bundle_digest text, p_bundle_key text, p_bundle_bytes bigint, p_provenance bytea,
                             p_cpu_s double precision, p_wall_s double precision, p_isolation text, p_log_tail text,
                             p_speculative boolean DEFAULT false, OUT kernel_digest text, OUT was_created boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    facts jsonb;
    was_purged boolean := false;
    ended_us bigint := to_us(clock_timestamp());
    event_seq bigint;
BEGIN
    -- Whoever names the blueprint's row first goes first; the others then find the first one's kernel.
    PERFORM 1 FROM blueprint_document WHERE tenant = my_tenant AND digest = p_blueprint FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no blueprint %', p_blueprint USING ERRCODE = 'MO006';
    END IF;
    SELECT b.kernel_digest INTO kernel_digest FROM build b
    WHERE b.tenant = my_tenant AND b.build_id = p_build AND b.build_key = p_build_key;
    IF FOUND THEN
        was_created := false;
        RETURN;
    END IF;
    SELECT k.digest INTO kernel_digest FROM kernel k
    WHERE k.tenant = my_tenant AND k.build_key = p_build_key AND k.state NOT IN ('RETIRED', 'PURGED');
    was_created := NOT FOUND;
    IF was_created THEN
        kernel_digest := p_kernel;
        INSERT INTO blob AS b (tenant, digest, size_bytes) VALUES (my_tenant, p_bundle_digest, p_bundle_bytes)
            -- A blob that lies nowhere any more was removed for good: it is uploaded anew.
            ON CONFLICT (tenant, digest) DO UPDATE SET state = 'live'
            WHERE b.state = 'dead' AND NOT EXISTS (
                SELECT 1 FROM blob_location l WHERE l.tenant = my_tenant AND l.digest = p_bundle_digest);
        INSERT INTO blob_location (tenant, digest, location, size_bytes)
            VALUES (my_tenant, p_bundle_digest, p_bundle_key, p_bundle_bytes) ON CONFLICT DO NOTHING;
        -- A blob that was there before must be this one, and stay: whoever removes it locks it FOR UPDATE first.
        PERFORM 1 FROM blob b WHERE b.tenant = my_tenant AND b.digest = p_bundle_digest FOR KEY SHARE;
        IF unusable_blob(my_tenant, jsonb_build_array(jsonb_build_object(
               'digest', p_bundle_digest, 'size_bytes', p_bundle_bytes))) IS NOT NULL THEN
            RAISE EXCEPTION 'blob % is not live with this size: upload it again', p_bundle_digest
                USING ERRCODE = 'MO010';
        END IF;
        -- The very bits that were purged once: the same kernel, in service only after it was evaluated again.
        UPDATE kernel SET state = 'COMPILED', state_reason = '', bundle_digest = p_bundle_digest,
                          bundle_key = p_bundle_key, speed_ratio = NULL, latency_us = NULL, memory_bytes = NULL,
                          risk = NULL, tags = '{}'
        WHERE tenant = my_tenant AND digest = p_kernel AND build_key = p_build_key AND state = 'PURGED';
        was_purged := FOUND;
        IF was_purged THEN
            DELETE FROM tombstone t WHERE t.tenant = my_tenant AND t.kernel_digest = p_kernel;
        ELSIF EXISTS (SELECT 1 FROM kernel k WHERE k.tenant = my_tenant AND k.digest = p_kernel) THEN
            RAISE EXCEPTION 'kernel % is here already, retired or under another build key', p_kernel
                USING ERRCODE = 'MO002';
        ELSE
            INSERT INTO kernel (tenant, digest, blueprint_digest, build_key, target, toolchain, pipeline, recipe_version,
                                size_bytes, bundle_digest, bundle_key, speculative)
            VALUES (my_tenant, p_kernel, p_blueprint, p_build_key, p_target, p_toolchain, p_pipeline, p_recipe_version,
                    p_size_bytes, p_bundle_digest, p_bundle_key, p_speculative);
        END IF;
        INSERT INTO attestation (tenant, kernel_digest, envelope_digest, kind, envelope, recorded_by)
        VALUES (my_tenant, p_kernel, encode(sha256(p_provenance), 'hex'), 'provenance', p_provenance, session_user);
    END IF;
    INSERT INTO build (tenant, build_id, build_key, blueprint_digest, kernel_digest, outcome, cpu_s, wall_s, isolation,
                       log_tail, builder)
    VALUES (my_tenant, p_build, p_build_key, p_blueprint, kernel_digest,
            CASE WHEN was_created THEN 'built' ELSE 'redundant' END, whole_ms(p_cpu_s) / 1000.0,
            whole_ms(p_wall_s) / 1000.0, p_isolation, p_log_tail, session_user);
    facts := jsonb_build_object('kernel_digest', kernel_digest, 'blueprint_digest', p_blueprint,
        'build_key', p_build_key, 'build_id', p_build, 'isolation', p_isolation, 'cpu_ms', whole_ms(p_cpu_s),
        'wall_ms', whole_ms(p_wall_s), 'log_digest', text_digest(p_log_tail), 'ended_us', ended_us);
    IF was_created THEN
        facts := facts || jsonb_build_object('target', p_target, 'toolchain', p_toolchain, 'pipeline', p_pipeline,
            'recipe_version', p_recipe_version, 'size_bytes', p_size_bytes, 'bundle_digest', p_bundle_digest,
            'bundle_key', p_bundle_key, 'bundle_bytes', p_bundle_bytes,
            'provenance_digest', encode(sha256(p_provenance), 'hex'), 'was_purged', was_purged,
            'speculative', p_speculative OR p_pipeline = 'aggressive');
    END IF;
    event_seq := append_event(CASE WHEN was_created THEN 'kernel.compiled' ELSE 'build.was_redundant' END,
        'kernel/' || kernel_digest, facts);
    PERFORM enter_usage(my_tenant, 'build_cpu_s',
        jsonb_build_array(jsonb_build_array(p_build, NULL, p_blueprint, kernel_digest, whole_ms(p_cpu_s) / 1000.0)),
        ended_us - whole_ms(p_wall_s) * 1000, ended_us, event_seq);
    IF was_created THEN
        INSERT INTO edge (tenant, source, relation, target, since_seq)
        VALUES (my_tenant, 'kernel/' || p_kernel, 'compiled_from', 'blueprint/' || p_blueprint, event_seq);
    END IF;
END $$;

CREATE FUNCTION record_failed_build(p_build uuid, p_blueprint text, p_build_key text, p_reason text,
                                    p_cpu_s double precision, p_wall_s double precision, p_isolation text,
                                    p_log_tail text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    ended_us bigint := to_us(clock_timestamp());
    event_seq bigint;
BEGIN
    INSERT INTO build (tenant, build_id, build_key, blueprint_digest, outcome, reason, cpu_s, wall_s, isolation,
                       log_tail, builder)
    VALUES (current_tenant(), p_build, p_build_key, p_blueprint, 'failed', p_reason, whole_ms(p_cpu_s) / 1000.0,
            whole_ms(p_wall_s) / 1000.0, p_isolation, p_log_tail, session_user)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        event_seq := append_event('build.failed', 'build/' || p_build,
            jsonb_build_object('build_id', p_build, 'build_key', p_build_key, 'blueprint_digest', p_blueprint,
                               'reason', p_reason, 'isolation', p_isolation, 'cpu_ms', whole_ms(p_cpu_s),
                               'wall_ms', whole_ms(p_wall_s), 'log_digest', text_digest(p_log_tail), 'ended_us', ended_us));
        PERFORM enter_usage(current_tenant(), 'build_cpu_s',
            jsonb_build_array(jsonb_build_array(p_build, NULL, p_blueprint, NULL, whole_ms(p_cpu_s) / 1000.0)),
            ended_us - whole_ms(p_wall_s) * 1000, ended_us, event_seq);
    END IF;
END $$;
