-- What somebody sent under an id of its own: taken in once, however often it is sent. The subject is that of the event
-- that tells what became of it.
CREATE TABLE inbox (
    tenant asset_name NOT NULL REFERENCES tenant,
    subject text NOT NULL CHECK (subject ~ '^[a-z]+/[0-9a-f-]{36}$'),
    content_digest digest NOT NULL,
    PRIMARY KEY (tenant, subject)
);
