-- What the last published index of each name told of; a relay brings to the loaders whatever happened after it.
ALTER TABLE index_generation
    ADD COLUMN published_generation bigint NOT NULL DEFAULT 0,
    ADD COLUMN published_seq bigint NOT NULL DEFAULT 0,
    ADD COLUMN published_at timestamptz;
