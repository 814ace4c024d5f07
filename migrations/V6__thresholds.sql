-- A threshold of liveness. And thresholds that follow a wanted rate of false matches: who wants it is a person or the configuration, and the servers
-- set a new version where a site's gallery asks for another threshold.
ALTER TABLE thresholds
    -- Least liveness that is accepted without a person; NULL where nobody asks.
    ADD COLUMN liveness real CHECK (liveness > 0 AND liveness <= 1),
    -- NULL where a server did, for a wanted rate or as its configuration says.
    ALTER COLUMN set_by DROP NOT NULL,
    -- Strangers, of 1,000, that may be accepted; NULL where a person said the accept threshold itself.
    ADD COLUMN wanted_rate double precision CHECK (wanted_rate > 0),
    -- From what the accept threshold was concluded, for a gallery of how many templates.
    ADD COLUMN rate_basis text CHECK (rate_basis IN ('gallery', 'pack', 'floor')),
    ADD COLUMN templates integer CHECK (templates >= 0),
    ADD CONSTRAINT thresholds_reason CHECK (num_nulls(wanted_rate, rate_basis, templates) IN (0, 3));
