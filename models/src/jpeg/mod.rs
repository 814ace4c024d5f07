//! Decodes a JPEG at half its size, for less than half the work of decoding and shrinking it, and says of
//! any whether it is whole.
//!
//! The transform of the lower half of the frequencies gives the smaller picture directly. Only what
//! cameras send is decoded: baseline, grey or YCbCr with 4:4:4, 4:2:2 or 4:2:0 chroma in one scan.
//! Everything else, and everything damaged, is left to the full decoder, which says what is wrong.
//! ITU-T T.81, <https://www.w3.org/Graphics/JPEG/itu-t81.pdf>.

mod entropy;
mod form;
mod transform;

use std::borrow::Cow;

use self::{
    entropy::{Bits, Huffman, MAX_BLOCK, Scan},
    form::STANDARD_TABLES,
    transform::Quantizer,
};
use crate::ImageError;

/// A picture of half the size, rounded up: rows from the top, three bytes (red, green, blue) a pixel.
pub(crate) struct Half {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<u8>,
}

/// A picture that can be decoded: what its header says.
pub(crate) struct Jpeg<'a> {
    pub(crate) width: usize,
    pub(crate) height: usize,
    components: Vec<Component>,
    quantizers: [Option<Quantizer>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    /// Units between restart markers; 0 where there are none.
    restart: usize,
    /// It may be decoded here: nothing turns it or says that its colours are others, and its chroma is
    /// of a usual kind.
    simple: bool,
    /// It may have to be turned.
    exif: bool,
    scan: &'a [u8],
}

/// A JPEG of a kind that is read, with the standard Huffman tables where it has none: cameras leave them
/// out.
///
/// # Errors
/// `FormatUnsupported` for other kinds, `Corrupt` where the file ends before its picture begins.
pub(crate) fn readable(bytes: &[u8]) -> Result<Cow<'_, [u8]>, ImageError> {
    Ok(form::with_tables(bytes, &form::examine(bytes)?))
}

/// A JPEG with the standard Huffman tables (ITU-T T.81, K.3), where it has none; anything else as it is.
#[must_use]
pub fn with_huffman_tables(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return Cow::Borrowed(bytes);
    }
    readable(bytes).unwrap_or(Cow::Borrowed(bytes))
}

/// Whether the picture is there to its end: decoders fill with grey what was cut off, and a face above
/// would be taken for the whole picture's. That the end marker alone is missing does no harm, as far as
/// the picture can be counted without it.
///
/// # Errors
/// `FormatUnsupported`, `Corrupt`.
pub(crate) fn whole(bytes: &[u8]) -> Result<(), ImageError> {
    let form = form::examine(bytes)?;
    let counted = if form.progressive { None } else { parse(bytes).map(|header| holds_all_units(&header)) };
    match (counted, form.ended) {
        (Some(true), _) | (None, true) => Ok(()),
        (_, false) => Err(ImageError::Corrupt("it was cut off".into())),
        (Some(false), true) => Err(ImageError::Corrupt("a part of the picture is missing".into())),
    }
}

/// Whether a scan has the coefficients of all blocks.
fn holds_all_units(header: &Jpeg<'_>) -> bool {
    let most = |side: fn(&Component) -> usize| header.components.iter().map(side).max().unwrap_or(1);
    let units = |length: usize, blocks: usize| length.div_ceil(8 * blocks);
    let count = units(header.width, most(|c| c.across)) * units(header.height, most(|c| c.down));
    let scan = Scan::read(header.scan);
    let all = || {
        let mut bits = Bits::new(scan.segment(0)?);
        let mut last = [0i32; MAX_COMPONENTS];
        let mut segment = 0;
        for unit in 0..count {
            if header.restart > 0 && unit > 0 && unit % header.restart == 0 {
                if bits.overrun() {
                    return None;
                }
                segment += 1;
                bits = Bits::new(scan.segment(segment)?);
                last = [0; MAX_COMPONENTS];
            }
            for (component, last) in header.components.iter().zip(&mut last) {
                let quantizer = header.quantizers[component.quantizer].as_ref()?;
                let (dc, ac) = (header.dc[component.dc].as_ref()?, header.ac[component.ac].as_ref()?);
                for _ in 0..component.across * component.down {
                    bits.block(dc, ac, quantizer, last, &mut [0.0; MAX_BLOCK])?;
                }
            }
            if bits.overrun() {
                return None;
            }
        }
        Some(())
    };
    all().is_some()
}

