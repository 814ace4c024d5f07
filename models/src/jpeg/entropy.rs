//! The entropy-coded part of a JPEG.

use super::transform::Quantizer;

/// Coefficients of a block in the order of rows, and a place for those that nobody wants.
pub(super) const MAX_BLOCK: usize = 64;

/// Bits that are looked up at once.
const LOOKUP: u32 = 10;

pub(super) struct Huffman {
    /// For the next [`LOOKUP`] bits: the symbol and the length of its code, 0 where it is longer.
    codes: Box<[(u8, u8); 1 << LOOKUP]>,
    /// For the next [`LOOKUP`] bits of an AC coefficient: all of it, where its own bits fit, too.
    coefficients: Box<[Coefficient; 1 << LOOKUP]>,
    /// For each length: the first code that is longer, shifted to sixteen bits, and what is added
    /// to a code to get its symbol's place.
    limits: [(u32, i32); 17],
    symbols: [u8; 256],
}

/// A coefficient in one word, which is one load: its value, how many zeros lie before it, and the bits
/// of its code and of itself together; none where they are not known.
#[derive(Clone, Copy, Default)]
struct Coefficient(i32);

impl Coefficient {
    const fn new(value: i32, run: u8, bits: u32) -> Self {
        Self(value << 16 | (run as i32) << 8 | bits as i32)
    }

    const fn value(self) -> i32 {
        self.0 >> 16
    }

    const fn run(self) -> usize {
        (self.0 >> 8 & 0xff) as usize
    }

    const fn bits(self) -> u32 {
        (self.0 & 0xff) as u32
    }
}

impl Huffman {
    /// From the number of codes of each length and their symbols; `None` where they make no code.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8], coefficients: bool) -> Option<Self> {
        let mut table = Self {
            codes: Box::new([(0, 0); 1 << LOOKUP]),
            coefficients: Box::new([Coefficient::default(); 1 << LOOKUP]),
            limits: [(0, 0); 17],
            symbols: [0; 256],
        };
        table.symbols.get_mut(..symbols.len())?.copy_from_slice(symbols);
        let (mut code, mut at) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = u32::from(counts[length as usize - 1]);
            if code + count > 1 << length {
                return None;
            }
            table.limits[length as usize] = ((code + count) << (16 - length), at as i32 - code as i32);
            if length <= LOOKUP {
                for symbol in &symbols[at..at + count as usize] {
                    let spare = LOOKUP - length;
                    let first = (code << spare) as usize;
                    table.codes[first..first + (1 << spare)].fill((*symbol, length as u8));
                    let size = u32::from(symbol & 15);
                    if coefficients && size > 0 && size <= spare {
                        for rest in 0..1 << spare {
                            let value = extend(rest >> (spare - size), size);
                            table.coefficients[first + rest as usize] =
                                Coefficient::new(value, symbol >> 4, length + size);
                        }
                    }
                    code += 1;
                }
            } else {
                code += count;
            }
            at += count as usize;
            code <<= 1;
        }
        Some(table)
    }
}

/// The number that `size` bits stand for: those that begin with 0 are negative.
const fn extend(bits: u32, size: u32) -> i32 {
    if bits < 1 << (size - 1) { bits as i32 - (1 << size) + 1 } else { bits as i32 }
}

/// The scan without stuffed bytes, cut at its restart markers.
pub(super) struct Scan {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Scan {
    pub(super) fn read(mut rest: &[u8]) -> Self {
        let mut scan = Self { bytes: Vec::with_capacity(rest.len() + 8), ends: vec![] };
        while let Some(at) = rest.iter().position(|b| *b == 0xff) {
            scan.bytes.extend_from_slice(&rest[..at]);
            match rest.get(at + 1) {
                Some(0) => scan.bytes.push(0xff),
                Some(0xd0..=0xd7) => scan.ends.push(scan.bytes.len()),
                // A filling byte: what follows it is the marker.
                Some(0xff) => {
                    rest = &rest[at + 1..];
                    continue;
                }
                // Any other marker ends the scan.
                _ => {
                    scan.ends.push(scan.bytes.len());
                    return scan;
                }
            }
            rest = &rest[at + 2..];
        }
        scan.bytes.extend_from_slice(rest);
        scan.ends.push(scan.bytes.len());
        scan
    }

