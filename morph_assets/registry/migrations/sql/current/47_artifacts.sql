-- What a scrub found and mended, and where a kernel lies now (its newest `artifact.moved` is the switch): facts about stored bytes, told about the kernel that they are of.
CREATE FUNCTION tell_artifact(p_kernel text, p_event text, p_tier text, p_reason text, p_action text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    IF p_event NOT IN ('artifact.damaged', 'artifact.repaired', 'artifact.moved') THEN
        RAISE EXCEPTION 'no such event of an artifact: %', p_event USING ERRCODE = '22023';
    END IF;
    PERFORM lock_kernel(p_kernel);
    RETURN append_event(p_event, 'kernel/' || p_kernel,
        jsonb_build_object('kernel_digest', p_kernel, 'tier', p_tier, 'reason', p_reason, 'action', p_action));
END $$;
