//! Huffman codes and bits of a JPEG's entropy-coded data (ITU-T T.81, annex F).

/// Bits that one look into the table resolves; longer codes are rare.
const LOOKUP_BITS: u32 = 11;

/// Coefficients that are passed over at once.
#[derive(Debug, Clone, Copy, Default)]
struct Stride {
    /// Of their codes and values; 0 where not even one is known.
    bits: u8,
    coefficients: u8,
    /// The last of them ends the block.
    ends: bool,
}

/// A Huffman table (T.81, annex C), with what speeds its look-up up.
#[derive(Debug, Clone)]
pub(super) struct HuffmanTable {
    /// Length and symbol by the next [`LOOKUP_BITS`] bits; length 0 for longer codes.
    short: Vec<(u8, u8)>,
    /// By the next [`LOOKUP_BITS`] bits, for tables of AC coefficients.
    strides: Vec<Stride>,
    /// By length 1 to 16: the first code that is too large, left-aligned to 16 bits.
    limits: [u32; 17],
    /// By length: symbol index minus code.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl HuffmanTable {
    /// Builds a table from the number of codes of each length 1 to 16 and their symbols; `None`
    /// where the lengths are no prefix code.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            short: vec![(0, 0); 1 << LOOKUP_BITS],
            strides: vec![],
            limits: [0; 17],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut index) = (0_u32, 0_usize);
        for length in 1..=16_u32 {
            let count = usize::from(counts[length as usize - 1]);
            table.offsets[length as usize] = i32::try_from(index).ok()? - i32::try_from(code).ok()?;
            for symbol in symbols.get(index..index + count)? {
                if length <= LOOKUP_BITS {
                    let from = (code << (LOOKUP_BITS - length)) as usize;
                    let same = table.short.get_mut(from..from + (1 << (LOOKUP_BITS - length)))?;
                    same.fill((length as u8, *symbol));
                }
                code += 1;
            }
            index += count;
            if code > 1 << length {
                return None;
            }
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        (index == symbols.len()).then_some(table)
    }

    /// A table of AC coefficients, which are passed over.
    pub(super) fn of_coefficients(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self::new(counts, symbols)?;
        table.strides = (0..1_usize << LOOKUP_BITS).map(|bits| table.stride(bits)).collect();
        Some(table)
    }

    /// As many whole coefficients as these bits have.
    fn stride(&self, look: usize) -> Stride {
        let mut stride = Stride::default();
        while !stride.ends {
            let rest = look << stride.bits & ((1 << LOOKUP_BITS) - 1);
            let (length, symbol) = self.short[rest];
            let bits = stride.bits + length + (symbol & 15);
            if length == 0 || u32::from(bits) > LOOKUP_BITS {
                break;
            }
            stride.bits = bits;
            match symbol {
                0xF0 => stride.coefficients += 16,
                _ if symbol & 15 == 0 => stride.ends = true,
                _ => stride.coefficients += (symbol >> 4) + 1,
            }
        }
        stride
    }
}

