-- A run may go on from a checkpoint, its own or another run's.
-- squawk-ignore ban-drop-constraint
ALTER TABLE edge DROP CONSTRAINT edge_relation_check;
ALTER TABLE edge ADD CONSTRAINT edge_relation_is_known CHECK (
    relation IN ('derived_from', 'compiled_from', 'evaluates', 'uses', 'follows', 'belongs_to', 'restored_from')
) NOT VALID;
CREATE INDEX event_by_time ON event (tenant, recorded_at, seq);
