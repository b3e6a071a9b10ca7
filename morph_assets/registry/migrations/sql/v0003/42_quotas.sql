-- A limit of work beside those of space: its count begins anew each day (UTC).
-- squawk-ignore ban-drop-constraint
ALTER TABLE quota DROP CONSTRAINT quota_resource_check;
ALTER TABLE quota
    ADD CONSTRAINT quota_resource_is_known
        CHECK (resource IN ('blueprints', 'kernels', 'blob_bytes', 'checkpoints', 'builds_per_day')) NOT VALID,
    ADD COLUMN day date,
    ADD CONSTRAINT quota_of_a_day_says_which CHECK (resource = 'builds_per_day' OR day IS NULL) NOT VALID;
INSERT INTO quota (tenant, resource, hard_limit) SELECT tenant, 'builds_per_day', 10000 FROM tenant;
