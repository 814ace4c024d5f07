-- A row in each table of version 5, as a school has them: what later migrations find.
INSERT INTO users (id, username, password_hash, is_operator)
    VALUES ('00000000-0000-7000-8000-0000000000a1', 'ada', 'hash', true);
INSERT INTO user_roles (user_id, site_id, role) SELECT u.id, s.id, 'admin' FROM users u, sites s;
INSERT INTO user_sessions (token_hash, user_id, expires_at) SELECT 'token', id, now() + interval '1 day' FROM users;
INSERT INTO students (site_id, id, number, name, section, name_words)
    SELECT id, '00000000-0000-7000-8000-0000000000b1', '17', 'Grace Hopper', '3b', 'grace hopper' FROM sites;
INSERT INTO students (site_id, id, number, name, erased_at)
    SELECT id, '00000000-0000-7000-8000-0000000000b2', 'erased-b2', '', now() FROM sites;

INSERT INTO devices (site_id, id, name, kind, classroom)
    SELECT id, '00000000-0000-7000-8000-0000000000c1', 'proxy', 'agent', 'Room 1' FROM sites;
INSERT INTO devices (site_id, id, name, kind, proxy_id)
    SELECT site_id, '00000000-0000-7000-8000-0000000000c2', 'camera', 'esp32_cam', id FROM devices;
INSERT INTO device_settings (site_id, device_id, version, settings, pushed_by)
    SELECT d.site_id, d.id, 1, '{"track.interval_s": 10}', u.id FROM devices d, users u WHERE d.name = 'proxy';
INSERT INTO device_tokens (site_id, token_hash, device_id, issued_by)
    SELECT d.site_id, decode(repeat('01', 32), 'hex'), d.id, u.id FROM devices d, users u WHERE d.name = 'camera';
INSERT INTO proxy_refusals (site_id, proxy_id, camera_id, reason, sightings)
    SELECT site_id, proxy_id, id, 'CAMERA_REVOKED', 3 FROM devices WHERE name = 'camera';
INSERT INTO superseded_runs (site_id, device_id, run_id) SELECT site_id, id, gen_random_uuid() FROM devices;
INSERT INTO device_conflicts (site_id, device_id, noticed) SELECT site_id, id, 1 FROM devices;

INSERT INTO sightings (site_id, id, device_id, via, run_id, boot_epoch, sequence, classroom, captured_at, received_at,
        frame, clock_trust, track_id, track_entered_at, track_last_seen_at, track_left, box_x, box_y, box_width,
        box_height, detection_score, quality, pack_digest, decision, reason, predicted_student_id, similarity, margin,
        threshold, candidates)
    SELECT d.site_id, '00000000-0000-7000-8000-0000000000d1', d.id, d.proxy_id, gen_random_uuid(), 1, 1, 'Room 1',
        '2026-03-02 08:00Z', '2026-03-02 08:00:01Z', 'frame', 'synchronised', 1, '2026-03-02 07:59Z',
        '2026-03-02 08:00Z', true, 1, 2, 30, 40, 0.9, '{}', decode(repeat('07', 32), 'hex'), 'pending',
        'NARROW_MARGIN', s.id, 0.6, 0.02, 0.5, '[]'
    FROM devices d, students s WHERE d.name = 'camera' AND s.number = '17';
INSERT INTO reviews (site_id, id, sighting_id, verdict, reviewer_id, notes)
    SELECT s.site_id, gen_random_uuid(), s.id, 'approved', u.id, 'seen' FROM sightings s, users u;

INSERT INTO key_epochs (epoch, proof) VALUES (1, 'proof');
INSERT INTO data_keys (site_id, id, student_id, epoch, wrapped)
    SELECT site_id, gen_random_uuid(), id, 1, 'wrapped' FROM students WHERE erased_at IS NULL;
INSERT INTO data_keys (site_id, id, day, epoch, wrapped)
    SELECT site_id, gen_random_uuid(), day, 1, 'wrapped' FROM sightings;
INSERT INTO templates (site_id, id, student_id, pack_digest, embedding, source, quality)
    SELECT site_id, '00000000-0000-7000-8000-0000000000e1', id, decode(repeat('07', 32), 'hex'), 'sealed', 'image', '{}'
    FROM students WHERE erased_at IS NULL;
INSERT INTO portraits (site_id, day, template_id, student_id, sealed)
    SELECT site_id, (created_at AT TIME ZONE 'UTC')::date, id, student_id, 'sealed' FROM templates;
INSERT INTO probes (site_id, day, sighting_id, sealed) SELECT site_id, day, id, 'sealed' FROM sightings;
INSERT INTO evidence (site_id, day, sighting_id, sealed) SELECT site_id, day, id, 'sealed' FROM sightings;
INSERT INTO erasures (site_id, id, student_id, requested_by, templates, sightings)
    SELECT s.site_id, gen_random_uuid(), s.id, u.id, 1, 2 FROM students s, users u WHERE s.erased_at IS NOT NULL;
INSERT INTO retention_policies (site_id, evidence, set_by) SELECT s.id, 60, u.id FROM sites s, users u;
INSERT INTO retention_runs (site_id, id, finished_at, state, policy)
    SELECT id, gen_random_uuid(), now(), 'done', '{}' FROM sites;

INSERT INTO thresholds (site_id, pack_digest, version, accept, review, margin, set_by)
    SELECT s.id, decode(repeat('07', 32), 'hex'), 1, 0.6, 0.4, 0.05, u.id FROM sites s, users u;
