//! Frames that cameras sent to a proxy: each is stored once, however often it is sent.

use cavs_types::DeviceId;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{
    SpoolError, Writer,
    format::{signed, unsigned},
};
use crate::sighting::SightingKey;

/// Frames that are remembered, the newest: more than an hour of 32 cameras with one a second, and
/// about 40 MB. A frame is sent again within seconds.
const REMEMBERED: i64 = 200_000;

/// Only a proxy has it. By the frames' row ids, the oldest can be forgotten.
const CAPTURES: &str = "
CREATE TABLE IF NOT EXISTS captures (
    camera TEXT NOT NULL,
    frame TEXT NOT NULL,
    boot_epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    count INTEGER NOT NULL,
    UNIQUE (camera, frame)
) STRICT";

/// A frame in the spool: the keys of its sightings, and how many still wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredFrame {
    /// The key of the first one; those of the others follow it.
    pub first: SightingKey,
    /// Number of the frame's sightings, one a face.
    pub count: u64,
    /// The frame was stored before, so nothing was added.
    pub repeated: bool,
    /// How many of them still wait for the server.
    pub waiting: u64,
}

impl StoredFrame {
    /// The keys of its sightings, in order.
    pub fn keys(&self) -> impl Iterator<Item = SightingKey> + use<> {
        let Self { first, count, .. } = *self;
        (0..count).map(move |index| SightingKey { sequence: first.sequence + index, ..first })
    }
}

impl Writer {
    /// Prepares the spool for a proxy's frames.
    ///
    /// # Errors
    /// `Database`.
    pub fn remember_captures(&mut self) -> Result<(), SpoolError> {
        Ok(self.connection.execute_batch(CAPTURES)?)
    }
}

/// Forgets the oldest frames beyond [`REMEMBERED`].
pub(super) fn forget_oldest(transaction: &Transaction<'_>) -> Result<(), SpoolError> {
    let sql = "DELETE FROM captures WHERE rowid <= (SELECT max(rowid) FROM captures) - ?";
    transaction.execute(sql, [REMEMBERED])?;
    Ok(())
}

pub(super) fn find(
    transaction: &Transaction<'_>,
    camera: DeviceId,
    frame: &str,
) -> Result<Option<StoredFrame>, SpoolError> {
    let sql = "SELECT c.boot_epoch, c.sequence, c.count, (
                   SELECT count(*) FROM sightings s WHERE s.boot_epoch = c.boot_epoch
                   AND s.sequence >= c.sequence AND s.sequence < c.sequence + c.count)
               FROM captures c WHERE c.camera = ? AND c.frame = ?";
    let mut statement = transaction.prepare_cached(sql)?;
    let stored = statement.query_row(params![camera.to_string(), frame], |row| {
        Ok(StoredFrame {
            first: SightingKey { boot_epoch: unsigned(row.get(0)?), sequence: unsigned(row.get(1)?) },
            count: unsigned(row.get(2)?),
            repeated: true,
            waiting: unsigned(row.get(3)?),
        })
    });
    Ok(stored.optional()?)
}

pub(super) fn remember(
    transaction: &Transaction<'_>,
    camera: DeviceId,
    frame: &str,
    first: SightingKey,
    count: u64,
) -> Result<(), SpoolError> {
    let sql = "INSERT INTO captures (camera, frame, boot_epoch, sequence, count) VALUES (?, ?, ?, ?, ?)";
    let (epoch, sequence) = (signed(first.boot_epoch), signed(first.sequence));
    transaction.prepare_cached(sql)?.execute(params![
        camera.to_string(),
        frame,
        epoch,
        sequence,
        signed(count)
    ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        clock::Stamp,
        sighting::Sighting,
        spool::{BatchLimits, FrameRecord, Outbox, Settlement, Spool, SpoolOptions},
        vision::{Vision, fake},
    };

    fn open(folder: &std::path::Path, now: i64) -> (Writer, Outbox) {
        let options = SpoolOptions::new(folder.join("spool.db"), 10 << 20);
        let Spool { mut writer, outbox, .. } =
            Spool::open(&options, Timestamp::from_second(now).unwrap()).unwrap();
        writer.remember_captures().unwrap();
        (writer, outbox)
    }

    fn frame(capture: Option<(DeviceId, &str)>, faces: u8) -> FrameRecord {
        let camera = capture.map(|(camera, _)| camera);
        let sighting = |index| Sighting {
            taken: Stamp::now(),
            frame: "f".to_owned(),
            pack_digest: fake::FakeVision.pack_digest(),
            face: fake::face(index),
            track: None,
            camera,
        };
        let capture = capture.map(|(camera, frame)| (camera, frame.to_owned()));
        FrameRecord { capture, sightings: (0..faces).map(sighting).collect(), ..FrameRecord::default() }
    }

    #[test]
    fn a_frame_is_stored_once_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (DeviceId::generate(), DeviceId::generate());
        let (mut writer, outbox) = open(dir.path(), 1_800_000_000);
        let frames = [frame(Some((one, "1")), 2), frame(Some((one, "1")), 2), frame(Some((other, "1")), 1)];
        let (stored, appended) = writer.store(&frames).unwrap();
        assert_eq!(appended.stored, 3);
        assert_eq!(stored.iter().map(|stored| stored.repeated).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(stored[1].first, stored[0].first);
        assert_eq!(stored[0].keys().map(|key| key.sequence).collect::<Vec<_>>(), [1, 2]);
        // Without a name, every frame is a new one.
        assert_eq!(writer.store(&[frame(None, 1), frame(None, 1)]).unwrap().1.stored, 2);
        drop((writer, outbox));

        let (mut writer, mut outbox) = open(dir.path(), 1_800_000_100);
        let again = |writer: &mut Writer| writer.store(&[frame(Some((one, "1")), 2)]).unwrap();
        let (repeated, appended) = again(&mut writer);
        assert_eq!((repeated[0].first, repeated[0].count, repeated[0].waiting), (stored[0].first, 2, 2));
        assert!(repeated[0].repeated && appended.stored == 0);
        let limits = BatchLimits { count: 10, bytes: 1 << 20 };
        let offered = outbox.next(None, limits).unwrap();
        assert_eq!(offered.len(), 5);
        assert_eq!(offered[0].camera_id, one.to_string());
        outbox.settle(&[(stored[0].first, Settlement::Delivered)]).unwrap();
        assert_eq!(again(&mut writer).0[0].waiting, 1);
    }
}
