//! Kinds of pictures that are not read, recognised by their content, so that people are told what to do.

use std::fmt;

/// A kind of file that is no picture which this crate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreadFormat {
    /// High Efficiency Image File Format, as iPhones take pictures.
    Heic,
    /// AV1 Image File Format.
    Avif,
    /// A film in an MP4 or QuickTime container.
    Film,
    /// Graphics Interchange Format.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// Tagged Image File Format, and the raw formats of cameras that are built on it.
    Tiff,
    /// JPEG XL.
    JpegXl,
    /// JPEG 2000.
    Jpeg2000,
    /// Portable Document Format.
    Pdf,
    /// A page of the web: a camera's login form, an error message.
    Html,
    /// A JPEG with arithmetic coding.
    ArithmeticJpeg,
    /// A JPEG with more than eight bits a sample.
    DeepJpeg,
    /// A lossless JPEG.
    LosslessJpeg,
    /// A hierarchical JPEG.
    HierarchicalJpeg,
    /// Nothing known.
    Unknown,
}

impl UnreadFormat {
    /// What bytes that are no JPEG, PNG or WebP are.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            [_, _, _, _, b'f', b't', b'y', b'p', rest @ ..] => Self::of_brands(bytes, rest),
            [b'G', b'I', b'F', b'8', ..] => Self::Gif,
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Self::Bmp,
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Self::Tiff,
            [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => Self::JpegXl,
            [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xff, 0x4f, 0xff, 0x51, ..] => Self::Jpeg2000,
            [b'%', b'P', b'D', b'F', ..] => Self::Pdf,
            _ if is_html(bytes) => Self::Html,
            _ => Self::Unknown,
        }
    }

    /// By the brands of an ISO base media file (ISO/IEC 14496-12, 4.3): the main one, a version, others.
    fn of_brands(bytes: &[u8], brands: &[u8]) -> Self {
        let length = bytes.first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length) as usize);
        let end = length.saturating_sub(8).min(brands.len());
        let all = || brands[..end].as_chunks::<4>().0.iter();
        if all().any(|brand| matches!(brand, b"avif" | b"avis")) {
            Self::Avif
        } else if all().any(|brand| {
            matches!(
                brand,
                b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"heif" | b"mif1" | b"msf1"
            )
        }) {
            Self::Heic
        } else {
            Self::Film
        }
    }
}

fn is_html(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    let begins = |what: &[u8]| text.get(..what.len()).is_some_and(|start| start.eq_ignore_ascii_case(what));
    begins(b"<!doctype html") || begins(b"<html") || begins(b"<head")
}

impl fmt::Display for UnreadFormat {
    /// What it is, and what to do about it, after "the image is".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Heic => {
                "a HEIC picture, which is not read here: export it as JPEG (an iPhone takes JPEGs with Settings, \
                 Camera, Formats, Most Compatible), or have libheif's programs installed beside the server"
            }
            Self::Avif => "an AVIF picture, which is not read here: export it as JPEG, or have libheif's programs installed beside the \
                 server",
            Self::Film => "a film, which is not read: export a picture of it as JPEG",
            Self::Gif => "a GIF picture, which is not read: export it as PNG or JPEG",
            Self::Bmp => "a BMP picture, which is not read: export it as PNG or JPEG",
            Self::Tiff => "a TIFF or a camera's raw picture, which is not read: export it as JPEG",
            Self::JpegXl => "a JPEG XL picture, which is not read: export it as JPEG",
            Self::Jpeg2000 => "a JPEG 2000 picture, which is not read: export it as JPEG",
            Self::Pdf => "a PDF document, which is not read: export the picture in it as JPEG",
            Self::Html => "no picture but HTML: a page of the web, such as a camera's login form",
            Self::ArithmeticJpeg => {
                "a kind of JPEG that is not read (arithmetic coding): export it as baseline JPEG"
            }
            Self::DeepJpeg => {
                "a kind of JPEG that is not read (more than eight bits a sample): export it as baseline JPEG"
            }
            Self::LosslessJpeg => "a kind of JPEG that is not read (lossless): export it as baseline JPEG",
            Self::HierarchicalJpeg => {
                "a kind of JPEG that is not read (hierarchical): export it as baseline JPEG"
            }
            Self::Unknown => "no JPEG, PNG or WebP",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first box of an ISO base media file.
    fn brands(main: &[u8; 4], others: &[&[u8; 4]]) -> Vec<u8> {
        let mut file = (16 + 4 * others.len() as u32).to_be_bytes().to_vec();
        file.extend([b"ftyp".as_slice(), main, &[0; 4]].concat());
        others.iter().for_each(|brand| file.extend(*brand));
        file.extend(b"\0\0\0\x20metaavif");
        file
    }

    #[test]
    fn kinds_are_known_by_their_content() {
        for (bytes, kind) in [
            (brands(b"heic", &[b"mif1", b"heic"]), UnreadFormat::Heic),
            (brands(b"mif1", &[b"heic"]), UnreadFormat::Heic),
            (brands(b"mif1", &[b"avif", b"miaf"]), UnreadFormat::Avif),
            (brands(b"avif", &[]), UnreadFormat::Avif),
            (brands(b"isom", &[b"mp41"]), UnreadFormat::Film),
            (b"GIF89a".to_vec(), UnreadFormat::Gif),
            (b"BM\x10\0\0\0\0\0\0\0".to_vec(), UnreadFormat::Bmp),
            (b"II\x2a\0".to_vec(), UnreadFormat::Tiff),
            (b"%PDF-1.4".to_vec(), UnreadFormat::Pdf),
            (b"\r\n <!DOCTYPE html><html>".to_vec(), UnreadFormat::Html),
            (b"<html><body>Please log in</body></html>".to_vec(), UnreadFormat::Html),
            (b"".to_vec(), UnreadFormat::Unknown),
            (b"\0\0\0\x01ftyp".to_vec(), UnreadFormat::Film),
            (b"hello".to_vec(), UnreadFormat::Unknown),
        ] {
            assert_eq!(UnreadFormat::of(&bytes), kind, "{:?}", String::from_utf8_lossy(&bytes));
        }
        assert!(UnreadFormat::Heic.to_string().contains("HEIC"));
    }
}
