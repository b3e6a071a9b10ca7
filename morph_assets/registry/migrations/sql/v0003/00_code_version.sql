-- Which definitions of functions, triggers and policies (`sql/current`) stand in this database.
CREATE TABLE code_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
