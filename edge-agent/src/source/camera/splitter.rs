//! Cuts a stream of bytes into JPEG files.
//!
//! Works for bare MJPEG (`rpicam-vid --codec mjpeg -o -`) and for `multipart/x-mixed-replace` alike:
//! whatever lies between two pictures is skipped, so part headers with wrong lengths do no harm.
//! Segments are walked by their lengths, because thumbnails in them are pictures too.

/// First two bytes of a JPEG.
const START: [u8; 2] = [0xFF, 0xD8];

/// A JPEG stream splitter: bytes in, whole JPEGs out, in any portions.
#[derive(Debug)]
pub struct JpegSplitter {
    max_bytes: usize,
    state: State,
    /// The picture so far; empty between pictures.
    picture: Vec<u8>,
    dropped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between pictures. The flag: the last byte was FF.
    Between { after_ff: bool },
    /// The next byte has to be the FF of a marker.
    Marker,
    /// The next byte is a marker's code.
    Code,
    /// The next byte is the high byte of a segment's length.
    LengthHigh { scan: bool },
    /// The next byte is the low byte of a segment's length.
    LengthLow { scan: bool, high: u8 },
    /// This many bytes of a segment are left.
    Segment { scan: bool, left: usize },
    /// In entropy-coded data. The flag: the last byte was FF.
    Entropy { after_ff: bool },
}

impl JpegSplitter {
    /// A splitter that drops pictures longer than `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, state: State::Between { after_ff: false }, picture: Vec::new(), dropped: 0 }
    }

    /// Pictures that were broken or too long.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// As [`dropped`](Self::dropped), at the end of the stream: the picture that has begun is one of them.
    #[must_use]
    pub const fn dropped_at_end(&self) -> u64 {
        match self.state {
            State::Between { .. } => self.dropped,
            State::Marker
            | State::Code
            | State::LengthHigh { .. }
            | State::LengthLow { .. }
            | State::Segment { .. }
            | State::Entropy { .. } => self.dropped + 1,
        }
    }

    /// Takes bytes up to the end of the next picture, and gives it with the number of bytes taken.
    /// Without a picture, all bytes were taken.
    pub fn feed(&mut self, bytes: &[u8]) -> (usize, Option<Vec<u8>>) {
        let mut position = 0;
        while position < bytes.len() {
            position += self.skim(&bytes[position..]);
            let Some(byte) = bytes.get(position) else { break };
            position += 1;
            if self.step(*byte) {
                let picture = std::mem::take(&mut self.picture);
                return (position, Some(picture));
            }
        }
        (bytes.len(), None)
    }

    /// Takes bytes that change nothing but the picture's length, and gives their number.
    fn skim(&mut self, bytes: &[u8]) -> usize {
        let to_ff = || bytes.iter().position(|byte| *byte == 0xFF).unwrap_or(bytes.len());
        let (count, next) = match self.state {
            State::Between { after_ff: false } => return to_ff(),
            State::Entropy { after_ff: false } => (to_ff(), self.state),
            State::Segment { scan, left } => {
                // The last byte is left to `step`, which knows what comes after the segment.
                let count = bytes.len().min(left - 1);
                (count, State::Segment { scan, left: left - count })
            }
            State::Between { after_ff: true }
            | State::Marker
            | State::Code
            | State::LengthHigh { .. }
            | State::LengthLow { .. }
            | State::Entropy { after_ff: true } => return 0,
        };
        if self.picture.len() + count > self.max_bytes {
            self.give_up(None);
            return count;
        }
        self.picture.extend_from_slice(&bytes[..count]);
        self.state = next;
        count
    }

    /// Takes one byte; true where it was the last one of a picture.
    fn step(&mut self, byte: u8) -> bool {
        if let State::Between { after_ff } = self.state {
            if after_ff && byte == START[1] {
                self.begin();
            } else {
                self.state = State::Between { after_ff: byte == 0xFF };
            }
            return false;
        }
        if self.picture.len() >= self.max_bytes {
            self.give_up(Some(byte));
            return false;
        }
        self.picture.push(byte);
        match self.next(byte) {
            Some(State::Between { after_ff }) => {
                self.state = State::Between { after_ff };
                return true;
            }
            Some(next) => self.state = next,
            // A new picture begins where this one was cut off.
            None if self.picture.ends_with(&START) => {
                self.dropped += 1;
                self.begin();
            }
            None => self.give_up(Some(byte)),
        }
        false
    }

    /// The state after a byte of a picture; `Between` at its end, `None` where it is broken.
    fn next(&self, byte: u8) -> Option<State> {
        Some(match self.state {
            State::Between { .. } => self.state,
            State::Marker if byte == 0xFF => State::Code,
            State::Marker => return None,
            State::Code => match byte {
                // Fill bytes may come before a marker.
                0xFF => State::Code,
                0xD9 => State::Between { after_ff: false },
                0xDA => State::LengthHigh { scan: true },
                0x01 | 0xD0..=0xD7 => State::Marker,
                0x00 | 0xD8 => return None,
                _ => State::LengthHigh { scan: false },
            },
            State::LengthHigh { scan } => State::LengthLow { scan, high: byte },
            State::LengthLow { scan, high } => {
                // A segment's length counts its own two bytes.
                let left = usize::from(u16::from_be_bytes([high, byte])).checked_sub(2)?;
                if left == 0 { after_segment(scan) } else { State::Segment { scan, left } }
            }
            State::Segment { scan, left: 0 | 1 } => after_segment(scan),
            State::Segment { scan, left } => State::Segment { scan, left: left - 1 },
            State::Entropy { after_ff: false } => State::Entropy { after_ff: byte == 0xFF },
            State::Entropy { after_ff: true } => match byte {
                0x00 | 0xD0..=0xD7 => State::Entropy { after_ff: false },
                0xFF => State::Entropy { after_ff: true },
                0xD9 => State::Between { after_ff: false },
                0xDA => State::LengthHigh { scan: true },
                0xD8 => return None,
                _ => State::LengthHigh { scan: false },
            },
        })
    }

    fn begin(&mut self) {
        self.picture.clear();
        self.picture.extend_from_slice(&START);
        self.state = State::Marker;
    }

    fn give_up(&mut self, last: Option<u8>) {
        self.dropped += 1;
        // Not only cleared: a stream of giants must not keep its memory.
        self.picture = Vec::new();
        self.state = State::Between { after_ff: last == Some(0xFF) };
    }
}

