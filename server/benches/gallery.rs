//! The gallery as the server runs it.
//!
//! `cargo bench -p cavs-server --bench gallery` prints how fast the exact scan is. With `-- load N` it fills a
//! private cluster with N encrypted templates and prints how long the server's own loader takes from
//! PostgreSQL to the first answer. `scripts/bench-gallery` runs both, and the gallery's bars.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

#[path = "../gallery/tests/common/mod.rs"]
mod common;

use std::{env, fs, os::unix::fs::PermissionsExt, pin::Pin, sync::Arc, time::Instant};

use cavs_embedding::{PackDigest, Similarity, UnitEmbedding};
use cavs_gallery::{Change, GalleryMode, Grouping, Options, Query, open};
use cavs_pg_cluster::{Cluster, DATABASE, Durability, USER};
use cavs_server::{
    biometrics::{BiometricStore, Key, KeyName, Keyring, Keys, Owner},
    db::{Address, Database},
    monitoring::Metrics,
    recognition::{Galleries, Probe, RecognitionSetup, Thresholds},
};
use cavs_types::{DataKeyId, Quality, SiteId};
use common::{face, template};
use tokio_postgres::{
    Client, NoTls,
    binary_copy::BinaryCopyInWriter,
    types::{Json, ToSql, Type},
};
use uuid::Uuid;

/// Templates of each student.
const PICTURES: u64 = 4;
const DIMENSION: usize = 512;
const PACK: PackDigest = PackDigest::from_bytes([7; 32]);
const MASTER: [u8; 32] = [9; 32];
/// The site that every database begins with.
const MAIN: Uuid = Uuid::from_u128(0x7000_8000_0000_0000_0001);

fn main() {
    // `cargo bench` adds flags of its own.
    let args: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => scans(),
        ["load", templates] => load(templates.parse().unwrap()),
        _ => eprintln!("usage: cargo bench -p cavs-server --bench gallery [-- load TEMPLATES]"),
    }
}

fn scans() {
    println!("components templates  one probe  of a batch of 32   (median, ms per probe, one thread)");
    for dimension in [128, DIMENSION] {
        for templates in [1000, 10_000, 100_000] {
            let gallery = open(GalleryMode::Exact, dimension, Options::default()).unwrap();
            let all = (0..templates / PICTURES).flat_map(|s| (0..PICTURES).map(move |p| (s, p)));
            let insert = all.map(|(s, p)| template(s, p, dimension)).collect();
            gallery.apply(&Change { insert, ..Change::default() }).unwrap();
            let probes: Vec<UnitEmbedding> = (0..256).map(|s| face(s, 1000, dimension)).collect();
            let median = |batch: usize| {
                let search = |probes: &[UnitEmbedding]| {
                    let begun = Instant::now();
                    let _ = gallery.search_batch(probes, &Query::top(5)).unwrap();
                    begun.elapsed().as_secs_f64() * 1e3 / probes.len() as f64
                };
                let mut times: Vec<f64> = probes.chunks(batch).map(search).collect();
                times.sort_by(f64::total_cmp);
                times[times.len() / 2]
            };
            println!("{dimension:10} {templates:9} {:10.3} {:17.3}", median(1), median(32));
        }
    }
}

#[tokio::main]
async fn load(templates: u64) {
    let directory = tempfile::tempdir().unwrap();
    // PostgreSQL runs as another user when this is root, and must be able to pass.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let cluster = Cluster::start(&directory.path().join("db"), Durability::Disposable).unwrap();
    let db = Database::new(&Address::Cluster(&cluster), 4).unwrap();
    db.migrate().await.unwrap();
    let begun = Instant::now();
    fill(&cluster, templates / PICTURES).await;
    println!("filled_s {:.1}", begun.elapsed().as_secs_f64());

    let keys = Arc::new(Keys::verified(Keyring::of_key(&MASTER), &BiometricStore::new(&db)).await.unwrap());
    let setup = RecognitionSetup {
        pack: PACK,
        dimension: DIMENSION,
        thresholds: Thresholds {
            accept: Similarity::clamped(0.4),
            review: Similarity::clamped(0.3),
            margin: 0.05,
            liveness: None,
        },
        wanted_rate: None,
        calibration: None,
        min_quality: 0,
        mode: GalleryMode::Auto,
        grouping: Grouping::Best,
        options: Options::default(),
    };
    let begun = Instant::now();
    let galleries = Galleries::open(setup, &db, keys, Arc::new(Metrics::default())).await.unwrap();
    let recognition = galleries.of(SiteId::from_uuid(MAIN)).await.unwrap();
    let loaded = begun.elapsed();
    let answer = recognition.identify(&probe(face(3, 1000, DIMENSION))).await.unwrap();
    let answered = begun.elapsed();
    assert_eq!(answer.predicted().map(|c| c.student), Some(id(3, 0).into()), "who was enrolled is found");
    let state = recognition.state();
    assert_eq!((state.stats.templates as u64, state.quarantined), (templates / PICTURES * PICTURES, 0));
    println!("loaded_s {:.2}", loaded.as_secs_f64());
    println!("first_answer_s {:.2}", answered.as_secs_f64());
    drop((galleries, recognition));
    db.close();
    cluster.stop();
}

