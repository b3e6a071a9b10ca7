-- Finding kernels: one function, which adds the caller's tenant itself. How it works, and why its order is total,
-- stands in docs/search.md.

CREATE FUNCTION sorted_tags(tags text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = morph, pg_temp
AS $$ SELECT coalesce(array_agg(DISTINCT tag COLLATE "C" ORDER BY tag COLLATE "C"), '{}') FROM unnest(tags) tag $$;

-- A text query that holds where at least so many of the words are there. Factored: the index asks it for every row of
-- the rarer words.
CREATE FUNCTION at_least(wanted int, words bigint[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = morph, pg_temp
AS $$
BEGIN
    RETURN CASE
        WHEN wanted = 1 THEN '(' || array_to_string(words, ' | ') || ')'
        WHEN wanted = cardinality(words) THEN '(' || array_to_string(words, ' & ') || ')'
        ELSE '(' || words[1] || ' & ' || at_least(wanted - 1, words[2:]) || ' | ' || at_least(wanted, words[2:]) || ')'
    END;
END $$;

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

-- Refuse what is no query: a raw connection can send anything.
CREATE FUNCTION check_search(p_query jsonb, p_limit int) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = morph, pg_temp
AS $$
DECLARE
    list text;
BEGIN
    IF jsonb_typeof(p_query) IS DISTINCT FROM 'object' OR p_query - ARRAY['blueprint', 'descends_from', 'required',
        'preferred', 'excluded', 'max_latency_us', 'max_memory_bytes', 'max_risk', 'max_size_bytes', 'device', 'isa',
        'dtype', 'states', 'hardware', 'shape_class'] <> '{}' OR octet_length(p_query::text) > 16384 THEN
        RAISE EXCEPTION 'this is no query for kernels' USING ERRCODE = '22023';
    END IF;
    IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 1001 THEN
        RAISE EXCEPTION 'a page holds 1 to 1001 kernels, not %', p_limit USING ERRCODE = '22023';
    END IF;
    FOREACH list IN ARRAY ARRAY['required', 'preferred', 'excluded', 'states'] LOOP
        IF jsonb_typeof(coalesce(p_query -> list, '[]')) <> 'array'
           OR jsonb_array_length(coalesce(p_query -> list, '[]')) > (CASE list WHEN 'preferred' THEN 8 ELSE 16 END) THEN
            RAISE EXCEPTION '% is a list of at most 16, preferred tags of at most 8', list USING ERRCODE = '22023';
        END IF;
        IF list <> 'states' AND NOT tags_are_valid(ARRAY(SELECT jsonb_array_elements_text(p_query -> list))) THEN
            RAISE EXCEPTION '% holds something that is no tag', list USING ERRCODE = '22023';
        END IF;
    END LOOP;
    IF p_query ? 'shape_class' AND NOT p_query ? 'hardware' THEN
        RAISE EXCEPTION 'a shape class is measured on some hardware: name it' USING ERRCODE = '22023';
    END IF;
END $$;

-- The conditions of a query on a kernel `k`, but for its latency and its words.
CREATE FUNCTION search_limits(p_tenant text, p_query jsonb) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    written text := 'true';
    named text;
BEGIN
    IF p_query ? 'max_risk' THEN  -- what nobody judged is not within a limit
        written := written || format(' AND k.rank_risk <= %1$L::double precision AND k.risk IS NOT NULL',
                                     p_query ->> 'max_risk');
    END IF;
    FOREACH named IN ARRAY ARRAY['memory_bytes', 'size_bytes'] LOOP
        IF p_query ? ('max_' || named) THEN
            written := written || format(' AND k.%I <= %L::bigint', named, p_query ->> ('max_' || named));
        END IF;
    END LOOP;
    IF p_query ? 'blueprint' THEN
        written := written || format(' AND k.blueprint_digest = ANY (%L)',
                                     blueprints_meant(p_tenant, p_query ->> 'blueprint', false));
    END IF;
    IF p_query ? 'descends_from' THEN
        written := written || format(' AND k.blueprint_digest = ANY (%L)',
                                     blueprints_meant(p_tenant, p_query ->> 'descends_from', true));
    END IF;
    RETURN written;
END $$;

-- The pieces of SQL that a query is put together from. Every value of the query is written as a quoted literal: the
-- planner then knows it, and a plan costs less than a wrong guess.
CREATE FUNCTION plan_search(p_tenant text, p_query jsonb, p_after ranked_kernel) RETURNS search_plan
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    states text[] := ARRAY(SELECT jsonb_array_elements_text(p_query -> 'states'));
    required bigint[] := search_keys(p_tenant, ARRAY(
        SELECT jsonb_array_elements_text(p_query -> 'required')
        UNION ALL SELECT '/' || named || '=' || (p_query ->> named)
                  FROM unnest(ARRAY['device', 'isa', 'dtype']) named WHERE p_query ? named));
    excluded bigint[] := search_keys(p_tenant, ARRAY(SELECT jsonb_array_elements_text(p_query -> 'excluded')));
    key bigint;
    plan search_plan;
BEGIN
    plan.indexed := states <@ ARRAY['VALIDATED', 'PUBLISHED'];
    plan.source := 'kernel k';
    plan.latency := '(k.rank_latency_us)';
    plan.base := format('k.tenant = %L', p_tenant);
    IF p_query ? 'hardware' THEN
        plan.source := 'kernel_latency l JOIN kernel k ON k.tenant = l.tenant AND k.digest = l.kernel_digest';
        plan.latency := '(l.latency_us)';
        plan.base := plan.base || format(' AND l.tenant = %L AND l.hardware = %L AND l.shape_class = %L', p_tenant,
                                         p_query ->> 'hardware', coalesce(p_query ->> 'shape_class', ''));
    END IF;
    IF plan.indexed THEN
        plan.base := plan.base || ' AND k.state IN (''VALIDATED'', ''PUBLISHED'')';
    END IF;
    IF p_query ? 'max_latency_us' THEN
        plan.base := plan.base || format(' AND %s <= %L::double precision', plan.latency, p_query ->> 'max_latency_us');
    END IF;
    IF p_after IS NOT NULL THEN
        plan.base := plan.base || format(
            ' AND %1$s >= %2$L::double precision
              AND (%1$s, k.rank_risk, k.digest) > (%2$L::double precision, %3$L::double precision, %4$L)',
            plan.latency, p_after.latency_us, p_after.risk, p_after.digest);
    END IF;
    plan.fits := search_limits(p_tenant, p_query);
    IF cardinality(states) > 0 THEN
        plan.fits := plan.fits || format(' AND k.state = ANY (%L)', states);
    END IF;
    FOREACH key IN ARRAY required LOOP
        plan.fits := format('%s AND %s = ANY (k.tag_keys)', plan.fits, key);
    END LOOP;
    FOREACH key IN ARRAY excluded LOOP
        plan.fits := format('%s AND %s <> ALL (k.tag_keys)', plan.fits, key);
    END LOOP;
    plan.words := concat_ws(' & ', nullif(array_to_string(required, ' & '), ''),
                            '!' || nullif(array_to_string(excluded, ' & !'), ''));
    plan.preferred := search_keys(p_tenant, ARRAY(SELECT jsonb_array_elements_text(p_query -> 'preferred')));
    plan.matched := '0';
    FOREACH key IN ARRAY plan.preferred LOOP
        plan.matched := format('%s + (%s = ANY (k.tag_keys))::int', plan.matched, key);
    END LOOP;
    RETURN plan;
END $$;

-- Of the first kernels in the order of latency, the best few of each number of matched tags; and how many there were.
CREATE FUNCTION walk_kernels(p_plan search_plan, p_low int, p_high int, p_need int, p_budget int, OUT walked int,
                             OUT best ranked_kernel[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
BEGIN
    EXECUTE format(
        'WITH walked AS MATERIALIZED (
             SELECT o.*, row_number() OVER () AS place FROM (
                 SELECT k.digest::text AS digest, %s AS matched, %s AS latency_us, k.rank_risk AS risk, (%s) AS fits
                 FROM %s WHERE %s ORDER BY %s, k.rank_risk, k.digest LIMIT %s) o),
         placed AS (
             SELECT w.*, row_number() OVER (PARTITION BY w.matched ORDER BY w.place) AS place_of_level
             FROM walked w WHERE w.fits AND w.matched BETWEEN %s AND %s)
         SELECT (SELECT count(*) FROM walked),
                array_agg((p.digest, p.matched, p.latency_us, p.risk)::ranked_kernel ORDER BY p.matched DESC, p.place)
         FROM placed p WHERE p.place_of_level <= %s',
        p_plan.matched, p_plan.latency, p_plan.fits, p_plan.source, p_plan.base, p_plan.latency, p_budget,
        p_low, p_high, p_need) INTO walked, best;
    best := coalesce(best, '{}');
END $$;

-- The best of all kernels that match so many tags, by whatever index is best. The order is an expression so that it is
-- not the index of ranks: the walk has just shown that this one is of no help.
CREATE FUNCTION fetch_kernels(p_plan search_plan, p_low int, p_high int, p_need int) RETURNS ranked_kernel[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    words text := concat_ws(' & ', nullif(p_plan.words, ''),
                            CASE WHEN p_low > 0 THEN at_least(p_low, p_plan.preferred) END);
    best ranked_kernel[];
BEGIN
    EXECUTE format(
        'SELECT array_agg((f.digest, f.matched, f.latency_us, f.risk)::ranked_kernel) FROM (
             SELECT k.digest::text AS digest, %1$s AS matched, %2$s AS latency_us, k.rank_risk AS risk
             FROM %3$s WHERE %4$s AND %5$s%6$s AND %1$s BETWEEN %7$s AND %8$s
             ORDER BY 2 DESC, %2$s + 0, k.rank_risk, k.digest LIMIT %9$s) f',
        p_plan.matched, p_plan.latency, p_plan.source, p_plan.base, p_plan.fits,
        CASE WHEN words = '' OR NOT p_plan.indexed THEN ''
             ELSE format(' AND array_to_tsvector(k.tag_keys::text[]) @@ %L', words) END,
        p_low, p_high, p_need) INTO best;
    RETURN coalesce(best, '{}');
END $$;

-- The best kernels of those that match `p_low` to `p_high` preferred tags, behind a place. First a walk down the order
-- of latency: where many kernels fit, the best are among the first. Where few do, the index of words gives all that
-- match most tags; the walk has shown that those cannot be many.
CREATE FUNCTION best_kernels(p_tenant text, p_query jsonb, p_low int, p_high int, p_after ranked_kernel, p_need int)
RETURNS ranked_kernel[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    plan constant search_plan := plan_search(p_tenant, p_query, p_after);
    first constant int := CASE WHEN p_high > p_low THEN 400 ELSE 96 END;
    budget int := first;
    walked int;
    seen ranked_kernel[] := '{}';
    best ranked_kernel[];
    sparse int := p_low;  -- from this level on the walk saw fewer than are needed
    likely int;           -- the highest level of which it saw any
BEGIN
    WHILE plan.indexed LOOP
        SELECT w.walked, w.best INTO walked, seen FROM walk_kernels(plan, p_low, p_high, p_need, budget) w;
        IF walked < budget OR cardinality(seen) >= p_need AND seen[p_need].matched = p_high THEN
            RETURN seen[:p_need];
        END IF;
        sparse := CASE WHEN cardinality(seen) >= p_need THEN seen[p_need].matched + 1 ELSE p_low END;
        likely := (SELECT max(s.matched) FROM unnest(seen) s WHERE s.matched >= sparse);
        EXIT WHEN budget > first OR likely IS DISTINCT FROM p_high;
        -- Once more, as far as it should take to fill the page.
        budget := least(2048, first + 3 * first * p_need
                              / (2 * (SELECT count(*)::int FROM unnest(seen) s WHERE s.matched = p_high)));
    END LOOP;
    IF likely > sparse THEN
        best := fetch_kernels(plan, likely, p_high, p_need);
        IF cardinality(best) >= p_need THEN
            RETURN best;
        END IF;
    END IF;
    best := fetch_kernels(plan, sparse, p_high, p_need);
    IF sparse > p_low THEN  -- the level below was filled by the walk
        best := best || ARRAY(SELECT s FROM unnest(seen) s WHERE s.matched = sparse - 1
                                ORDER BY s.latency_us, s.risk, s.digest COLLATE "C");
    END IF;
    RETURN best[:p_need];
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
        told := convert_from(decode(rpad(translate(p_cursor, '-_', '+/'), (length(p_cursor) + 3) / 4 * 4, '='),
                                    'base64'), 'UTF8');
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

-- A page of kernels in order of rank: most preferred tags, least latency, least risk, digest. Each comes with what put
-- it behind the one before, and with the cursor that goes on behind it.
CREATE FUNCTION search_kernels(p_query jsonb, p_limit int, p_cursor text)
RETURNS TABLE (digest text, blueprint_digest text, names text[], target jsonb, state text, tags text[], size_bytes bigint,
               speed_ratio double precision, latency_us double precision, memory_bytes bigint, risk double precision,
               hardware text, shape_class text, matched text[], decided_by text, cursor text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    my_tenant text := current_tenant();
    bound text := left(encode(sha256(convert_to(my_tenant || E'\n' || p_query::text, 'UTF8')), 'hex'), 32);
    levels int;
    last ranked_kernel;
    best ranked_kernel[];
BEGIN
    PERFORM check_search(p_query, p_limit);
    levels := coalesce(jsonb_array_length(p_query -> 'preferred'), 0);
    IF p_cursor IS NOT NULL THEN
        last := parse_search_cursor(bound, levels, p_cursor);
        levels := last.matched;
    END IF;
    best := best_kernels(my_tenant, p_query, CASE WHEN last IS NULL THEN 0 ELSE levels END, levels, last, p_limit);
    IF last IS NOT NULL AND levels > 0 AND cardinality(best) < p_limit THEN
        best := best || best_kernels(my_tenant, p_query, 0, levels - 1, NULL, p_limit - cardinality(best));
    END IF;
    RETURN QUERY
    SELECT k.digest::text, k.blueprint_digest::text,
           ARRAY(SELECT DISTINCT r.name::text FROM blueprint_release r
                 WHERE r.tenant = my_tenant AND r.blueprint_digest = k.blueprint_digest ORDER BY 1),
           k.target, k.state, k.tags, k.size_bytes, k.speed_ratio, nullif(f.latency_us, 'infinity'), k.memory_bytes, k.risk,
           coalesce(p_query ->> 'hardware',
                    (SELECT l.hardware FROM kernel_latency l
                     WHERE l.tenant = my_tenant AND l.kernel_digest = k.digest AND l.shape_class = ''
                       AND l.latency_us = k.latency_us ORDER BY l.hardware LIMIT 1), ''),
           coalesce(p_query ->> 'shape_class', ''),
           ARRAY(SELECT tag FROM jsonb_array_elements_text(p_query -> 'preferred') tag
                 WHERE tag = ANY (k.tags) ORDER BY tag COLLATE "C"),
           CASE WHEN f.place = 1 AND last IS NULL THEN 'first'
                WHEN f.matched < coalesce(lag(f.matched) OVER placed, last.matched) THEN 'preferred'
                WHEN f.latency_us > coalesce(lag(f.latency_us) OVER placed, last.latency_us) THEN 'latency'
                WHEN f.risk > coalesce(lag(f.risk) OVER placed, last.risk) THEN 'risk'
                ELSE 'digest' END,
           translate(encode(convert_to(jsonb_build_array(bound, f.matched, f.latency_us::text, f.risk::text, f.digest)
                                       ::text, 'UTF8'), 'base64'), E'+/=\n', '-_')
    FROM unnest(best) WITH ORDINALITY AS f (digest, matched, latency_us, risk, place)
    JOIN kernel k ON k.tenant = my_tenant AND k.digest = f.digest
    WINDOW placed AS (ORDER BY f.place)
    ORDER BY f.place;
END $$;
