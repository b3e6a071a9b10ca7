-- What a check let through: a tag that is null (a check that is null holds), tags within tags, and less than nothing.
CREATE OR REPLACE FUNCTION tags_are_valid(tags text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = morph, pg_temp
AS $$
    SELECT cardinality(tags) <= 64 AND coalesce(array_ndims(tags), 1) = 1
       AND (SELECT coalesce(bool_and(coalesce(tag ~ '^[a-z0-9][a-z0-9._:=-]*$' AND length(tag) <= 63, false)), true)
            FROM unnest(tags) tag)
$$;
ALTER TABLE measurement ADD CONSTRAINT measurement_is_not_negative CHECK (value >= 0) NOT VALID;
