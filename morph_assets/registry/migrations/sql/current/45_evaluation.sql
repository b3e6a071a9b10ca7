-- What the evaluator alone may do, what follows from it, and how a kernel leaves service.
CREATE FUNCTION start_evaluation(p_kernel text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$ SELECT advance_kernel(p_kernel, 'VALIDATING', '', 'kernel.evaluation_started') $$;

-- Keep a report. Of a kernel that is VALIDATING the verdict decides the next state; for one that is validated or
-- published already, a passing report adds a runtime it may run under and a failing one is only kept.
-- p_measurements: [{"metric", "value", "unit", "shape_class"?, "hardware"?}]
CREATE FUNCTION record_report(p_report uuid, p_kernel text, p_suite text, p_verdict text, p_body bytea,
                              p_runtime_torch text, p_runtime_device text, p_runtime_isa text, p_measurements jsonb,
                              p_tags text[], p_attestation bytea) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    locked kernel := lock_kernel(p_kernel);
    decided text;
    event_seq bigint;
BEGIN
    IF EXISTS (SELECT 1 FROM report r WHERE r.tenant = my_tenant AND r.report_id = p_report
                                        AND r.kernel_digest = p_kernel) THEN
        RETURN locked.state;
    END IF;
    IF locked.state NOT IN ('VALIDATING', 'VALIDATED', 'PUBLISHED') THEN
        RAISE EXCEPTION 'a kernel that is % takes no report', locked.state USING ERRCODE = 'MO002';
    END IF;
    IF (p_attestation IS NOT NULL) <> (p_verdict = 'pass') THEN
        RAISE EXCEPTION 'a passing report, and only a passing one, comes with its attestation' USING ERRCODE = 'MO003';
    END IF;
    decided := CASE WHEN locked.state <> 'VALIDATING' THEN locked.state
                    WHEN p_verdict = 'pass' THEN 'VALIDATED'
                    WHEN p_verdict = 'fail' THEN 'REJECTED'
                    ELSE 'COMPILED' END;
    INSERT INTO report (tenant, report_id, kernel_digest, evaluation, suite, verdict, body, body_digest, runtime_torch,
                        runtime_device, runtime_isa, recorded_by)
    VALUES (my_tenant, p_report, p_kernel, locked.evaluation, p_suite, p_verdict, p_body,
            encode(sha256(p_body), 'hex'), p_runtime_torch, p_runtime_device, p_runtime_isa, session_user);
    INSERT INTO measurement (tenant, report_id, metric, shape_class, hardware, value, unit)
    SELECT my_tenant, p_report, m.metric, coalesce(m.shape_class, ''), coalesce(m.hardware, ''), m.value, m.unit
    FROM jsonb_to_recordset(p_measurements)
         AS m (metric text, shape_class text, hardware text, value double precision, unit text);
    IF p_verdict = 'pass' THEN
        INSERT INTO attestation (tenant, kernel_digest, envelope_digest, kind, report_id, envelope, recorded_by)
        VALUES (my_tenant, p_kernel, encode(sha256(p_attestation), 'hex'), 'verification', p_report, p_attestation,
                session_user);
    END IF;
    UPDATE kernel k
    SET state = decided,
        state_reason = CASE WHEN decided = locked.state THEN k.state_reason ELSE '' END,
        speed_ratio = coalesce(summary.speed_ratio, k.speed_ratio),
        latency_us = coalesce(summary.latency_us, k.latency_us),
        memory_bytes = coalesce(summary.memory_bytes, k.memory_bytes),
        risk = coalesce(summary.risk, k.risk),
        tags = CASE WHEN p_verdict = 'pass' THEN sorted_tags(p_tags) ELSE k.tags END
    FROM (SELECT max(value) FILTER (WHERE metric = 'speed_ratio') AS speed_ratio,
                 max(value) FILTER (WHERE metric = 'latency_us') AS latency_us,
                 max(value) FILTER (WHERE metric = 'memory_bytes')::bigint AS memory_bytes,
                 max(value) FILTER (WHERE metric = 'risk') AS risk
          FROM measurement WHERE tenant = my_tenant AND report_id = p_report AND shape_class = '') summary
    WHERE k.tenant = my_tenant AND k.digest = p_kernel;
    PERFORM keep_latencies(my_tenant, ARRAY[p_report]);
    event_seq := append_event(
        CASE WHEN locked.state <> 'VALIDATING' THEN 'kernel.reevaluated'
             WHEN p_verdict = 'pass' THEN 'kernel.validated'
             WHEN p_verdict = 'fail' THEN 'kernel.rejected'
             ELSE 'kernel.evaluation_broke' END,
        'kernel/' || p_kernel,
        jsonb_build_object('kernel_digest', p_kernel, 'blueprint_digest', locked.blueprint_digest, 'report_id', p_report,
                           'report_digest', encode(sha256(p_body), 'hex'), 'suite', p_suite, 'verdict', p_verdict,
                           'attestation_digest', encode(sha256(p_attestation), 'hex'),
                           'from', locked.state, 'to', decided, 'tags', coalesce(p_tags, '{}'),
                           -- As text: a payload holds no fractions, and the shortest text gives the same number back.
                           'measurements', (
                               SELECT coalesce(jsonb_agg(jsonb_build_object('metric', m.metric, 'value', m.value::text,
                                          'unit', m.unit, 'shape_class', m.shape_class, 'hardware', m.hardware)
                                          ORDER BY m.metric, m.shape_class, m.hardware), '[]')
                               FROM measurement m WHERE m.tenant = my_tenant AND m.report_id = p_report),
                           'runtime', jsonb_build_object('torch', p_runtime_torch, 'device', p_runtime_device,
                                                         'isa', p_runtime_isa)));
    INSERT INTO edge (tenant, source, relation, target, since_seq)
    VALUES (my_tenant, 'report/' || p_report, 'evaluates', 'kernel/' || p_kernel, event_seq);
    RETURN decided;
END $$;

CREATE FUNCTION publish_kernel(p_kernel text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    wanted_blueprint text;
BEGIN
    SELECT blueprint_digest INTO wanted_blueprint FROM kernel WHERE tenant = my_tenant AND digest = p_kernel;
    -- Lock order everywhere: document, releases, kernel, chain head.
    PERFORM 1 FROM blueprint_document WHERE tenant = my_tenant AND digest = wanted_blueprint FOR NO KEY UPDATE;
    PERFORM 1 FROM blueprint_release WHERE tenant = my_tenant AND blueprint_digest = wanted_blueprint
    ORDER BY name, version FOR NO KEY UPDATE;
    PERFORM advance_kernel(p_kernel, 'PUBLISHED', '', 'kernel.published');
    PERFORM publish_releases(wanted_blueprint);
END $$;

CREATE FUNCTION quarantine_kernel(p_kernel text, p_reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$ SELECT advance_kernel(p_kernel, 'QUARANTINED', p_reason, 'kernel.quarantined') $$;

CREATE FUNCTION revoke_kernel(p_kernel text, p_reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$ SELECT advance_kernel(p_kernel, 'REVOKED', p_reason, 'kernel.revoked') $$;
