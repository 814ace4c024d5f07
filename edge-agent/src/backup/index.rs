//! Which pictures are there, and which have to go. Without any I/O.

use std::{collections::VecDeque, time::Duration};

use super::BackupConfig;

pub(super) const EXTENSION: &str = ".sealed";

/// The files of a backup, oldest first. Names say the time first, so their order is that of time.
#[derive(Debug)]
pub(super) struct BackupIndex {
    /// Name and length, the oldest first.
    files: VecDeque<(String, u64)>,
    bytes: u64,
    last: u64,
    max_files: usize,
    max_bytes: u64,
    retention: Duration,
}

impl BackupIndex {
    pub(super) fn new(files: Vec<(String, u64)>, config: &BackupConfig) -> Self {
        let BackupConfig { max_files, max_bytes, retention, .. } = *config;
        let bytes = files.iter().map(|(_, length)| length).sum();
        let last = files.iter().filter_map(|(name, _)| parse(name)).map(|(_, number)| number).max();
        Self { files: files.into(), bytes, last: last.unwrap_or(0), max_files, max_bytes, retention }
    }

    /// The name of a new picture, and those that have to go for it.
    pub(super) fn place(&mut self, taken_ms: i64, length: u64) -> (String, Vec<String>) {
        self.last = (self.last + 1) % 1_000_000;
        let name = format!("{:014}-{:06}{EXTENSION}", taken_ms.max(0), self.last);
        self.files.push_back((name.clone(), length));
        self.bytes += length;
        let retention = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        let mut gone = Vec::new();
        while self.files.len() > 1
            && (self.files.len() > self.max_files
                || self.bytes > self.max_bytes
                || self.oldest_is_before(taken_ms.saturating_sub(retention)))
            && let Some((name, length)) = self.files.pop_front()
        {
            self.bytes -= length;
            gone.push(name);
        }
        (name, gone)
    }

    fn oldest_is_before(&self, millis: i64) -> bool {
        self.files.front().and_then(|(name, _)| taken_at(name)).is_some_and(|taken| taken < millis)
    }
}

/// When a picture was taken, in milliseconds since 1970; `None` for names that are not ours.
pub(super) fn taken_at(name: &str) -> Option<i64> {
    parse(name).map(|(taken, _)| taken)
}

fn parse(name: &str) -> Option<(i64, u64)> {
    let (taken, number) = name.strip_suffix(EXTENSION)?.split_once('-')?;
    let ours = taken.len() == 14 && number.len() == 6;
    ours.then(|| Some((taken.parse().ok()?, number.parse().ok()?))).flatten()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::backup::BackupContent;

    fn index(max_files: usize, max_bytes: u64, retention: u64) -> BackupIndex {
        let retention = Duration::from_millis(retention);
        let (content, path) = (BackupContent::Frames, PathBuf::new());
        BackupIndex::new(vec![], &BackupConfig { content, path, max_files, max_bytes, retention })
    }

    #[test]
    fn what_is_too_old_goes_first() {
        let mut index = index(10, 1000, 100);
        let (first, _) = index.place(1000, 1);
        assert!(index.place(1100, 1).1.is_empty());
        assert_eq!(index.place(1101, 1).1, [first]);
    }

    proptest! {
        #[test]
        fn all_bounds_hold_but_for_the_newest(pictures in prop::collection::vec((0..500i64, 0..60u64), 1..80)) {
            let mut index = index(7, 100, 200);
            let mut there = Vec::new();
            for (taken, length) in pictures {
                let (name, gone) = index.place(taken, length);
                prop_assert_eq!(taken_at(&name), Some(taken));
                there.push((name, length));
                there.retain(|(name, _)| !gone.contains(name));
                prop_assert!(there.len() <= 7);
                prop_assert!(there.len() == 1 || there.iter().map(|(_, length)| length).sum::<u64>() <= 100);
            }
        }

        #[test]
        fn strange_names_are_not_ours(name in "\\PC{0,30}(.sealed)?") {
            let _ = taken_at(&name);
        }
    }
}
