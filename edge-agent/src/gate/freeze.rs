use std::{
    hash::{DefaultHasher, Hasher},
    time::Duration,
};

use crate::clock::Stamp;

/// How long a camera may give the same picture. Sensors have noise: no two pictures are ever the same.
const FROZEN_AFTER: Duration = Duration::from_secs(60);

/// Frames that have to be the same, at least: a camera may be asked once a minute.
const FROZEN_FRAMES: u32 = 3;

/// How a camera's picture compares with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repetition {
    /// It is another one.
    New,
    /// It is the one before, which may be chance, or the beginning of a freeze.
    Repeated,
    /// The camera has given this very picture for a minute.
    Frozen,
}

/// Notices a camera that gives one and the same picture: its encoder hangs, or something replays.
#[derive(Debug, Default)]
pub struct FreezeDetector {
    last: Option<Repeated>,
}

#[derive(Debug)]
struct Repeated {
    hash: u64,
    since: Duration,
    frames: u32,
    /// The freeze is in the log.
    logged: bool,
}

impl FreezeDetector {
    /// Takes a camera's frame.
    pub fn classify(&mut self, taken: Stamp, picture: &[u8]) -> Repetition {
        let mut hasher = DefaultHasher::new();
        hasher.write(without_header(picture));
        let (hash, now) = (hasher.finish(), taken.since_boot);
        let Some(last) = self.last.as_mut().filter(|last| last.hash == hash) else {
            if self.last.as_ref().is_some_and(|last| last.logged) {
                tracing::info!("the camera gives new pictures");
            }
            self.last = Some(Repeated { hash, since: now, frames: 1, logged: false });
            return Repetition::New;
        };
        last.frames = last.frames.saturating_add(1);
        let frozen = last.frames >= FROZEN_FRAMES && now.saturating_sub(last.since) >= FROZEN_AFTER;
        if frozen && !last.logged {
            last.logged = true;
            tracing::warn!(
                seconds = FROZEN_AFTER.as_secs(),
                "the camera gives the same picture again and again: it hangs, and nobody is taken for present"
            );
        }
        if frozen { Repetition::Frozen } else { Repetition::Repeated }
    }
}

/// A JPEG without its segments before the first scan, in which cameras write the time; other pictures
/// as they are.
fn without_header(picture: &[u8]) -> &[u8] {
    let mut at = 2;
    while let Some([0xFF, marker, high, low]) = picture.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        at += 2 + usize::from(u16::from_be_bytes([*high, *low]));
        if *marker == 0xDA {
            return picture.get(at..).unwrap_or_default();
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Stamp {
        Stamp::default().after(Duration::from_secs(seconds))
    }

    fn is_frozen(camera: &mut FreezeDetector, second: u64, picture: &[u8]) -> bool {
        camera.classify(at(second), picture) == Repetition::Frozen
    }

    /// A JPEG in form, with a comment.
    fn picture(comment: u8, data: &[u8]) -> Vec<u8> {
        let header = [0xFF, 0xD8, 0xFF, 0xFE, 0, 3, comment, 0xFF, 0xDA, 0, 2];
        [header.as_slice(), data, &[0xFF, 0xD9]].concat()
    }

    #[test]
    fn a_minute_of_one_picture_is_a_frozen_camera() {
        let mut camera = FreezeDetector::default();
        let judged: Vec<bool> =
            (0..70).map(|second| is_frozen(&mut camera, second, &picture(second as u8, b"room"))).collect();
        assert!(judged[..60].iter().all(|frozen| !frozen), "{judged:?}");
        assert!(judged[60..].iter().all(|frozen| *frozen), "whatever time is written into it: {judged:?}");
        assert_eq!(camera.classify(at(70), &picture(0, b"noise")), Repetition::New);
        assert_eq!(
            camera.classify(at(71), &picture(0, b"room")),
            Repetition::New,
            "again, but not for a minute"
        );
        assert_eq!(camera.classify(at(72), &picture(1, b"room")), Repetition::Repeated);
    }

    #[test]
    fn a_camera_that_is_asked_seldom_has_its_chance() {
        let mut camera = FreezeDetector::default();
        let asked = [0, 300, 600].map(|second| is_frozen(&mut camera, second, b"no JPEG"));
        assert_eq!(asked, [false, false, true]);
        for noise in 0..200_u64 {
            assert!(!is_frozen(&mut camera, noise, &picture(0, &noise.to_be_bytes())));
        }
        for odd in
            [b"".as_slice(), &[0xFF], &[0xFF, 0xD8, 0xFF, 0xFE, 0, 0], &[0xFF, 0xD8, 0xFF, 0xDA, 0xFF, 0xFF]]
        {
            camera.classify(at(0), odd);
        }
    }
}
