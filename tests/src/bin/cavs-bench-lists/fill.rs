//! Fills the database of a running server by SQL: the sightings of a school year, of many sites, in minutes.

use std::time::Instant;

use tokio_postgres::Client;

/// How much there is.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Size {
    /// Sightings
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) sightings: u64,
    /// Students
    #[arg(long, default_value_t = 100_000)]
    pub(crate) students: u64,
    /// Sites, each with its part of the students and fifty cameras, in rooms of their own
    #[arg(long, default_value_t = 20)]
    pub(crate) sites: u64,
}

/// Cameras of a site.
const CAMERAS: u64 = 50;
/// Sightings of one statement.
const PORTION: u64 = 250_000;

/// Ids are numbers in the form of ids: of a site `01890000-0000-7000-8000-` and twelve hexadecimal digits, of a
/// camera `...-8001-`, of a student `...-8002-`, of a sighting `...-8003-`.
const fn group(kind: Kind) -> u16 {
    match kind {
        Kind::Site => 0x8000,
        Kind::Camera => 0x8001,
        Kind::Student => 0x8002,
        Kind::Sighting => 0x8003,
    }
}

/// What has an id.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Site,
    Camera,
    Student,
    Sighting,
}

/// The id of a numbered one.
pub(crate) fn id(kind: Kind, number: u64) -> String {
    format!("01890000-0000-7000-{:04x}-{number:012x}", group(kind))
}

/// The same in SQL, of an expression of the type `bigint`.
fn id_sql(kind: Kind, number: &str) -> String {
    format!("('01890000-0000-7000-{:04x}-' || lpad(to_hex({number}), 12, '0'))::uuid", group(kind))
}

impl Size {
    pub(crate) const fn cameras(self) -> u64 {
        self.sites * CAMERAS
    }

    /// Of each site.
    pub(crate) const fn students_of_site(self) -> u64 {
        self.students / self.sites
    }

    /// The site of a camera.
    pub(crate) const fn site_of_camera(self, camera: u64) -> u64 {
        camera % self.sites
    }

    /// The site of a student.
    pub(crate) const fn site_of_student(self, student: u64) -> u64 {
        student / self.students_of_site()
    }
}

/// The classroom of a camera.
pub(crate) fn classroom(camera: u64) -> String {
    format!("Room {camera}")
}

/// First names; the n-th of those who have the same first name has the last name of number n.
pub(crate) const FIRST_NAMES: [&str; 16] = [
    "Ada",
    "Alan",
    "Barbara",
    "Claude",
    "Donald",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "John",
    "Katherine",
    "Leslie",
    "Margaret",
    "Niklaus",
    "Radia",
    "Tony",
];

/// The sightings' indexes and unique keys, which are made again at the end: sorted at once, they take a part of
/// the time that they take row by row.
const REMAKE: &str = "
    SELECT format('ALTER TABLE sightings DROP CONSTRAINT %I', conname) AS drop,
        format('ALTER TABLE sightings ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) AS make
    FROM pg_constraint WHERE conrelid = 'sightings'::regclass AND contype = 'u'
    UNION ALL SELECT format('DROP INDEX %I', i.indexrelid::regclass), pg_get_indexdef(i.indexrelid)
    FROM pg_index i WHERE i.indrelid = 'sightings'::regclass
        AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)";

