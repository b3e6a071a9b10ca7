-- Who came from whom, and what breaks if something goes.

-- The newest event at a moment: the log as it was then ends with it.
CREATE FUNCTION seq_at(p_at timestamptz) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    SELECT coalesce((SELECT e.seq FROM event e WHERE e.tenant = (SELECT current_tenant()) AND e.recorded_at <= p_at
                     ORDER BY e.recorded_at DESC, e.seq DESC LIMIT 1), 0)
$$;

-- Breadth first, each node once, so that cycles end and a hub costs no more than p_limit edges.
CREATE FUNCTION trace_lineage(p_node text, p_upward boolean, p_as_of bigint, p_max_depth int, p_limit int)
RETURNS TABLE (source text, relation text, target text, since_seq bigint, until_seq bigint, depth int)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    room int := least(greatest(p_limit, 0), 10000);
    frontier text[] := ARRAY[p_node];
    seen text[] := frontier;
    found edge[];
BEGIN
    FOR depth_now IN 1 .. least(p_max_depth, 32) LOOP
        IF p_upward THEN
            found := ARRAY(SELECT e FROM edge e WHERE e.tenant = my_tenant AND e.source = ANY (frontier)
                           AND e.since_seq <= p_as_of AND (e.until_seq IS NULL OR e.until_seq > p_as_of)
                           ORDER BY e.source, e.relation, e.target, e.since_seq LIMIT room);
        ELSE
            found := ARRAY(SELECT e FROM edge e WHERE e.tenant = my_tenant AND e.target = ANY (frontier)
                           AND e.since_seq <= p_as_of AND (e.until_seq IS NULL OR e.until_seq > p_as_of)
                           ORDER BY e.target, e.relation, e.source, e.since_seq LIMIT room);
        END IF;
        RETURN QUERY SELECT f.source, f.relation, f.target, f.since_seq, f.until_seq, depth_now FROM unnest(found) f;
        room := room - cardinality(found);
        frontier := ARRAY(SELECT DISTINCT n.node
                          FROM (SELECT CASE WHEN p_upward THEN f.target ELSE f.source END AS node FROM unnest(found) f) n
                          WHERE n.node NOT IN (SELECT s FROM unnest(seen) s));
        seen := seen || frontier;
        EXIT WHEN cardinality(frontier) = 0 OR room <= 0;
    END LOOP;
END $$;

-- What would go on otherwise, or not at all, without the kernel. Runs come with their live writers first.
CREATE FUNCTION impact_of(p_kernel text)
RETURNS TABLE (kind text, subject text, consequence text, detail text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
DECLARE
    my_tenant text := current_tenant();
    lost kernel;
BEGIN
    SELECT * INTO lost FROM kernel k WHERE k.tenant = my_tenant AND k.digest = p_kernel;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no kernel %', p_kernel USING ERRCODE = 'MO006';
    END IF;
    RETURN QUERY
    SELECT 'alias', a.name || '@' || a.alias,
           CASE WHEN lost.state <> 'PUBLISHED' THEN 'none: it is not in service'
                WHEN others.count = 0 THEN 'runs eager' ELSE 'uses another kernel' END,
           format('release %s, %s other published kernels for %s %s', a.version, others.count, lost.device, lost.dtype)
    FROM alias a
    JOIN blueprint_release r ON r.tenant = a.tenant AND r.name = a.name AND r.version = a.version
    CROSS JOIN LATERAL (
        SELECT count(*) FROM kernel k
        WHERE k.tenant = my_tenant AND k.blueprint_digest = lost.blueprint_digest AND k.state = 'PUBLISHED'
          AND k.device = lost.device AND k.dtype = lost.dtype AND k.digest <> lost.digest) others
    WHERE a.tenant = my_tenant AND r.blueprint_digest = lost.blueprint_digest
    ORDER BY a.name, a.alias;
    RETURN QUERY
    SELECT 'run', used.run::text,
           CASE WHEN l.expires_at > clock_timestamp() THEN 'is running: eager from the next boundary'
                ELSE 'restores its state; not its trajectory bit for bit' END,
           format('%s checkpoints, newest at epoch %s, step %s', used.count, used.epoch, used.step)
    FROM (SELECT c.run, count(*), max(c.epoch) AS epoch, max(c.step) AS step
          FROM checkpoint_kernel n JOIN checkpoint c ON c.tenant = n.tenant AND c.checkpoint = n.checkpoint
          WHERE n.tenant = my_tenant AND n.kernel_digest = p_kernel GROUP BY c.run) used
    LEFT JOIN lease l ON l.tenant = my_tenant AND l.name = 'run/' || used.run
    ORDER BY l.expires_at > clock_timestamp() DESC NULLS LAST, used.run LIMIT 1000;
END $$;