/// Most colour components of a picture.
const MAX_COMPONENTS: usize = 4;

#[derive(Clone, Copy)]
struct Component {
    id: u8,
    /// Blocks of a unit, horizontally and vertically.
    across: usize,
    down: usize,
    quantizer: usize,
    dc: usize,
    ac: usize,
}

/// Decodes; `None` where the full decoder must be asked. Allocates what the half picture and the
/// file's own bytes take.
pub(crate) fn decode(header: &Jpeg<'_>) -> Option<Half> {
    let (width, height) = (header.width.div_ceil(2), header.height.div_ceil(2));
    let scan = Scan::read(header.scan);
    let first = header.components.first()?;
    // A unit's pixels in the half picture.
    let (wide, high) = (first.across * 4, first.down * 4);
    let (columns, rows) = (width.div_ceil(wide), height.div_ceil(high));
    let mut pixels = vec![0; width * height * 3];
    let mut lines = Lines::new(header, columns * wide, high);
    let mut bits = Bits::new(scan.segment(0)?);
    let mut last = [0i32; 3];
    let (mut segment, mut units) = (0, 0);
    for row in 0..rows {
        for column in 0..columns {
            if header.restart > 0 && units == header.restart {
                if bits.overrun() {
                    return None;
                }
                segment += 1;
                bits = Bits::new(scan.segment(segment)?);
                (last, units) = ([0; 3], 0);
            }
            units += 1;
            for (at, component) in header.components.iter().enumerate() {
                lines.unit(header, at, component, column, &mut bits, &mut last[at])?;
            }
        }
        if bits.overrun() {
            return None;
        }
        let done = row * high;
        for (y, line) in pixels[done * width * 3..].chunks_exact_mut(width * 3).take(high).enumerate() {
            lines.colour(y, line);
        }
    }
    Some(Half { width, height, pixels })
}

/// One row of units, each component with as many pixels as the half picture has.
struct Lines {
    stride: usize,
    planes: [Vec<u8>; 3],
    grey: bool,
}

impl Lines {
    fn new(header: &Jpeg<'_>, stride: usize, high: usize) -> Self {
        let grey = header.components.len() == 1;
        // The last group of a line may reach beyond it.
        let plane = || vec![128; stride * high + GROUP];
        let other = || if grey { vec![] } else { plane() };
        Self { stride, planes: [plane(), other(), other()], grey }
    }

    /// Decodes the blocks of one component of a unit.
    fn unit(
        &mut self,
        header: &Jpeg<'_>,
        at: usize,
        component: &Component,
        column: usize,
        bits: &mut Bits<'_>,
        last: &mut i32,
    ) -> Option<()> {
        let quantizer = header.quantizers[component.quantizer].as_ref()?;
        let (dc, ac) = (header.dc[component.dc].as_ref()?, header.ac[component.ac].as_ref()?);
        let luma = header.components.first()?;
        let (plane, stride) = (&mut self.planes[at], self.stride);
        // How often a component's block is repeated to cover what the luma blocks cover.
        let (wider, higher) = (luma.across / component.across, luma.down / component.down);
        for down in 0..component.down {
            for across in 0..component.across {
                let mut block = [0f32; MAX_BLOCK];
                let end = bits.block(dc, ac, quantizer, last, &mut block)?;
                let x = (column * component.across + across) * 4 * wider;
                let out = &mut plane[down * 4 * higher * stride + x..];
                match (wider, higher) {
                    (1, 1) => transform::quarter(&block, end, out, stride),
                    (2, 2) => transform::whole(&block, end, out, stride),
                    _ => transform::wide(&block, end, out, stride),
                }
            }
        }
        Some(())
    }

    /// Colours one line (JFIF 1.02: full-range BT.601).
    fn colour(&self, y: usize, out: &mut [u8]) {
        let line = |plane: usize| &self.planes[plane][y * self.stride..];
        if self.grey {
            out.as_chunks_mut::<3>().0.iter_mut().zip(line(0)).for_each(|(to, v)| *to = [*v; 3]);
            return;
        }
        let groups = |plane: usize| line(plane).as_chunks::<GROUP>().0;
        let mut pixels = out.chunks_mut(3 * GROUP);
        for (((y, cb), cr), to) in groups(0).iter().zip(groups(1)).zip(groups(2)).zip(&mut pixels) {
            interleave(&coloured(y, cb, cr), to);
        }
    }
}

