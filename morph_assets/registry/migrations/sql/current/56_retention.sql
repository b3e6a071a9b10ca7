-- What a retention policy judges by.

-- A page of kernels that could be retired, by digest, with what speaks for keeping each.
CREATE FUNCTION kernel_uses(p_after text, p_limit int)
RETURNS TABLE (digest text, blueprint_digest text, names text[], state text, device text, isa text, dtype text,
               torch text, speed_ratio double precision, bundle_bytes bigint, created_at timestamptz,
               last_used_at timestamptz, newer_releases int, aliases text[], stays_because text)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = morph, pg_temp
AS $$
    SELECT k.digest::text, k.blueprint_digest::text,
           ARRAY(SELECT DISTINCT r.name::text FROM blueprint_release r
                 WHERE r.tenant = k.tenant AND r.blueprint_digest = k.blueprint_digest ORDER BY 1),
           k.state, k.device, k.isa, k.dtype, k.torch, k.speed_ratio, b.size_bytes, k.created_at,
           greatest(k.created_at,
                    (SELECT max(c.recorded_at) FROM checkpoint_kernel ck
                     JOIN checkpoint c ON c.tenant = ck.tenant AND c.checkpoint = ck.checkpoint
                     WHERE ck.tenant = k.tenant AND ck.kernel_digest = k.digest),
                    (SELECT to_timestamp(max(u.to_us) / 1000000.0) FROM usage_entry u
                     WHERE u.tenant = k.tenant AND u.kernel_digest = k.digest AND u.kind = 'bytes_served'),
                    (SELECT max(e.recorded_at) FROM event e
                     WHERE e.tenant = k.tenant AND e.subject = 'kernel/' || k.digest AND e.type = 'kernel.published')),
           -- Under the name in which it is newest.
           (SELECT min((SELECT count(*) FROM blueprint_release later
                        WHERE later.tenant = newest.tenant AND later.name = newest.name
                          AND later.version > newest.version AND later.state <> 'RETIRED'))::int
            FROM (SELECT r.tenant, r.name, max(r.version) AS version FROM blueprint_release r
                  WHERE r.tenant = k.tenant AND r.blueprint_digest = k.blueprint_digest AND r.state <> 'RETIRED'
                  GROUP BY r.tenant, r.name) newest),
           ARRAY(SELECT a.name || '@' || a.alias FROM alias a
                 JOIN blueprint_release r ON r.tenant = a.tenant AND r.name = a.name AND r.version = a.version
                 WHERE a.tenant = k.tenant AND r.blueprint_digest = k.blueprint_digest ORDER BY 1),
           why_kernel_stays(k, k.state)
    FROM kernel k JOIN blob b ON b.tenant = k.tenant AND b.digest = k.bundle_digest
    WHERE k.tenant = (SELECT current_tenant()) AND k.digest > p_after
      AND k.state IN ('COMPILED', 'VALIDATED', 'REJECTED', 'PUBLISHED', 'QUARANTINED', 'REVOKED')
    ORDER BY k.digest LIMIT least(p_limit, 1000)
$$;
