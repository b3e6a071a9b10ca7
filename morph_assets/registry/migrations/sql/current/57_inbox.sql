-- Messages that come at least once and count once: the row and the message's effect are one transaction.
CREATE TRIGGER inbox_is_append_only BEFORE UPDATE OR DELETE ON inbox
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE CONSTRAINT TRIGGER message_has_its_event AFTER INSERT ON inbox
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_event('', 'subject');

-- Whether this message is new. Whoever sends it at the same time waits here for the first to end.
CREATE FUNCTION accept_once(p_tenant text, p_subject text, p_content_digest text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    INSERT INTO inbox (tenant, subject, content_digest) VALUES (p_tenant, p_subject, p_content_digest)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        RETURN true;
    END IF;
    PERFORM 1 FROM inbox WHERE tenant = p_tenant AND subject = p_subject AND content_digest = p_content_digest;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% was told with another content before: a new message takes a new id', p_subject
            USING ERRCODE = '22023';
    END IF;
    RETURN false;
END $$;