fn after_segment(scan: bool) -> State {
    if scan { State::Entropy { after_ff: false } } else { State::Marker }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A JPEG in form only: a segment with a picture inside, a scan with stuffing and restarts.
    fn picture(entropy: &[u8]) -> Vec<u8> {
        let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xE1, 0x00, 0x06, 0xFF, 0xD8, 0xFF, 0xD9];
        jpeg.extend([0xFF, 0xDA, 0x00, 0x03, 0x01]);
        for byte in entropy {
            jpeg.push(*byte);
            if *byte == 0xFF {
                jpeg.push(0);
            }
        }
        jpeg.extend([0xFF, 0xD3, 0x55, 0xFF, 0xD9]);
        jpeg
    }

    fn split(splitter: &mut JpegSplitter, stream: &[u8], portion: usize) -> Vec<Vec<u8>> {
        let mut pictures = Vec::new();
        for mut bytes in stream.chunks(portion) {
            while !bytes.is_empty() {
                let (taken, picture) = splitter.feed(bytes);
                assert!(taken > 0);
                pictures.extend(picture);
                bytes = &bytes[taken..];
            }
        }
        pictures
    }

    #[test]
    fn multipart_headers_and_noise_are_skipped() {
        let stream = [
            b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 99999\r\n\r\n".as_slice(),
            &picture(b"one"),
            b"\r\n--frame\r\n\xFF\r\n",
            &picture(b"two"),
        ];
        let pictures = split(&mut JpegSplitter::new(1000), &stream.concat(), 7);
        assert_eq!(pictures, [picture(b"one"), picture(b"two")]);
    }

    #[test]
    fn a_picture_that_was_cut_off_costs_only_itself() {
        let mut splitter = JpegSplitter::new(1000);
        let (whole, cut) = (picture(b"whole"), picture(b"cut off somewhere"));
        let stream = [&cut[..cut.len() - 6], &whole, &cut[..10], &whole].concat();
        assert_eq!(split(&mut splitter, &stream, 1000), [whole.clone(), whole.clone()]);
        assert_eq!(splitter.dropped(), 2);
        // Cut off where a length comes next, it takes the next one's first bytes for that: what is
        // lost has a bound nevertheless.
        let stream = [&cut[..12], &whole.repeat(100)].concat();
        let left = split(&mut JpegSplitter::new(1000), &stream, 50);
        assert!(left.len() * whole.len() >= stream.len() - 1200, "{}", left.len());
        assert!(left.iter().all(|picture| *picture == whole));
    }

    #[test]
    fn a_giant_is_dropped_without_being_kept() {
        let mut splitter = JpegSplitter::new(200);
        let stream = [picture(&[7; 5000]), picture(b"small")].concat();
        assert_eq!(split(&mut splitter, &stream, 64), [picture(b"small")]);
        assert_eq!(splitter.dropped(), 1);
        assert!(splitter.picture.capacity() <= 200);
    }

    proptest! {
        #[test]
        fn portions_do_not_matter(
            entropies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..6),
            noise in "[a-z\r\n:-]{0,40}",
            portion in 1_usize..200,
        ) {
            let expected: Vec<_> = entropies.iter().map(|entropy| picture(entropy)).collect();
            let stream: Vec<u8> = expected.iter().flat_map(|p| [noise.as_bytes(), p].concat()).collect();
            prop_assert_eq!(split(&mut JpegSplitter::new(1000), &stream, portion), expected);
        }

        #[test]
        fn hostile_bytes_stay_within_the_bound(
            bytes in prop::collection::vec(prop_oneof![3 => Just(0xFF), 2 => 0xC0..0xE2_u8, 1 => any::<u8>()], 0..4000),
            portion in 1_usize..500,
        ) {
            let mut splitter = JpegSplitter::new(300);
            for picture in split(&mut splitter, &bytes, portion) {
                prop_assert!(picture.len() <= 300);
                prop_assert!(picture.starts_with(&START) && picture.ends_with(&[0xFF, 0xD9]));
            }
            prop_assert!(splitter.picture.len() <= 300);
        }
    }
}