/// Fills the empty database. `client` is the owner's.
pub(crate) async fn fill(client: &Client, size: Size) {
    let begun = Instant::now();
    // A benchmark's rows need no check of their references, and no safety from a crash.
    client
        .batch_execute(
            "SET statement_timeout = 0; SET synchronous_commit = off; SET session_replication_role = replica;
             SET maintenance_work_mem = '512MB'",
        )
        .await
        .unwrap();
    // A share of the students for each site, all of one size.
    assert_eq!(size.students % size.sites, 0, "--students is no multiple of --sites");
    sites(client, size).await;
    people(client, size).await;
    let remade = client.query(REMAKE, &[]).await.unwrap();
    for row in &remade {
        client.batch_execute(row.get("drop")).await.unwrap();
    }
    let mut from = 0;
    while from < size.sightings {
        let until = (from + PORTION).min(size.sightings);
        client.batch_execute(&sightings(size, from, until)).await.unwrap();
        from = until;
    }
    client.batch_execute(&reviews()).await.unwrap();
    println!("# {} sightings after {:.0?}", size.sightings, begun.elapsed());
    for row in &remade {
        client.batch_execute(row.get("make")).await.unwrap();
    }
    // As autovacuum does it to a table that grows.
    client.batch_execute("VACUUM (ANALYZE)").await.unwrap();
    let sql = "SELECT pg_size_pretty(pg_database_size(current_database())),
               (SELECT count(*) FROM sightings WHERE in_queue), (SELECT count(*) FROM reviews)";
    let row = client.query_one(sql, &[]).await.unwrap();
    let (space, queue, reviews): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
    println!(
        "# with indexes after {:.0?}: {space}, {queue} in the queue, {reviews} reviews",
        begun.elapsed()
    );
}

