-- What a search reads stands in the kernel's own row and in indexes over it: in the order of rank, by tag, and by what
-- a limit can be set on. Tags and the target are numbers, others in every tenant: a list of rows in the index is one
-- tenant's. As words of a text vector they let "at least two of these five" be one scan. Row-level security would keep
-- every one of these indexes from being used, so that `search_kernels` runs as the owner and adds the tenant itself.
CREATE FUNCTION search_keys(tenant text, words text[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE SET search_path = morph, pg_temp
AS $$
    SELECT coalesce(array_agg(('x' || encode(substr(sha256(convert_to(tenant || '/' || word, 'UTF8')), 1, 8), 'hex'))
                              ::bit(64)::bigint ORDER BY place), '{}')
    FROM unnest(words) WITH ORDINALITY AS asked (word, place)
$$;

-- The table is written anew, under its lock: before this version no registry held more than some thousand kernels, and
-- a trigger could forget what a generated column cannot.
ALTER TABLE kernel
    ADD COLUMN tags text[] COLLATE "C" NOT NULL DEFAULT '{}',
    ADD COLUMN risk double precision CHECK (risk >= 0 AND risk <= 1),
    -- What was never measured comes last, and a rank has no nulls.
    -- squawk-ignore adding-field-with-default
    ADD COLUMN rank_latency_us double precision NOT NULL GENERATED ALWAYS AS (coalesce(latency_us, 'infinity')) STORED,
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT kernel_tags_are_valid CHECK (tags_are_valid(tags));
ALTER TABLE kernel
    -- squawk-ignore adding-field-with-default
    ADD COLUMN rank_risk double precision NOT NULL GENERATED ALWAYS AS (coalesce(risk, 1)) STORED,
    -- No tag begins with a slash, so that what a target is called is no tag.
    -- squawk-ignore adding-field-with-default
    ADD COLUMN tag_keys bigint[] NOT NULL GENERATED ALWAYS AS (search_keys(tenant, tags || ARRAY[
        '/device=' || (target ->> 'device'), '/isa=' || (target ->> 'isa'), '/dtype=' || (target ->> 'dtype')])) STORED;

-- The latency of a kernel where it was measured: the newest report's. Shape class '' is the sum over all shapes.
CREATE TABLE kernel_latency (
    tenant asset_name NOT NULL,
    kernel_digest digest NOT NULL,
    hardware text NOT NULL COLLATE "C" CHECK (length(hardware) <= 200),
    shape_class text NOT NULL COLLATE "C" CHECK (length(shape_class) <= 200),
    latency_us double precision NOT NULL CHECK (latency_us > 0),
    PRIMARY KEY (tenant, kernel_digest, hardware, shape_class),
    FOREIGN KEY (tenant, kernel_digest) REFERENCES kernel
);

-- No trigger of an older version may count this as a change of a kernel.
ALTER TABLE kernel DISABLE TRIGGER USER;
UPDATE kernel k SET
    tags = coalesce((SELECT array_agg(t.tag ORDER BY t.tag) FROM kernel_tag t
                     WHERE t.tenant = k.tenant AND t.kernel_digest = k.digest), '{}'),
    risk = (SELECT m.value FROM report r JOIN measurement m ON m.tenant = r.tenant AND m.report_id = r.report_id
            WHERE r.tenant = k.tenant AND r.kernel_digest = k.digest AND m.metric = 'risk' AND m.shape_class = ''
            ORDER BY r.recorded_at DESC, m.hardware LIMIT 1);
ALTER TABLE kernel ENABLE TRIGGER USER;
INSERT INTO kernel_latency (tenant, kernel_digest, hardware, shape_class, latency_us)
SELECT DISTINCT ON (r.tenant, r.kernel_digest, m.hardware, m.shape_class)
       r.tenant, r.kernel_digest, m.hardware, m.shape_class, m.value
FROM report r JOIN measurement m ON m.tenant = r.tenant AND m.report_id = r.report_id
WHERE m.metric = CASE m.shape_class WHEN '' THEN 'latency_us' ELSE 'step_us' END AND m.value > 0
ORDER BY r.tenant, r.kernel_digest, m.hardware, m.shape_class, r.recorded_at DESC;
-- squawk-ignore ban-drop-table
DROP TABLE kernel_tag;

-- Everything that a query asks of a kernel stands in this one: a walk along it touches no other page.
CREATE INDEX kernel_by_rank ON kernel (tenant, rank_latency_us, rank_risk, digest)
    INCLUDE (risk, memory_bytes, size_bytes, state, tag_keys) WHERE state IN ('VALIDATED', 'PUBLISHED');
CREATE INDEX kernel_by_tag ON kernel USING gin (array_to_tsvector(tag_keys::text[])) WITH (fastupdate = off)
    WHERE state IN ('VALIDATED', 'PUBLISHED');
CREATE INDEX kernel_by_risk ON kernel (tenant, rank_risk) WHERE state IN ('VALIDATED', 'PUBLISHED');
CREATE INDEX kernel_by_memory ON kernel (tenant, memory_bytes) WHERE state IN ('VALIDATED', 'PUBLISHED');
CREATE INDEX kernel_by_size ON kernel (tenant, size_bytes) WHERE state IN ('VALIDATED', 'PUBLISHED');
CREATE INDEX kernel_latency_by_place ON kernel_latency (tenant, hardware, shape_class, latency_us, kernel_digest);
-- Most tags are rare; statistics of the default size know only the common ones.
ALTER INDEX kernel_by_tag ALTER COLUMN 1 SET STATISTICS 1000;

-- A kernel at its place in a search; a query as its document says it; and what of it is compared with rows.
CREATE TYPE ranked_kernel AS (digest text, matched int, latency_us double precision, risk double precision);
CREATE TYPE kernel_query AS (
    blueprint text, descends_from text, required text[], preferred text[], excluded text[], states text[],
    max_latency_us double precision, max_memory_bytes bigint, max_risk double precision, max_size_bytes bigint,
    device text, isa text, dtype text, hardware text, shape_class text
);
CREATE TYPE search_terms AS (
    tenant text, in_service boolean, states text[], blueprints text[], required bigint[], preferred bigint[],
    excluded bigint[], behind ranked_kernel, max_latency_us double precision, max_memory_bytes bigint,
    max_risk double precision, max_size_bytes bigint, hardware text, shape_class text
);