/// Pixels that are coloured together, so that the compiler uses vectors.
const GROUP: usize = 16;

/// Red, green and blue of some pixels.
fn coloured(y: &[u8; GROUP], cb: &[u8; GROUP], cr: &[u8; GROUP]) -> [[u8; GROUP]; 3] {
    let mut rgb = [[0; GROUP]; 3];
    for at in 0..GROUP {
        // Four fractional bits; the factors have thirteen, and the differences of chroma seven more.
        let difference = |c: u8| (i16::from(c) - 128) << 7;
        let times = |c: i16, factor: i32| ((i32::from(c) * factor) >> 16) as i16;
        let (y, cb, cr) = (i16::from(y[at]) << 4 | 8, difference(cb[at]), difference(cr[at]));
        let byte = |v: i16| (v >> 4).clamp(0, 255) as u8;
        rgb[0][at] = byte(y + times(cr, 11_485));
        rgb[1][at] = byte(y - times(cb, 2_819) - times(cr, 5_850));
        rgb[2][at] = byte(y + times(cb, 14_516));
    }
    rgb
}

fn interleave([red, green, blue]: &[[u8; GROUP]; 3], out: &mut [u8]) {
    let colours = red.iter().zip(green).zip(blue);
    for (to, ((r, g), b)) in out.as_chunks_mut::<3>().0.iter_mut().zip(colours) {
        *to = [*r, *g, *b];
    }
}

/// A JPEG that [`decode`] takes; `None` where something is not of that kind.
pub(crate) fn open(bytes: &[u8]) -> Option<Jpeg<'_>> {
    open_turned(bytes).filter(|header| !header.exif)
}

/// As [`open`], for who turns the picture as its EXIF block says.
pub(crate) fn open_turned(bytes: &[u8]) -> Option<Jpeg<'_>> {
    parse(bytes).filter(|header| header.simple)
}

/// Whether a JPEG is progressive: its coefficients are all kept until its end.
///
/// # Errors
/// As [`readable`].
pub(crate) fn is_progressive(bytes: &[u8]) -> Result<bool, ImageError> {
    Ok(form::examine(bytes)?.progressive)
}

/// Reads all segments up to the scan; `None` where something is not of the baseline kind.
fn parse(bytes: &[u8]) -> Option<Jpeg<'_>> {
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
    let mut header = Jpeg {
        width: 0,
        height: 0,
        components: vec![],
        quantizers: [const { None }; 4],
        dc: [const { None }; 4],
        ac: [const { None }; 4],
        restart: 0,
        simple: true,
        exif: false,
        scan: &[],
    };
    let mut has_tables = false;
    loop {
        let [0xff, marker, tail @ ..] = rest else { return None };
        if *marker == 0xff {
            rest = &rest[1..];
            continue;
        }
        let [high, low, ..] = tail else { return None };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let segment = tail.get(2..length.max(2))?;
        match marker {
            0xdb => quantizers(segment, &mut header.quantizers)?,
            0xc4 => {
                has_tables = true;
                tables(segment, &mut header)?;
            }
            0xc0 | 0xc1 if header.components.is_empty() => frame(segment, &mut header)?,
            0xdd => header.restart = usize::from(u16::from_be_bytes(segment.try_into().ok()?)),
            0xe1 if segment.starts_with(b"Exif") => header.exif = true,
            // Its colours may be others.
            0xee if segment.starts_with(b"Adobe") => header.simple = false,
            0xe0..=0xef | 0xfe => {}
            0xda => {
                scan_header(segment, &mut header)?;
                if !has_tables {
                    tables(&STANDARD_TABLES[4..], &mut header)?;
                }
                header.scan = tail.get(length..)?;
                return Some(header);
            }
            _ => return None,
        }
        rest = tail.get(length..)?;
    }
}

fn quantizers(mut segment: &[u8], to: &mut [Option<Quantizer>; 4]) -> Option<()> {
    while let [kind, rest @ ..] = segment {
        let values = rest.get(..64)?;
        // Sixteen-bit tables belong to twelve-bit pictures.
        *to.get_mut(usize::from(*kind))? = Some(Quantizer::new(values.try_into().ok()?));
        segment = &rest[64..];
    }
    Some(())
}