/// Sites; the first user may look at all of them.
async fn sites(client: &Client, size: Size) {
    let (id, sites) = (id_sql(Kind::Site, "n"), size.sites);
    let sql = format!(
        "INSERT INTO sites (id, name) SELECT {id}, 'Site ' || n FROM generate_series(0, {sites} - 1) n;
         INSERT INTO gallery_clock (site_id, sequence)
         SELECT id, 0 FROM sites WHERE id NOT IN (SELECT site_id FROM gallery_clock);
         UPDATE users SET is_operator = true"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// Cameras, a room each, and students: four in five classes of thirty have names of two words, others three. One in
/// fifty is not active, one in two hundred has refused, and nine in ten have two templates.
async fn people(client: &Client, size: Size) {
    let (camera, student) = (id_sql(Kind::Camera, "n"), id_sql(Kind::Student, "n"));
    let site_of_camera = id_sql(Kind::Site, &format!("n % {}", size.sites));
    let site_of_student = id_sql(Kind::Site, &format!("n / {}", size.students_of_site()));
    let names = FIRST_NAMES.map(|name| format!("'{name}'")).join(", ");
    let count = FIRST_NAMES.len();
    client
        .batch_execute(&format!(
            "INSERT INTO devices (site_id, id, name, kind, classroom)
             SELECT {site_of_camera}, {camera}, 'camera ' || n, 'agent', 'Room ' || n
             FROM generate_series(0, {cameras} - 1) n;
             INSERT INTO students (site_id, id, number, name, section, department, is_active, photo_consent,
                 email, email_key, name_words)
             SELECT {site_of_student}, {student}, n::text, first || ' ' || last, 'Class ' || n / 30,
                 'Department ' || n % 10, n % 50 <> 7, CASE WHEN n % 200 = 3 THEN 'refused' ELSE 'given' END,
                 n || '@example.org', n || '@example.org', array_to_tsvector(ARRAY[lower(first), lower(last)])
             FROM generate_series(0, {students} - 1) n,
                 LATERAL (SELECT (ARRAY[{names}])[n % {count} + 1] AS first, 'Name' || n / {count} AS last) AS named;
             INSERT INTO templates (site_id, id, student_id, pack_digest, embedding, source, quality)
             SELECT site_id, gen_random_uuid(), id, decode(repeat('07', 32), 'hex'), decode(repeat('07', 560), 'hex'),
                 'image', '{{}}'
             FROM students, generate_series(1, 2) WHERE number::integer % 10 <> 4",
            cameras = size.cameras(),
            students = size.students,
        ))
        .await
        .unwrap();
}

/// Some of the sightings, in the order of their times over 200 days that end now. Of a hundred, 90 are accepted,
/// 7 are of nobody and 3 are for a person, of which all but those of the last days were looked at.
fn sightings(size: Size, from: u64, until: u64) -> String {
    let (sightings, cameras) = (size.sightings, size.cameras());
    let (sites, of_site) = (size.sites, size.students_of_site());
    format!(
        "INSERT INTO sightings (site_id, id, device_id, via, boot_epoch, sequence, classroom, captured_at, received_at,
             frame, clock_trust, box_x, box_y, box_width, box_height, detection_score, quality,
             pack_digest, decision, reason, predicted_student_id, similarity, margin, threshold, candidates,
             verdict, reviewer_id, reviewed_at)
         SELECT {site}, {id}, camera.id, camera.id, 1, n, 'Room ' || camera_number, seen_at, seen_at + interval '1 s',
             'frame ' || n, 'synchronised', 600, 400, 120, 150, 0.93, quality.good,
             decode(repeat('01', 32), 'hex'), decision,
             CASE decision WHEN 'accepted' THEN 'MATCHED' WHEN 'pending' THEN 'NARROW_MARGIN' ELSE 'LOW_SIMILARITY' END,
             CASE WHEN decision <> 'unknown' THEN student.id END, 0.62, 0.2, 0.5,
             jsonb_build_array(jsonb_build_object('student_id', student.id, 'similarity', 0.62),
                 jsonb_build_object('student_id', student.next, 'similarity', 0.42)),
             CASE WHEN reviewed THEN CASE hash % 10 WHEN 0 THEN 'rejected' ELSE 'approved' END END,
             CASE WHEN reviewed THEN reviewer.id END,
             CASE WHEN reviewed THEN seen_at + interval '1 h' END
         FROM generate_series({from}::bigint, {until}::bigint - 1) n,
             (SELECT id FROM users LIMIT 1) AS reviewer,
             (SELECT jsonb_object_agg(name, 90) AS good FROM unnest(ARRAY['unified_score', 'inter_eye_distance',
                 'head_size', 'sharpness', 'under_exposure_prevention', 'over_exposure_prevention',
                 'head_pose_yaw', 'head_pose_pitch', 'head_pose_roll']) AS name) AS quality,
             LATERAL (SELECT now() - interval '200 d' * (({sightings} - n)::float8 / {sightings}) AS seen_at,
                 abs(hashint8(n)::bigint) AS hash, abs(hashint8(-n - 1)::bigint) AS other) AS drawn,
             LATERAL (SELECT other % {cameras} AS camera_number,
                 CASE WHEN hash / 10 % 100 < 3 THEN 'pending' WHEN hash / 10 % 100 < 10 THEN 'unknown'
                     ELSE 'accepted' END AS decision) AS made,
             LATERAL (SELECT {camera} AS id) AS camera,
             LATERAL (SELECT camera_number % {sites} AS site_number) AS place,
             LATERAL (SELECT site_number * {of_site} + hash / 1000 % {of_site} AS number,
                 site_number * {of_site} + (hash / 1000 + 1) % {of_site} AS other_number) AS whom,
             LATERAL (SELECT {student} AS id, {next} AS next) AS student,
             LATERAL (SELECT decision = 'pending' AND n < {sightings} * 0.97 AS reviewed) AS looked_at",
        id = id_sql(Kind::Sighting, "n"),
        camera = id_sql(Kind::Camera, "camera_number"),
        student = id_sql(Kind::Student, "number"),
        next = id_sql(Kind::Student, "other_number"),
        site = id_sql(Kind::Site, "site_number"),
    )
}

/// The rows behind the verdicts that sightings have.
fn reviews() -> String {
    "INSERT INTO reviews (site_id, id, sighting_id, number, verdict, reviewer_id, reviewed_at)
     SELECT site_id, gen_random_uuid(), id, 1, verdict, reviewer_id, reviewed_at FROM sightings WHERE verdict IS NOT NULL"
        .to_owned()
}
