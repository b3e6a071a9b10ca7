-- A curator's word on what nobody here has tried under ordinary conditions.
CREATE TRIGGER approval_is_append_only BEFORE UPDATE OR DELETE ON approval
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE CONSTRAINT TRIGGER approval_has_its_event AFTER INSERT ON approval
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('kernel', 'kernel_digest');

-- Why a kernel waits for a curator, or null. A word on an earlier evaluation says nothing about this one.
CREATE FUNCTION why_kernel_waits(subject kernel) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    SELECT CASE
        WHEN NOT subject.speculative AND (subject.import_id IS NULL OR EXISTS (
            SELECT 1 FROM report r JOIN tenant_member m ON m.login = r.recorded_by AND m.role = 'evaluator'
            WHERE r.tenant = subject.tenant AND r.kernel_digest = subject.digest AND r.verdict = 'pass')) THEN NULL
        ELSE (
            SELECT CASE WHEN told.approved IS NULL THEN 'no curator has approved it'
                        WHEN NOT told.approved THEN 'declined by ' || told.decided_by || ': ' || told.reason END
            FROM (SELECT) AS one LEFT JOIN LATERAL (
                SELECT a.approved, a.decided_by, a.reason FROM approval a
                WHERE a.tenant = subject.tenant AND a.kernel_digest = subject.digest AND a.evaluation = subject.evaluation
                ORDER BY a.seq DESC LIMIT 1) told ON true)
    END
$$;

CREATE FUNCTION decide_kernel(p_kernel text, p_approved boolean, p_reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    locked kernel := lock_kernel(p_kernel);
    event_seq bigint;
BEGIN
    IF locked.state <> 'VALIDATED' THEN
        RAISE EXCEPTION 'a curator decides on what is VALIDATED; kernel % is %', p_kernel, locked.state
            USING ERRCODE = 'MO002';
    ELSIF p_approved IS NULL OR coalesce(p_reason, '') = '' THEN
        RAISE EXCEPTION 'a decision is yes or no, for a reason' USING ERRCODE = '22023';
    END IF;
    event_seq := append_event(CASE WHEN p_approved THEN 'kernel.approved' ELSE 'kernel.declined' END,
        'kernel/' || p_kernel,
        jsonb_build_object('kernel_digest', p_kernel, 'blueprint_digest', locked.blueprint_digest,
                           'evaluation', locked.evaluation, 'approved', p_approved, 'reason', p_reason));
    INSERT INTO approval (tenant, kernel_digest, seq, evaluation, approved, reason, decided_by)
    VALUES (locked.tenant, p_kernel, event_seq, locked.evaluation, p_approved, p_reason, session_user);
END $$;
