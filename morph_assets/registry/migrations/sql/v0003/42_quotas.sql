-- A limit of work beside those of space: its count begins anew each day (UTC).
ALTER TABLE quota
    DROP CONSTRAINT quota_resource_check,
    ADD CONSTRAINT quota_resource_is_known
        CHECK (resource IN ('blueprints', 'kernels', 'blob_bytes', 'checkpoints', 'builds_per_day')),
    ADD COLUMN day date,
    ADD CONSTRAINT quota_of_a_day_says_which CHECK (resource = 'builds_per_day' OR day IS NULL);
INSERT INTO quota (tenant, resource, hard_limit) SELECT tenant, 'builds_per_day', 10000 FROM tenant;
