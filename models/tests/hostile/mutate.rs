//! Changed copies of sound files.

/// Numbers at which sizes overflow or wrap.
const NUMBERS: [&str; 10] = [
    "0",
    "1",
    "-1",
    "255",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "1e39",
];

/// Makes changed copies, the same ones for the same first number.
pub(crate) struct Mutator<'a> {
    state: u64,
    seeds: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    pub(crate) fn new(first: u64, seeds: &'a [Vec<u8>]) -> Self {
        Self { state: first, seeds }
    }

    /// A number below `most` (SplitMix64).
    fn below(&mut self, most: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % most.max(1) as u64) as usize
    }

    /// The next changed copy.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let which = self.below(self.seeds.len());
        let mut bytes = self.seeds[which].clone();
        for _ in 0..1 + self.below(4) {
            self.change(&mut bytes);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let length = self.below(9).min(bytes.len() - at);
        match self.below(8) {
            0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            2 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff][self.below(6)],
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let copy = bytes[at..at + length].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            5 if self.below(4) == 0 => bytes.truncate(at),
            6 => {
                let other = self.below(self.seeds.len());
                let from = self.below(self.seeds[other].len());
                let end = (from + length).min(self.seeds[other].len());
                bytes.splice(at..at + length, self.seeds[other][from..end].iter().copied());
            }
            _ => self.number(bytes, at),
        }
    }

    /// Replaces the next written number.
    fn number(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let Some(start) = bytes.iter().skip(at).position(u8::is_ascii_digit).map(|p| p + at) else { return };
        let end = bytes[start..].iter().position(|b| !b.is_ascii_digit()).map_or(bytes.len(), |p| p + start);
        let number = NUMBERS[self.below(NUMBERS.len())];
        bytes.splice(start..end, number.bytes());
    }
}
