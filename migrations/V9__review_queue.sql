-- The queue with the least certain first: by the similarity of the best candidate, which is there but for flagged
-- sightings of nobody.
CREATE INDEX sightings_queue_similarity ON sightings (site_id, coalesce(similarity, -1), id) WHERE in_queue;