/// Students with four encrypted templates each, as enrollment leaves them.
async fn fill(cluster: &Cluster, students: u64) {
    let mut config = tokio_postgres::Config::new();
    config.host_path(cluster.socket_directory()).user(USER).dbname(DATABASE);
    let (client, connection) = config.connect(NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute("ALTER TABLE templates DISABLE TRIGGER USER").await.unwrap();

    let columns = [Type::UUID, Type::UUID, Type::TEXT, Type::TEXT];
    let mut writer = copy(&client, "students (site_id, id, number, name)", &columns).await;
    for student in 0..students {
        let number = student.to_string();
        writer.as_mut().write(&[&MAIN, &id(student, 0), &number, &number]).await.unwrap();
    }
    writer.as_mut().finish().await.unwrap();

    let epoch = Key::new(KeyName::Epoch(1), &MASTER);
    let owner = |student| Owner::StudentKey(SiteId::from_uuid(MAIN), id(student, 0).into());
    // A data key has the id of its student here.
    let key_of = |student| DataKeyId::from(id(student, 0));
    let wrapped: Vec<_> = (0..students).map(|s| epoch.new_data_key(key_of(s), owner(s)).unwrap().1).collect();
    let proof = epoch.seal(Owner::Proof, b"CAVS").unwrap();
    client.execute("INSERT INTO key_epochs (epoch, proof) VALUES (1, $1)", &[&proof]).await.unwrap();
    let columns = [Type::UUID, Type::UUID, Type::UUID, Type::INT4, Type::BYTEA];
    let mut writer = copy(&client, "data_keys (site_id, id, student_id, epoch, wrapped)", &columns).await;
    for (student, wrapped) in (0..).zip(&wrapped) {
        writer.as_mut().write(&[&MAIN, &id(student, 0), &id(student, 0), &1, wrapped]).await.unwrap();
    }
    writer.as_mut().finish().await.unwrap();

    let columns = [Type::UUID, Type::UUID, Type::UUID, Type::BYTEA, Type::BYTEA, Type::TEXT, Type::JSONB];
    let into = "templates (site_id, id, student_id, pack_digest, embedding, source, quality)";
    let mut writer = copy(&client, into, &columns).await;
    let (pack, quality) = (PACK.as_bytes().as_slice(), Json(quality()));
    for (student, wrapped) in (0..).zip(&wrapped) {
        let key = epoch.open_data_key(key_of(student), owner(student), wrapped).unwrap();
        for picture in 0..PICTURES {
            let template = id(student, picture + 1);
            let plain = face(student, picture, DIMENSION).to_le_bytes();
            let sealed = key.seal(Owner::Template(template.into(), PACK), &plain).unwrap();
            let row: [&(dyn ToSql + Sync); 7] =
                [&MAIN, &template, &id(student, 0), &pack, &sealed, &"image", &quality];
            writer.as_mut().write(&row).await.unwrap();
        }
    }
    writer.as_mut().finish().await.unwrap();
    client.batch_execute("ALTER TABLE templates ENABLE TRIGGER USER; ANALYZE").await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

async fn copy(client: &Client, into: &str, columns: &[Type]) -> Pin<Box<BinaryCopyInWriter>> {
    let sink = client.copy_in(&format!("COPY {into} FROM STDIN BINARY")).await.unwrap();
    Box::pin(BinaryCopyInWriter::new(sink, columns))
}

/// The id of a student (`what` = 0) or of one of their templates.
fn id(student: u64, what: u64) -> Uuid {
    Uuid::from_u128(u128::from(student) << 64 | u128::from(what))
}

fn quality() -> Quality {
    Quality::uniform(90)
}

fn probe(embedding: UnitEmbedding) -> Probe {
    Probe { embedding, pack: PACK, quality: quality(), liveness: None }
}
