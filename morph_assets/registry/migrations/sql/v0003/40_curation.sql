-- What is held in place: aliases that do not move, and what nobody may remove.

-- A frozen alias does not move; why and by whom stands here until somebody unfreezes it.
ALTER TABLE alias
    ADD COLUMN frozen_reason text CHECK (length(frozen_reason) BETWEEN 1 AND 1000),
    ADD COLUMN frozen_by text,
    ADD CONSTRAINT alias_is_frozen_by_somebody CHECK ((frozen_reason IS NULL) = (frozen_by IS NULL)) NOT VALID;
-- A step back is told from a step on: the next one goes further back.
ALTER TABLE alias_history ADD COLUMN rolled_back boolean NOT NULL DEFAULT false;

-- Nothing that is pinned is removed, by whatever policy; after `until_at` a pin holds nothing.
CREATE TABLE pin (
    tenant asset_name NOT NULL REFERENCES tenant,
    subject text NOT NULL COLLATE "C",
    kernel_digest digest,
    name asset_name,
    version int,
    checkpoint uuid,
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    pinned_by text NOT NULL,
    until_at timestamptz,
    row_version int NOT NULL DEFAULT 1,
    -- Where its events stand: with those of the kernel, the blueprint or the checkpoint.
    about text NOT NULL GENERATED ALWAYS AS (CASE WHEN name IS NULL THEN subject ELSE 'blueprint/' || name END) STORED,
    PRIMARY KEY (tenant, subject),
    FOREIGN KEY (tenant, kernel_digest) REFERENCES kernel,
    FOREIGN KEY (tenant, name, version) REFERENCES blueprint_release,
    FOREIGN KEY (tenant, checkpoint) REFERENCES checkpoint,
    CONSTRAINT pin_is_of_one_thing
        CHECK (num_nonnulls(kernel_digest, version, checkpoint) = 1 AND (name IS NULL) = (version IS NULL)),
    CONSTRAINT pin_names_its_subject CHECK (subject = CASE
        WHEN kernel_digest IS NOT NULL THEN 'kernel/' || kernel_digest
        WHEN version IS NOT NULL THEN 'release/' || name || '@' || version::text
        ELSE 'checkpoint/' || checkpoint::text END)
);
CREATE INDEX pin_of_kernel ON pin (tenant, kernel_digest);
CREATE INDEX pin_of_release ON pin (tenant, name, version);
CREATE INDEX pin_of_checkpoint ON pin (tenant, checkpoint);
