//! Epochs of the keyring against a real database.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use cavs_types::{ErrorReason, StudentId};

use super::{BiometricStore, Keyring, Keys, Owner, RotationDue, SealError, StoredKey};
use crate::{
    error::ServiceError,
    people::Students,
    testing::{MAIN, PACK, TestDatabase, face, profile},
};

fn keyring(file: &Path) -> Keyring {
    Keyring::load(Some(file)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_copied_before_a_rotation_opens_with_no_keyring_of_today() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyring");
    Keyring::generate(&file).unwrap();
    let old_file = folder.path().join("old");
    fs::copy(&file, &old_file).unwrap();
    let database = TestDatabase::start_with(keyring(&file)).await;
    let store = BiometricStore::new(&database.store);
    let (app, keys) = (database.app().await, Arc::clone(&database.keys));
    let student = database.student(&app, "1").await;
    let template = database.template(student, &face(1)).await;
    let day = "2026-03-02".parse().unwrap();
    keys.day_key(&store, MAIN, day).await.unwrap();

    // A backup: rows as they are now.
    let backup = [store.student_key(MAIN, student).await.unwrap(), store.day_key(MAIN, day).await.unwrap()];
    let backup: Vec<StoredKey> = backup.into_iter().flatten().collect();
    assert_eq!(backup.iter().map(|key| key.epoch).collect::<Vec<_>>(), [1, 1]);
    let sealed: Vec<u8> =
        database.connect().await.query_one("SELECT embedding FROM templates", &[]).await.unwrap().get(0);
    let open = |keys: &Keys, stored: &StoredKey| {
        keys.open(stored)?.open(Owner::Template(template, PACK), &sealed).map(|plain| plain.to_vec())
    };
    assert_eq!(open(&keys, &backup[0]).unwrap(), face(1).to_le_bytes());
    // A second server, with the same file.
    let other = Keys::verified(keyring(&file), &store).await.unwrap();

    assert_eq!(keys.rotate(&store).await.unwrap(), 2);
    for key in &backup {
        assert_eq!(keys.open(key).unwrap_err(), SealError::NoSuchEpoch(1));
        assert!(Keys::verified(keyring(&file), &store).await.unwrap().open(key).is_err());
    }
    // What is in the database opens, here and on the other server.
    let now = store.student_key(MAIN, student).await.unwrap().unwrap();
    assert_eq!((now.id, now.epoch), (backup[0].id, 2));
    for keys in [&*keys, &other] {
        assert_eq!(open(keys, &now).unwrap(), face(1).to_le_bytes());
    }
    assert!(app.galleries.of(MAIN).await.unwrap().state().quarantined == 0);

    // The other server has the destroyed epoch in memory until it reads the keyring again; it can't wrap by it.
    let stale = Keys::verified(keyring(&old_file), &store).await;
    assert!(
        matches!(stale, Err(ServiceError::Seal(SealError::NoSuchEpoch(2)))),
        "a keyring of before is refused"
    );
    let third = keys.rotate(&store).await.unwrap();
    let students = Students::new(&database.store, &Arc::new(other), &app.galleries, &app.maintenance);
    let added = students.create(MAIN, profile("2")).await.unwrap().state.id;
    assert_eq!(store.student_key(MAIN, added).await.unwrap().unwrap().epoch, third);

    // Many at once, while the keyring is rotated: every key opens afterwards.
    let creating: Vec<_> = (10..40)
        .map(|number: u32| {
            let (students, new) = (students.clone(), profile(&number.to_string()));
            tokio::spawn(async move { students.create(MAIN, new).await.map(|student| student.state.id) })
        })
        .collect();
    let newest = keys.rotate(&store).await.unwrap();
    let mut ids: Vec<StudentId> = Vec::new();
    for one in creating {
        // One that met two rotations is told so, and nothing of it is there.
        match one.await.unwrap() {
            Ok(id) => ids.push(id),
            Err(error) => assert_eq!(error.reason(), ErrorReason::Internal, "{error}"),
        }
    }
    assert!(ids.len() > 20, "{} of 30", ids.len());
    for id in ids {
        let stored = store.student_key(MAIN, id).await.unwrap().unwrap();
        assert_eq!(stored.epoch, newest);
        keys.open(&stored).unwrap();
    }
    assert_eq!(store.live_epochs().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_was_cut_off_is_finished_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyring");
    Keyring::generate(&file).unwrap();
    let database = TestDatabase::start_with(keyring(&file)).await;
    let store = BiometricStore::new(&database.store);
    let app = database.app().await;
    let student = database.student(&app, "1").await;
    // The file has a second epoch, and the database does not know it: the server starts, and has both.
    keyring(&file).add().unwrap();
    let keys = Keys::verified(keyring(&file), &store).await.unwrap();
    keys.open(&store.student_key(MAIN, student).await.unwrap().unwrap()).unwrap();
    assert_eq!(store.live_epochs().await.unwrap().len(), 2);
    // Retired, and not destroyed.
    store.retire_epochs_before(2).await.unwrap();
    let refused = database.connect().await;
    let refused = refused.execute("UPDATE data_keys SET wrapped = wrapped", &[]).await.unwrap_err();
    assert_eq!(refused.code().map(|state| state.code()), Some("CV001"));
    assert_eq!(keys.rotate(&store).await.unwrap(), 3);
    assert_eq!(store.live_epochs().await.unwrap().iter().map(|e| e.epoch).collect::<Vec<_>>(), [3]);
    keys.open(&store.student_key(MAIN, student).await.unwrap().unwrap()).unwrap();
    // The epoch is gone from the keyring, and the database has not heard of it: that locks nobody out.
    let behind = database.connect().await;
    behind.execute("UPDATE key_epochs SET destroyed_at = NULL", &[]).await.unwrap();
    let keys = Keys::verified(keyring(&file), &store).await.unwrap();
    // A damaged key holds up no rotation, and so no erasure.
    let damaged = database.student(&app, "2").await;
    let sql = "UPDATE data_keys SET wrapped = set_byte(wrapped, 40, get_byte(wrapped, 40) # 1) WHERE student_id = $1";
    assert_eq!(behind.execute(sql, &[&damaged.uuid()]).await.unwrap(), 1);
    assert_eq!(keys.rotate(&store).await.unwrap(), 4);
    assert_eq!(store.live_epochs().await.unwrap().iter().map(|e| e.epoch).collect::<Vec<_>>(), [4]);
    keys.open(&store.student_key(MAIN, student).await.unwrap().unwrap()).unwrap();
    assert!(keys.open(&store.student_key(MAIN, damaged).await.unwrap().unwrap()).is_err());
    assert!(
        !keys.rotate_if(&store, RotationDue::ErasuresWait).await.unwrap() && keys.can_rotate(),
        "nothing was erased"
    );
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_keyring_leaves_nothing_in_the_database_and_a_copy_left_behind_makes_no_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let [file, copy, other] = ["keyring", "copy", "other"].map(|name| folder.path().join(name));
    Keyring::generate(&file).unwrap();
    fs::copy(&file, &copy).unwrap();
    let database = TestDatabase::start_with(keyring(&file)).await;
    let store = BiometricStore::new(&database.store);
    let app = database.app().await;
    let student = database.student(&app, "1").await;

    // Of another server, and with more epochs than this one has.
    Keyring::generate(&other).unwrap();
    keyring(&other).add().unwrap();
    let wrong = Keys::verified(keyring(&other), &store).await;
    assert!(matches!(wrong, Err(ServiceError::Seal(SealError::DoesNotOpen))));
    let epochs = async || store.live_epochs().await.unwrap().iter().map(|e| e.epoch).collect::<Vec<_>>();
    assert_eq!(epochs().await, [1]);

    // A server with a copy that nobody has brought up to date since.
    let behind = Keys::verified(keyring(&copy), &store).await.unwrap();
    assert_eq!(database.keys.rotate(&store).await.unwrap(), 2);
    let refused = behind.rotate(&store).await;
    assert!(matches!(refused, Err(ServiceError::Seal(SealError::NoSuchEpoch(2)))), "{refused:?}");
    assert_eq!(keyring(&copy).numbers(), [1]);
    let keys = Keys::verified(keyring(&file), &store).await.unwrap();
    keys.open(&store.student_key(MAIN, student).await.unwrap().unwrap()).unwrap();
}
