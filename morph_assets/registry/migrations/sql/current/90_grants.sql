-- Who may see and do what. Tables are only read, by their own tenant; everything else goes through a function.
DO $$
DECLARE
    own text;
    every constant text := 'morph_platform, morph_compiler, morph_evaluator, morph_publisher, morph_trainer,
                            morph_controller, morph_auditor, morph_curator, morph_admin';
    readers constant text := 'morph_platform, morph_compiler, morph_evaluator, morph_publisher, morph_controller,
                              morph_auditor, morph_curator, morph_admin';
    workers constant text := 'morph_platform, morph_compiler, morph_evaluator, morph_publisher, morph_trainer';
    allowed record;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA morph TO %s', every);
    -- Enabled, not forced: the owner's functions and migrations name the tenant themselves.
    FOR own IN SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant'
               WHERE c.relnamespace = 'morph'::regnamespace AND c.relkind = 'r' LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', own);
        EXECUTE format('CREATE POLICY own_tenant ON %I FOR SELECT USING (tenant = (SELECT current_tenant()))', own);
        EXECUTE format('GRANT SELECT ON %I TO %s', own, readers);
        -- Emptying a table would pass by every trigger on its rows.
        EXECUTE format('CREATE TRIGGER %1$s_is_never_truncated BEFORE TRUNCATE ON %1$I
                        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', own);
    END LOOP;
    EXECUTE format('GRANT SELECT ON lifecycle, timeline TO %s', readers);
    -- Who knows the holder can act as it: only the holder does.
    EXECUTE format('REVOKE SELECT ON lease FROM %s', readers);
    EXECUTE format('GRANT SELECT (tenant, name, epoch, expires_at) ON lease TO %s', readers);
    FOR allowed IN SELECT * FROM (VALUES
        ('current_tenant()', every),
        ('current_timeline()', every),
        ('submit_blueprint', 'morph_platform, morph_curator, morph_admin'),
        ('retire_release', 'morph_publisher, morph_curator, morph_admin'),
        ('record_build', 'morph_compiler'),
        ('record_failed_build', 'morph_compiler'),
        ('start_evaluation', 'morph_evaluator'),
        ('record_report', 'morph_evaluator'),
        ('publish_kernel', 'morph_publisher'),
        ('move_alias', 'morph_publisher, morph_curator'),
        ('freeze_alias', 'morph_curator, morph_admin'),
        ('unfreeze_alias', 'morph_curator, morph_admin'),
        ('pin', 'morph_platform, morph_curator, morph_admin'),
        ('unpin', 'morph_curator, morph_admin'),
        ('require_quota', 'morph_platform, morph_compiler, morph_trainer, morph_curator, morph_admin'),
        ('lower_quota', 'morph_admin'),
        ('raise_index', 'morph_publisher'),
        ('read_index', 'morph_publisher'),
        ('index_was_published', 'morph_publisher'),
        ('tell_artifact', 'morph_platform, morph_curator'),
        ('quarantine_kernel', 'morph_platform, morph_evaluator, morph_publisher, morph_curator, morph_admin'),
        ('revoke_kernel', 'morph_publisher, morph_curator, morph_admin'),
        ('retire_kernel', 'morph_curator, morph_admin'),
        ('restore_kernel', 'morph_curator, morph_admin'),
        ('begin_purge', 'morph_curator, morph_admin'),
        ('finish_purge', 'morph_curator, morph_admin'),
        ('set_policy', 'morph_curator, morph_admin'),
        ('decide_kernel', 'morph_curator'),
        ('meter_storage', 'morph_platform, morph_curator, morph_admin'),
        ('report_served', 'morph_platform, morph_publisher, morph_trainer'),
        ('kernel_uses', 'morph_curator, morph_admin, morph_platform, morph_auditor'),
        ('record_security', every),
        ('record_failed_logins', 'morph_auditor'),
        ('advance_relay', 'morph_platform, morph_auditor'),
        ('anchor_heads', 'morph_auditor'),
        ('acquire_lease', 'morph_platform, morph_compiler, morph_evaluator, morph_publisher'),
        ('renew_lease', workers),
        ('release_lease', workers),
        ('fence', workers),
        ('seq_at', readers),
        ('trace_lineage', readers),
        ('impact_of', readers),
        ('open_run', 'morph_trainer'),
        ('renew_run', 'morph_trainer'),
        ('live_blobs', 'morph_trainer, morph_platform'),
        ('commit_checkpoint', 'morph_trainer'),
        ('record_restore', 'morph_trainer'),
        ('find_checkpoints', every),
        ('resolve_checkpoint', every),
        ('fork_branch', 'morph_trainer'),
        ('move_head', 'morph_trainer'),
        ('tag_checkpoint', 'morph_trainer'),
        ('pin_checkpoint', 'morph_trainer'),
        ('unpin_checkpoint', 'morph_trainer'),
        ('search_kernels', every),
        ('import_kernels', 'morph_curator, morph_admin'),
        ('checkpoint_blobs', 'morph_trainer, morph_platform, morph_controller, morph_auditor, morph_curator, morph_admin')
    ) AS grants (function_name, roles) LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', allowed.function_name, allowed.roles);
    END LOOP;
END $$;
