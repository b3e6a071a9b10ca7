-- What nobody here has tried under ordinary conditions: a curator looks at it before it goes into service.
ALTER TABLE kernel ADD COLUMN speculative boolean NOT NULL DEFAULT false;
-- No trigger of an older version may count this as a change of a kernel.
ALTER TABLE kernel DISABLE TRIGGER USER;
UPDATE kernel SET speculative = true WHERE pipeline = 'aggressive';
ALTER TABLE kernel ENABLE TRIGGER USER;

CREATE TABLE approval (
    tenant asset_name NOT NULL,
    kernel_digest digest NOT NULL,
    seq bigint NOT NULL,
    evaluation int NOT NULL,
    approved boolean NOT NULL,
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    decided_by text NOT NULL,
    PRIMARY KEY (tenant, kernel_digest, seq),
    FOREIGN KEY (tenant, kernel_digest) REFERENCES kernel
);
UPDATE lifecycle SET guard = 'fit_for_service'
WHERE kind = 'kernel' AND from_state = 'VALIDATED' AND to_state = 'PUBLISHED';
