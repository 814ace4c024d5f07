//! The orientation that a camera writes beside its picture (EXIF 2.32, 4.6.5; TIFF 6.0).

use image::metadata::Orientation;

/// Tag of the orientation.
const ORIENTATION: u16 = 0x112;

/// The orientation in an EXIF block. The standard wants it in 16 bits; cameras have written it in 8 and 32.
pub(crate) fn orientation(exif: &[u8]) -> Option<Orientation> {
    let little = match exif.get(..4)? {
        [b'I', b'I', 42, 0] => true,
        [b'M', b'M', 0, 42] => false,
        _ => return None,
    };
    let number = |at: usize, bytes: usize| {
        let field = exif.get(at..at.checked_add(bytes)?)?.iter();
        let join = |value: u32, byte: &u8| value << 8 | u32::from(*byte);
        Some(if little { field.rev().fold(0, join) } else { field.fold(0, join) })
    };
    let directory = number(4, 4)? as usize;
    let entries = number(directory, 2)? as usize;
    (0..entries).find_map(|entry| {
        let at = directory.checked_add(2 + 12 * entry)?;
        if number(at, 2)? != u32::from(ORIENTATION) {
            return None;
        }
        let bytes = match number(at + 2, 2)? {
            1 => 1,
            3 => 2,
            4 => 4,
            _ => return None,
        };
        Orientation::from_exif(u8::try_from(number(at + 8, bytes)?).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An EXIF block with one tag.
    fn block(little: bool, kind: u16, value: [u8; 4]) -> Vec<u8> {
        let number = |value: u32, bytes: usize| {
            let all = value.to_be_bytes();
            let mut field = all[4 - bytes..].to_vec();
            if little {
                field.reverse();
            }
            field
        };
        let start = if little { b"II".as_slice() } else { b"MM" };
        let fields = [number(42, 2), number(8, 4), number(1, 2), number(0x112, 2), number(kind.into(), 2)];
        [start, &fields.concat(), &number(1, 4), &value, &[0; 4]].concat()
    }

    #[test]
    fn it_is_read_in_any_width() {
        for (little, kind, value) in [
            (true, 1, [6, 0, 0, 0]),
            (true, 3, [6, 0, 0, 0]),
            (true, 4, [6, 0, 0, 0]),
            (false, 1, [6, 0, 0, 0]),
            (false, 3, [0, 6, 0, 0]),
            (false, 4, [0, 0, 0, 6]),
        ] {
            let exif = block(little, kind, value);
            assert_eq!(orientation(&exif), Some(Orientation::Rotate90), "{little} {kind}");
            assert_eq!(orientation(&exif[..18]), None);
        }
        assert_eq!(orientation(&block(true, 3, [9, 0, 0, 0])), None);
        assert_eq!(orientation(&block(true, 2, [6, 0, 0, 0])), None);
        assert_eq!(orientation(b""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 4..80), little: bool) {
            let _ = orientation(&bytes);
            bytes[..4].copy_from_slice(if little { b"II\x2a\0" } else { b"MM\0\x2a" });
            let _ = orientation(&bytes);
        }
    }
}
