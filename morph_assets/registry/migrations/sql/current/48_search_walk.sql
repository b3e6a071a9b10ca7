-- Finding kernels: the walk, the inverted index, and the page that they fill (docs/search.md).
-- A text query that holds where at least so many of the words are there. Factored: the index asks it for every row of
-- the rarer words.
CREATE FUNCTION at_least(wanted int, words bigint[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    told text[] := array_fill(NULL::text, ARRAY[wanted]);  -- at least one, two, ... of the words so far
    word text;
BEGIN
    FOREACH word IN ARRAY words::text[] LOOP
        FOR least IN REVERSE wanted..2 LOOP
            told[least] := nullif(concat_ws(' | ', told[least], '(' || word || ' & (' || told[least - 1] || '))'), '');
        END LOOP;
        told[1] := concat_ws(' | ', told[1], word);
    END LOOP;
    RETURN '(' || told[wanted] || ')';
END $$;

-- The best of the first kernels in the order of latency: of those in the index of ranks, or of those that were measured
-- on the hardware; only one of both is ever walked. Where one level of matched tags is asked for, the walk ends when the
-- page is full. Everything but a blueprint is answered by the index alone.
CREATE FUNCTION walk_kernels(terms search_terms, p_low int, p_high int, p_need int, p_budget int)
RETURNS ranked_kernel[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    behind constant ranked_kernel := coalesce(terms.behind, ('', 0, '-Infinity', '-Infinity')::ranked_kernel);
    best ranked_kernel[];
BEGIN
    SELECT array_agg((f.digest, f.matched, f.latency_us, f.rank_risk)::ranked_kernel
                     ORDER BY f.matched DESC, f.latency_us, f.rank_risk, f.digest) INTO best
    FROM (
        SELECT s.* FROM (
            SELECT w.*, count_preferred(w.tag_keys, terms.preferred) AS matched FROM (
                (SELECT k.digest, k.rank_latency_us AS latency_us, k.rank_risk, k.risk, k.memory_bytes, k.size_bytes,
                        k.state, k.tag_keys
                 FROM kernel k
                 WHERE terms.hardware IS NULL AND k.tenant = terms.tenant AND k.state IN ('VALIDATED', 'PUBLISHED')
                   AND k.rank_latency_us <= terms.max_latency_us
                   AND (k.rank_latency_us, k.rank_risk, k.digest) > (behind.latency_us, behind.risk, behind.digest)
                 ORDER BY k.rank_latency_us, k.rank_risk, k.digest LIMIT p_budget)
                UNION ALL
                (SELECT k.digest, l.latency_us, k.rank_risk, k.risk, k.memory_bytes, k.size_bytes, k.state, k.tag_keys
                 FROM kernel_latency l JOIN kernel k ON k.tenant = l.tenant AND k.digest = l.kernel_digest
                 WHERE terms.hardware IS NOT NULL AND l.tenant = terms.tenant AND l.hardware = terms.hardware
                   AND l.shape_class = terms.shape_class AND l.latency_us <= terms.max_latency_us
                   AND l.latency_us >= behind.latency_us AND k.state IN ('VALIDATED', 'PUBLISHED')
                   AND (l.latency_us, k.rank_risk, k.digest) > (behind.latency_us, behind.risk, behind.digest)
                 ORDER BY l.latency_us, k.rank_risk, k.digest LIMIT p_budget)) w
            WHERE (terms.required IS NULL OR w.tag_keys @> terms.required)
              AND (terms.excluded IS NULL OR NOT w.tag_keys && terms.excluded)
              AND (terms.states IS NULL OR w.state = ANY (terms.states))
              AND (terms.max_risk IS NULL OR w.risk <= terms.max_risk)
              AND (terms.max_memory_bytes IS NULL OR w.memory_bytes <= terms.max_memory_bytes)
              AND (terms.max_size_bytes IS NULL OR w.size_bytes <= terms.max_size_bytes)
              AND (terms.blueprints IS NULL
                   OR (SELECT b.blueprint_digest FROM kernel b WHERE b.tenant = terms.tenant AND b.digest = w.digest)
                      = ANY (terms.blueprints))
            OFFSET 0) s
        WHERE s.matched BETWEEN p_low AND p_high LIMIT CASE WHEN p_low = p_high THEN p_need END) f;
    RETURN coalesce(best[:p_need], '{}');
END $$;

-- The best of all kernels that match so many tags, by whatever index is best: planned for these very values, because a
-- plan costs less than a wrong guess. The order is an expression so that it is not the index of ranks: the walk has just
-- shown that this one is of no help.
CREATE FUNCTION fetch_kernels(terms search_terms, p_low int, p_high int, p_need int) RETURNS ranked_kernel[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    latency constant text := CASE WHEN terms.hardware IS NULL THEN 'k.rank_latency_us' ELSE 'l.latency_us' END;
    matched constant text := concat_ws(' + ', '0', '(' || nullif(array_to_string(terms.preferred,
        ' = ANY (k.tag_keys))::int + ('), '') || ' = ANY (k.tag_keys))::int');
    words constant text := concat_ws(' & ', nullif(array_to_string(terms.required, ' & '), ''),
                                     '!' || nullif(array_to_string(terms.excluded, ' & !'), ''),
                                     CASE WHEN p_low > 0 THEN at_least(p_low, terms.preferred) END);
    best ranked_kernel[];
BEGIN
    EXECUTE format(
        'SELECT array_agg((f.digest, f.matched, f.latency_us, f.rank_risk)::ranked_kernel) FROM (
             SELECT k.digest, %1$s AS matched, %2$s AS latency_us, k.rank_risk FROM %3$s
             WHERE %4$s AND %1$s BETWEEN %5$s AND %6$s
             ORDER BY 2 DESC, %2$s + 0, k.rank_risk, k.digest LIMIT %7$s) f',
        matched, latency,
        'kernel k' || CASE WHEN terms.hardware IS NULL THEN '' ELSE format(
            ' JOIN kernel_latency l ON l.tenant = %L AND l.kernel_digest = k.digest
                                       AND l.hardware = %L AND l.shape_class = %L',
            terms.tenant, terms.hardware, terms.shape_class) END,
        concat_ws(' AND ',
            'k.tenant = ' || quote_literal(terms.tenant),
            CASE WHEN terms.in_service THEN 'k.state IN (''VALIDATED'', ''PUBLISHED'')' END,
            'k.state = ANY (' || quote_literal(terms.states) || ')',
            CASE WHEN terms.in_service THEN 'array_to_tsvector(k.tag_keys::text[]) @@ ' || quote_literal(nullif(words, ''))
                 ELSE format('k.tag_keys @> %L AND NOT k.tag_keys && %L', coalesce(terms.required, '{}'),
                             coalesce(terms.excluded, '{}')) END,
            'k.blueprint_digest = ANY (' || quote_literal(terms.blueprints) || ')',
            latency || ' <= ' || quote_literal(nullif(terms.max_latency_us, 'NaN')),
            'k.memory_bytes <= ' || terms.max_memory_bytes,
            'k.size_bytes <= ' || terms.max_size_bytes,
            'k.risk IS NOT NULL AND k.rank_risk <= ' || quote_literal(terms.max_risk),
            CASE WHEN terms.behind IS NOT NULL THEN format('(%s, k.rank_risk, k.digest) > (%L, %L, %L)', latency,
                (terms.behind).latency_us, (terms.behind).risk, (terms.behind).digest) END),
        p_low, p_high, p_need) INTO best;
    RETURN coalesce(best, '{}');
END $$;

-- The best kernels of those that match `p_low` to `p_high` preferred tags. First a walk down the order of latency: where
-- many kernels fit, the best are among the first. Where few do, the index of words gives all that match most tags; the
-- walk has shown that those cannot be many.
CREATE FUNCTION best_kernels(terms search_terms, p_low int, p_high int, p_need int) RETURNS ranked_kernel[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    first constant int := 256;
    budget int := first;
    seen ranked_kernel[] := '{}';
    best ranked_kernel[];
    sparse int := p_low;  -- from this level on the walk saw fewer than are needed
    likely int;           -- the level from which on it saw next to none: not many, but perhaps enough
BEGIN
    WHILE terms.in_service AND budget <= 8 * first LOOP
        seen := walk_kernels(terms, p_low, p_high, p_need, budget);
        sparse := CASE WHEN cardinality(seen) < p_need THEN p_low ELSE seen[p_need].matched + 1 END;
        IF sparse > p_high THEN
            RETURN seen;
        END IF;
        likely := least(p_high, coalesce(seen[1 + budget / first].matched, p_low) + 1);
        -- Once more, half as far again as it should take to fill the page, unless the index has less to read.
        budget := 3 * budget * p_need
                  / nullif(2 * (SELECT count(*)::int FROM unnest(seen) s WHERE s.matched >= sparse), 0);
    END LOOP;
    IF likely > sparse THEN
        best := fetch_kernels(terms, likely, p_high, p_need);
        IF cardinality(best) = p_need THEN
            RETURN best;
        END IF;
    END IF;
    best := fetch_kernels(terms, sparse, p_high, p_need);
    -- The level below was filled by the walk.
    RETURN (best || ARRAY(SELECT s FROM unnest(seen) s WHERE s.matched < sparse
                          ORDER BY s.latency_us, s.risk, s.digest COLLATE "C"))[:p_need];
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
    my_tenant constant text := current_tenant();
    bound constant text := left(encode(sha256(convert_to(my_tenant || E'\n' || p_query::text, 'UTF8')), 'hex'), 32);
    asked constant kernel_query := read_query(p_query, p_limit);
    preferred constant text[] := CASE WHEN cardinality(asked.preferred) > 0 THEN sorted_tags(asked.preferred) END;
    terms search_terms := search_terms(my_tenant, asked);
    levels int := cardinality(terms.preferred);
    last ranked_kernel;
    best ranked_kernel[];
BEGIN
    IF p_cursor IS NULL THEN
        best := best_kernels(terms, 0, levels, p_limit);
    ELSE
        last := parse_search_cursor(bound, levels, p_cursor);
        terms.behind := last;
        best := best_kernels(terms, last.matched, last.matched, p_limit);
        IF last.matched > 0 AND cardinality(best) < p_limit THEN
            terms.behind := NULL;
            best := best || best_kernels(terms, 0, last.matched - 1, p_limit - cardinality(best));
        END IF;
    END IF;
    RETURN QUERY
    SELECT k.digest::text, k.blueprint_digest::text,
           ARRAY(SELECT r.name::text FROM blueprint_release r
                 WHERE r.tenant = my_tenant AND r.blueprint_digest = k.blueprint_digest GROUP BY r.name ORDER BY r.name),
           k.target, k.state, k.tags, k.size_bytes, k.speed_ratio, nullif(f.latency_us, 'infinity'), k.memory_bytes, k.risk,
           coalesce(asked.hardware,
                    (SELECT l.hardware FROM kernel_latency l
                     WHERE l.tenant = my_tenant AND l.kernel_digest = k.digest AND l.shape_class = ''
                       AND l.latency_us = k.latency_us ORDER BY l.hardware LIMIT 1), ''),
           terms.shape_class,
           CASE WHEN f.matched = 0 THEN '{}'
                ELSE ARRAY(SELECT tag FROM unnest(preferred) tag WHERE tag = ANY (k.tags)) END,
           CASE WHEN f.place = 1 AND last IS NULL THEN 'first'
                WHEN f.matched < lag(f.matched, 1, last.matched) OVER placed THEN 'preferred'
                WHEN f.latency_us > lag(f.latency_us, 1, last.latency_us) OVER placed THEN 'latency'
                WHEN f.risk > lag(f.risk, 1, last.risk) OVER placed THEN 'risk'
                ELSE 'digest' END,
           encode(convert_to(format('["%s", %s, "%s", "%s", "%s"]', bound, f.matched, f.latency_us, f.risk, f.digest), 'UTF8'),
                  'hex')
    FROM unnest(best) WITH ORDINALITY AS f (digest, matched, latency_us, risk, place)
    JOIN kernel k ON k.tenant = my_tenant AND k.digest = f.digest
    WINDOW placed AS (ORDER BY f.place)
    ORDER BY f.place;
END $$;
