-- Names that people give to checkpoints, one set a run.
CREATE TABLE checkpoint_tag (
    tenant asset_name NOT NULL,
    run asset_name NOT NULL,
    tag asset_name NOT NULL,
    checkpoint uuid NOT NULL,
    row_version int NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, run, tag),
    FOREIGN KEY (tenant, run) REFERENCES run,
    FOREIGN KEY (tenant, checkpoint) REFERENCES checkpoint
);
CREATE INDEX checkpoint_tag_of_checkpoint ON checkpoint_tag (tenant, checkpoint);

-- A run may begin a branch at a checkpoint, its own or another run's.
-- squawk-ignore ban-drop-constraint
ALTER TABLE edge DROP CONSTRAINT edge_relation_is_known;
ALTER TABLE edge ADD CONSTRAINT edge_relation_is_known CHECK (
    relation IN ('derived_from', 'compiled_from', 'evaluates', 'uses', 'follows', 'belongs_to', 'restored_from',
                 'forked_from')
) NOT VALID;