/// Reads bits up to the next marker.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    data: &'a [u8],
    position: usize,
    buffer: u64,
    filled: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0, buffer: 0, filled: 0 }
    }

    /// Makes at least 32 bits available if there are that many before the next marker.
    #[inline]
    fn fill(&mut self) {
        // As many bytes as there is room for at once, where none of the next eight is an FF: a byte of
        // the complement is zero only where the subtraction borrows into a bit that was clear.
        if let Some(next) = self.data.get(self.position..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_be_bytes(*next);
            if (!word).wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080 == 0 {
                let bytes = (64 - self.filled) / 8;
                self.buffer |= word >> self.filled;
                self.filled += 8 * bytes;
                self.buffer &= u64::MAX << (64 - self.filled);
                self.position += bytes as usize;
                return;
            }
        }
        self.fill_by_bytes();
    }

    #[cold]
    fn fill_by_bytes(&mut self) {
        while self.filled <= 56 {
            let Some(byte) = self.data.get(self.position).copied() else { return };
            if byte == 0xFF {
                // A stuffed zero makes FF a data byte; anything else is a marker.
                if self.data.get(self.position + 1) != Some(&0) {
                    return;
                }
                self.position += 1;
            }
            self.position += 1;
            self.buffer |= u64::from(byte) << (56 - self.filled);
            self.filled += 8;
        }
    }

    /// The next `count` bits, at most 16; `None` past the end.
    fn take(&mut self, count: u32) -> Option<u32> {
        if count == 0 {
            return Some(0);
        }
        if self.filled < count {
            self.fill();
        }
        let value = (self.buffer >> (64 - count)) as u32;
        self.skip(count)?;
        Some(value)
    }

    fn skip(&mut self, count: u32) -> Option<()> {
        self.filled = self.filled.checked_sub(count)?;
        self.buffer <<= count;
        Some(())
    }

    /// The next symbol; `None` past the end or where no code fits.
    fn symbol(&mut self, table: &HuffmanTable) -> Option<u8> {
        if self.filled < 16 {
            self.fill();
        }
        let (length, symbol) = table.short[(self.buffer >> (64 - LOOKUP_BITS)) as usize];
        if length > 0 {
            self.skip(length.into())?;
            return Some(symbol);
        }
        let next = (self.buffer >> 48) as u32;
        let length = (LOOKUP_BITS + 1..=16).find(|length| next < table.limits[*length as usize])?;
        self.skip(length)?;
        let code = i32::try_from(next >> (16 - length)).ok()?;
        let index = usize::try_from(code + table.offsets[length as usize]).ok()?;
        table.symbols.get(index).copied()
    }

    /// The difference of a block's first coefficient to the one before; `None` past the end or where
    /// no code fits.
    #[inline]
    pub(super) fn difference(&mut self, table: &HuffmanTable) -> Option<i32> {
        let size = u32::from(self.symbol(table)?);
        if size > 16 {
            return None;
        }
        let raw = i32::try_from(self.take(size)?).ok()?;
        // Values whose first bit is 0 are the negative ones (T.81, F.2.2.1).
        Some(if size > 0 && raw < 1 << (size - 1) { raw + 1 - (1 << size) } else { raw })
    }

    /// Passes over the coefficients of a block after its first; `None` past the end or where no code
    /// fits.
    #[inline]
    pub(super) fn skip_coefficients(&mut self, table: &HuffmanTable) -> Option<()> {
        let mut index = 1;
        while index < 64 {
            if self.filled < 32 {
                self.fill();
            }
            let stride = table.strides[(self.buffer >> (64 - LOOKUP_BITS)) as usize];
            // The block may be full before the stride is over: what follows is another block's then.
            if stride.bits > 0 && index + usize::from(stride.coefficients) < 64 {
                self.skip(stride.bits.into())?;
                index += usize::from(stride.coefficients);
                if stride.ends {
                    return Some(());
                }
                continue;
            }
            let symbol = self.symbol(table)?;
            match (symbol >> 4, u32::from(symbol & 15)) {
                (15, 0) => index += 16,
                (_, 0) => return Some(()),
                (run, size) => {
                    self.take(size)?;
                    index += usize::from(run) + 1;
                }
            }
        }
        Some(())
    }

    /// Drops the rest of the byte and goes on after the restart marker that has to come now.
    pub(super) fn restart(&mut self) -> Option<()> {
        // Everything up to the marker was filled in already, less than eight bytes before it.
        (self.buffer, self.filled) = (0, 0);
        let rest = self.data.get(self.position..)?;
        let marker = rest.windows(2).position(|pair| pair[0] == 0xFF && pair[1] != 0 && pair[1] != 0xFF)?;
        if !(0xD0..=0xD7).contains(&rest[marker + 1]) {
            return None;
        }
        self.position += marker + 2;
        Some(())
    }
}