fn tables(mut segment: &[u8], header: &mut Jpeg<'_>) -> Option<()> {
    while let [kind, rest @ ..] = segment {
        let (counts, rest) = rest.split_first_chunk::<16>()?;
        let total = counts.iter().map(|c| usize::from(*c)).sum();
        let symbols = rest.get(..total)?;
        let at = usize::from(kind & 15);
        let table = Huffman::new(counts, symbols, kind >> 4 == 1)?;
        match kind >> 4 {
            0 => *header.dc.get_mut(at)? = Some(table),
            1 => *header.ac.get_mut(at)? = Some(table),
            _ => return None,
        }
        segment = &rest[total..];
    }
    Some(())
}

fn frame(segment: &[u8], header: &mut Jpeg<'_>) -> Option<()> {
    let [8, h1, h0, w1, w0, count @ 1..=4, parts @ ..] = segment else { return None };
    header.height = usize::from(u16::from_be_bytes([*h1, *h0]));
    header.width = usize::from(u16::from_be_bytes([*w1, *w0]));
    if header.width == 0 || header.height == 0 || parts.len() != usize::from(*count) * 3 {
        return None;
    }
    for [id, sampling, quantizer] in parts.as_chunks::<3>().0 {
        let (across, down) = (usize::from(sampling >> 4), usize::from(sampling & 15));
        let quantizer = usize::from(*quantizer);
        if quantizer > 3 || !(1..=4).contains(&across) || !(1..=4).contains(&down) {
            return None;
        }
        header.components.push(Component { id: *id, across, down, quantizer, dc: 0, ac: 0 });
    }
    let sampling: Vec<_> = header.components.iter().map(|c| (c.across, c.down)).collect();
    match sampling[..] {
        // Alone, a component has one block a unit whatever its factors say.
        [_] => header.components.iter_mut().for_each(|c| (c.across, c.down) = (1, 1)),
        [(1 | 2, 1) | (2, 2), (1, 1), (1, 1)] => {}
        _ => header.simple = false,
    }
    Some(())
}