    /// The bytes between two restart markers.
    pub(super) fn segment(&self, at: usize) -> Option<&[u8]> {
        let start = if at == 0 { 0 } else { *self.ends.get(at - 1)? };
        self.bytes.get(start..*self.ends.get(at)?)
    }
}

/// Reads bits, the highest first; behind the end there are zeros.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, from the highest.
    buffer: u64,
    count: u32,
}

/// Where coefficients lie in a block, in the order in which they are coded.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

impl<'a> Bits<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, buffer: 0, count: 0 }
    }

    /// Whether more was read than there is.
    pub(super) const fn overrun(&self) -> bool {
        self.at > self.bytes.len() + 8
    }

    /// Fills up to at least 56 bits.
    #[inline(always)]
    fn fill(&mut self) {
        if let Some(next) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            self.buffer |= u64::from_be_bytes(*next) >> self.count;
            let whole = (63 - self.count) >> 3;
            self.at += whole as usize;
            self.count += whole * 8;
        } else {
            while self.count <= 56 {
                let byte = self.bytes.get(self.at).copied().unwrap_or(0);
                self.buffer |= u64::from(byte) << (56 - self.count);
                self.at += 1;
                self.count += 8;
            }
        }
    }

    #[inline(always)]
    const fn take(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.count -= bits;
    }

    /// The number that the next `size` bits stand for.
    #[inline(always)]
    const fn number(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let bits = (self.buffer >> (64 - size)) as u32;
        self.take(size);
        extend(bits, size)
    }

    /// The next symbol.
    #[inline(always)]
    fn symbol(&mut self, table: &Huffman) -> Option<u8> {
        let (symbol, length) = table.codes[(self.buffer >> (64 - LOOKUP)) as usize];
        if length > 0 {
            self.take(u32::from(length));
            return Some(symbol);
        }
        self.long_symbol(table)
    }

    #[cold]
    fn long_symbol(&mut self, table: &Huffman) -> Option<u8> {
        let next = (self.buffer >> 48) as u32;
        let length = (1..=16).find(|l| next < table.limits[*l].0)?;
        let code = (next >> (16 - length)) as i32;
        self.take(length as u32);
        table.symbols.get((code + table.limits[length].1) as usize).copied()
    }

    /// Decodes a block, dequantized, and returns the place behind its last coefficient, as coded.
    pub(super) fn block(
        &mut self,
        dc: &Huffman,
        ac: &Huffman,
        quantizer: &Quantizer,
        last: &mut i32,
        block: &mut [f32; MAX_BLOCK],
    ) -> Option<usize> {
        self.fill();
        let size = u32::from(self.symbol(dc)?);
        if size > 11 {
            return None;
        }
        *last = last.wrapping_add(self.number(size));
        block[0] = *last as f32 * quantizer.factors[0];
        let mut at = 1;
        let mut end = 1;
        while at < 64 {
            // A code has at most 16 bits, and its number 15.
            if self.count < 32 {
                self.fill();
            }
            let known = ac.coefficients[(self.buffer >> (64 - LOOKUP)) as usize];
            let value = if known.bits() > 0 {
                self.take(known.bits());
                at += known.run();
                known.value()
            } else {
                let symbol = self.symbol(ac)?;
                let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
                if size == 0 {
                    if run < 15 {
                        break;
                    }
                    at += 16;
                    continue;
                }
                at += run;
                self.number(size)
            };
            if at > 63 {
                return None;
            }
            let place = usize::from(ZIGZAG[at] & 63);
            block[place] = value as f32 * quantizer.factors[place];
            at += 1;
            end = at;
        }
        Some(end)
    }
}
