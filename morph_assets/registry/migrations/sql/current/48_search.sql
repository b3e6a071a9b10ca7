-- Finding kernels: one function, which adds the caller's tenant itself. How it works, and why its order is total,
-- stands in docs/search.md.

CREATE FUNCTION sorted_tags(tags text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = morph, pg_temp
AS $$ SELECT coalesce(array_agg(DISTINCT tag COLLATE "C" ORDER BY tag COLLATE "C"), '{}') FROM unnest(tags) tag $$;

-- What reports say of where a kernel takes how long; a later report's word counts.
CREATE FUNCTION keep_latencies(p_tenant text, p_reports uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    INSERT INTO kernel_latency AS known (tenant, kernel_digest, hardware, shape_class, latency_us)
    SELECT r.tenant, r.kernel_digest, m.hardware, m.shape_class, m.value
    FROM report r JOIN measurement m ON m.tenant = r.tenant AND m.report_id = r.report_id
    WHERE r.tenant = p_tenant AND r.report_id = ANY (p_reports) AND m.value > 0
      AND m.metric = CASE m.shape_class WHEN '' THEN 'latency_us' ELSE 'step_us' END
    ON CONFLICT (tenant, kernel_digest, hardware, shape_class) DO UPDATE SET latency_us = excluded.latency_us
$$;

-- The blueprints of a name or digest; with `offspring`, those derived from them instead, at any distance.
CREATE FUNCTION blueprints_meant(p_tenant text, p_what text, p_offspring boolean) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    meant text[];
BEGIN
    meant := CASE WHEN p_what ~ '^[0-9a-f]{64}$' THEN ARRAY[p_what]
                  ELSE ARRAY(SELECT DISTINCT r.blueprint_digest::text FROM blueprint_release r
                             WHERE r.tenant = p_tenant AND r.name = p_what) END;
    IF p_offspring THEN
        meant := ARRAY(
            WITH RECURSIVE descendant (node) AS (
                SELECT e.source FROM edge e WHERE e.tenant = p_tenant AND e.relation = 'derived_from'
                    AND e.target = ANY (SELECT 'blueprint/' || unnest(meant)) AND e.until_seq IS NULL
                UNION
                SELECT e.source FROM descendant d JOIN edge e ON e.tenant = p_tenant
                    AND e.relation = 'derived_from' AND e.target = d.node AND e.until_seq IS NULL)
            SELECT substr(node, 11) FROM descendant);
    END IF;
    RETURN meant;
END $$;

-- How many of at most eight preferred tags a kernel has.
CREATE FUNCTION count_preferred(keys bigint[], preferred bigint[]) RETURNS int
LANGUAGE sql IMMUTABLE
RETURN coalesce((preferred[1] = ANY (keys))::int, 0) + coalesce((preferred[2] = ANY (keys))::int, 0)
     + coalesce((preferred[3] = ANY (keys))::int, 0) + coalesce((preferred[4] = ANY (keys))::int, 0)
     + coalesce((preferred[5] = ANY (keys))::int, 0) + coalesce((preferred[6] = ANY (keys))::int, 0)
     + coalesce((preferred[7] = ANY (keys))::int, 0) + coalesce((preferred[8] = ANY (keys))::int, 0);

-- Refuse what is no query: a raw connection can send anything.
CREATE FUNCTION read_query(p_query jsonb, p_limit int) RETURNS kernel_query
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    asked kernel_query;
    tags text[];
BEGIN
    IF jsonb_typeof(p_query) IS DISTINCT FROM 'object' OR p_query - ARRAY['blueprint', 'descends_from', 'required',
        'preferred', 'excluded', 'max_latency_us', 'max_memory_bytes', 'max_risk', 'max_size_bytes', 'device', 'isa',
        'dtype', 'states', 'hardware', 'shape_class'] <> '{}' OR octet_length(p_query::text) > 16384 THEN
        RAISE EXCEPTION 'this is no query for kernels' USING ERRCODE = '22023';
    END IF;
    IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 1001 THEN
        RAISE EXCEPTION 'a page holds 1 to 1001 kernels, not %', p_limit USING ERRCODE = '22023';
    END IF;
    asked := jsonb_populate_record(asked, p_query);
    IF cardinality(asked.required) > 16 OR cardinality(asked.preferred) > 8 OR cardinality(asked.excluded) > 16
       OR cardinality(asked.states) > 16 THEN
        RAISE EXCEPTION 'a list has at most 16 words, that of preferred tags 8' USING ERRCODE = '22023';
    END IF;
    tags := asked.required || asked.preferred || asked.excluded;
    IF cardinality(tags) > 0 AND NOT tags_are_valid(tags) THEN
        RAISE EXCEPTION 'a list of tags holds something that is no tag' USING ERRCODE = '22023';
    END IF;
    IF asked.shape_class IS NOT NULL AND asked.hardware IS NULL THEN
        RAISE EXCEPTION 'a shape class is measured on some hardware: name it' USING ERRCODE = '22023';
    END IF;
    RETURN asked;
END $$;

-- What of a query is compared with rows.
CREATE FUNCTION search_terms(p_tenant text, p_asked kernel_query) RETURNS search_terms
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    target text[] := array_remove(ARRAY['/device=' || p_asked.device, '/isa=' || p_asked.isa,
                                        '/dtype=' || p_asked.dtype], NULL);
    words text[] := target || p_asked.required || p_asked.preferred || p_asked.excluded;
    keys bigint[] := CASE WHEN words = '{}' THEN '{}' ELSE search_keys(p_tenant, words) END;
    required int := cardinality(target) + coalesce(cardinality(p_asked.required), 0);
    wanted int := required + coalesce(cardinality(p_asked.preferred), 0);
    terms search_terms;
BEGIN
    terms.tenant := p_tenant;
    terms.in_service := coalesce(p_asked.states <@ ARRAY['VALIDATED', 'PUBLISHED'], true);
    terms.states := nullif(p_asked.states, '{}');
    terms.required := nullif(keys[:required], '{}');
    terms.preferred := keys[required + 1:wanted];
    terms.excluded := nullif(keys[wanted + 1:], '{}');
    IF p_asked.blueprint IS NOT NULL THEN
        terms.blueprints := blueprints_meant(p_tenant, p_asked.blueprint, false);
    END IF;
    IF p_asked.descends_from IS NOT NULL THEN
        terms.blueprints := CASE WHEN p_asked.blueprint IS NULL
            THEN blueprints_meant(p_tenant, p_asked.descends_from, true)
            ELSE ARRAY(SELECT unnest(terms.blueprints)
                       INTERSECT SELECT unnest(blueprints_meant(p_tenant, p_asked.descends_from, true))) END;
    END IF;
    terms.max_latency_us := coalesce(p_asked.max_latency_us, 'NaN');  -- which is above every number
    terms.max_memory_bytes := p_asked.max_memory_bytes;
    terms.max_risk := p_asked.max_risk;
    terms.max_size_bytes := p_asked.max_size_bytes;
    terms.hardware := p_asked.hardware;
    terms.shape_class := coalesce(p_asked.shape_class, '');
    RETURN terms;
END $$;

-- Where a page ends, as an opaque word of one tenant and one query, which `p_bound` stands for.
CREATE FUNCTION parse_search_cursor(p_bound text, p_levels int, p_cursor text) RETURNS ranked_kernel
LANGUAGE plpgsql IMMUTABLE SET search_path = morph, pg_temp
AS $$
DECLARE
    told jsonb;
    last ranked_kernel;
BEGIN
    IF length(p_cursor) <= 400 THEN
        told := convert_from(decode(p_cursor, 'hex'), 'UTF8');
        last := (told ->> 4, (told ->> 1)::int, (told ->> 2)::double precision, (told ->> 3)::double precision);
    END IF;
    IF last IS NOT NULL AND told ->> 0 = p_bound AND last.digest ~ '^[0-9a-f]{64}$'
       AND last.matched BETWEEN 0 AND p_levels THEN
        RETURN last;
    END IF;
    RAISE EXCEPTION 'this cursor belongs to no such search: begin again without one' USING ERRCODE = '22023';
EXCEPTION WHEN data_exception THEN
    RAISE EXCEPTION 'this cursor belongs to no such search: begin again without one' USING ERRCODE = '22023';
END $$;