fn scan_header(segment: &[u8], header: &mut Jpeg<'_>) -> Option<()> {
    let [count, parts @ ..] = segment else { return None };
    let (parts, end) = parts.split_at_checked(usize::from(*count) * 2)?;
    if header.components.is_empty() || parts.len() != header.components.len() * 2 || end != [0, 63, 0] {
        return None;
    }
    for (component, [id, tables]) in header.components.iter_mut().zip(parts.as_chunks::<2>().0) {
        if component.id != *id || tables >> 4 > 3 || tables & 15 > 3 {
            return None;
        }
        (component.dc, component.ac) = (usize::from(tables >> 4), usize::from(tables & 15));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{DecodeLimits, Image};

    /// Made-up pictures of 97x61 with each kind of chroma, by OpenCV: `tests/golden/shapes.py`.
    const SHAPES: [(&str, &[u8]); 5] = [
        ("4:2:0", include_bytes!("../../tests/golden/shapes-420.jpg")),
        ("4:2:2", include_bytes!("../../tests/golden/shapes-422.jpg")),
        ("4:4:4", include_bytes!("../../tests/golden/shapes-444.jpg")),
        ("grey", include_bytes!("../../tests/golden/shapes-grey.jpg")),
        ("restarts", include_bytes!("../../tests/golden/shapes-restarts.jpg")),
    ];

    fn decode(file: &[u8]) -> Option<Half> {
        super::decode(&open(file)?)
    }

    fn dimensions(file: &[u8]) -> Option<(usize, usize)> {
        open(file).map(|jpeg| (jpeg.width, jpeg.height))
    }

    #[test]
    fn half_is_the_mean_of_four() {
        for (name, file) in SHAPES {
            let half = decode(file).unwrap();
            let full = Image::decode(file, &DecodeLimits::default()).unwrap();
            assert_eq!((half.width, half.height), (49, 31), "{name}");
            assert_eq!(dimensions(file), Some((97, 61)), "{name}");
            let mut off = 0;
            for y in 0..30 {
                for x in 0..48 * 3 {
                    let at = |dy: usize, dx: usize| {
                        i32::from(full.pixels()[((2 * y + dy) * 97 + x / 3 * 2 + dx) * 3 + x % 3])
                    };
                    let mean = (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4;
                    off += (i32::from(half.pixels[y * 49 * 3 + x]) - mean).abs();
                }
            }
            let off = off as f32 / (48.0 * 30.0 * 3.0);
            assert!(off < 4.0, "{name}: {off}");
        }
    }

    #[test]
    fn what_was_cut_off_is_not_whole() {
        for (name, file) in SHAPES {
            assert_eq!(whole(file), Ok(()), "{name}");
            assert_eq!(whole(&file[..file.len() - 2]), Ok(()), "{name}: without its end marker");
            assert_eq!(whole(&[file, b"\0\0\0"].concat()), Ok(()), "{name}: filled up");
            let scan = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
            for part in 1..10 {
                let end = scan + (file.len() - scan) * part / 10;
                let cut = whole(&file[..end]).unwrap_err();
                assert_eq!(cut, ImageError::Corrupt("it was cut off".into()), "{name} {part}");
                let closed = [&file[..end], &[0xff, 0xd9]].concat();
                assert_eq!(whole(&closed).unwrap_err().reason(), "IMAGE_CORRUPT", "{name} {part}");
                // The next picture's beginning, and its end, are not this one's.
                assert!(whole(&[&file[..end], file].concat()).is_err(), "{name} {part}");
            }
            for end in [2, 20, scan] {
                assert_eq!(whole(&file[..end]).unwrap_err().reason(), "IMAGE_CORRUPT", "{name} {end}");
            }
            // A third of the scan is gone, its end is there.
            let middle = scan + (file.len() - scan) / 3;
            let gap = [&file[..middle], &file[middle + (file.len() - scan) / 3..]].concat();
            assert_eq!(whole(&gap).unwrap_err().reason(), "IMAGE_CORRUPT", "{name}");
        }
    }

    #[test]
    fn pictures_without_huffman_tables_get_the_standard_ones() {
        let (_, file) = SHAPES[0];
        let tables = |file: &[u8]| file.windows(2).position(|pair| pair == [0xff, 0xc4]);
        let mut bare = file.to_vec();
        while let Some(at) = tables(&bare) {
            let length = usize::from(u16::from_be_bytes([bare[at + 2], bare[at + 3]]));
            bare.drain(at..at + 2 + length);
        }
        let limits = DecodeLimits::default();
        let wanted = Image::decode(file, &limits).unwrap();
        assert_eq!(Image::decode(&bare, &limits).unwrap().pixels(), wanted.pixels());
        assert_eq!(decode(&bare).unwrap().pixels, decode(file).unwrap().pixels);
        assert!(tables(&with_huffman_tables(&bare)).is_some());
        assert_eq!(with_huffman_tables(file), file);
        assert_eq!(with_huffman_tables(b"\xff\xd8"), b"\xff\xd8".as_slice());
    }

    #[test]
    fn kinds_that_are_not_read_are_named() {
        let (_, file) = SHAPES[0];
        let frame = file.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        for (marker, precision, says) in [
            (0xc9, 8, "arithmetic"),
            (0xca, 8, "arithmetic"),
            (0xc1, 12, "eight bits"),
            (0xc3, 8, "lossless"),
            (0xc5, 8, "hierarchical"),
        ] {
            let mut other = file.to_vec();
            (other[frame + 1], other[frame + 4]) = (marker, precision);
            let error = Image::decode(&other, &DecodeLimits::default()).unwrap_err();
            assert_eq!(error.reason(), "IMAGE_FORMAT_UNSUPPORTED");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn what_is_turned_or_progressive_is_left_to_the_full_decoder() {
        let (_, file) = SHAPES[0];
        let mut turned = file.to_vec();
        turned.splice(2..2, *b"\xff\xe1\x00\x08Exif\0\0");
        assert!(decode(&turned).is_none());
        let mut progressive = file.to_vec();
        let at = file.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        progressive[at + 1] = 0xc2;
        assert!(decode(&progressive).is_none());
        assert!(decode(&file[..file.len() / 2]).is_none());
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(which in 0usize..5, at in 0usize..4000, value: u8, cut in 4usize..4000) {
            let mut file = SHAPES[which].1.to_vec();
            let at = at % file.len();
            file[at] = value;
            file.truncate(cut);
            let _ = whole(&file);
            if dimensions(&file).is_some_and(|(w, h)| w * h < 1 << 20) {
                let _ = decode(&file);
            }
        }
    }
}
