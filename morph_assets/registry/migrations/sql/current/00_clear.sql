-- Everything in this folder is dropped and made anew, in one transaction, whenever a byte of it changed: triggers,
-- policies and functions have one current definition, and only the tables have a history. What a table's own
-- constraints call (`tags_are_valid`) belongs to the table's version and stays.
DO $$
DECLARE
    old record;
BEGIN
    FOR old IN SELECT t.tgname, t.tgrelid::regclass AS owner FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
               WHERE c.relnamespace = 'morph'::regnamespace AND NOT t.tgisinternal LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', old.tgname, old.owner);
    END LOOP;
    FOR old IN SELECT p.polname, p.polrelid::regclass AS owner FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
               WHERE c.relnamespace = 'morph'::regnamespace LOOP
        EXECUTE format('DROP POLICY %I ON %s', old.polname, old.owner);
    END LOOP;
    FOR old IN SELECT p.oid::regprocedure AS signature FROM pg_proc p
               WHERE p.pronamespace = 'morph'::regnamespace
                 AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid)
    LOOP
        EXECUTE format('DROP FUNCTION %s', old.signature);
    END LOOP;
END $$;
