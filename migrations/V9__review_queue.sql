-- The queue with the least certain first: by the similarity of the best candidate, which is there but for flagged
-- sightings of nobody.
CREATE INDEX sightings_queue_similarity ON sightings (site_id, coalesce(similarity, -1), id) WHERE in_queue;
-- What a site's numbers count, so that they are counted in the index: the sightings of a day of one site lie among
-- those of all others.
CREATE INDEX sightings_counted ON sightings (site_id, listed_at) INCLUDE (decision, classroom, device_id, student_id);
-- What a reviewer has said last.
CREATE INDEX sightings_reviewer ON sightings (site_id, reviewer_id, reviewed_at DESC) WHERE reviewer_id IS NOT NULL;
