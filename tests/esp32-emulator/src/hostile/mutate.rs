/// A small generator of numbers that only depend on the seed (SplitMix64, Steele and others 2014).
#[derive(Debug, Clone)]
pub struct SeededRandom(u64);

impl SeededRandom {
    /// The same seed throws the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next of all 64-bit numbers.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The remainder is not quite even, which does not matter to a mutation.
        usize::try_from(self.next_number() % (bound.max(1) as u64)).unwrap_or(0)
    }
}

/// Bytes that parsers trip over: ends of number ranges, ends of lines, starts of JPEG segments.
const AWKWARD: [&[u8]; 12] = [
    b"\x00",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\r\n",
    b"\r\n\r\n",
    b"99999999999999999999",
    b"-1",
    b"\xff\xc0\x00\x11\x08\xff\xff\xff\xff",
    b"\xff\xd8\xff\xd9",
];

/// Damages bytes in one to four places. What comes out is at most a quarter and 1 kB longer than what went in.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut SeededRandom) {
    let longest = bytes.len() + bytes.len() / 4 + 1024;
    for _ in 0..=random.below(4) {
        let at = place(bytes.len(), random);
        match random.below(8) {
            0 => flip(bytes, at, random),
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next_number().to_le_bytes()[0];
                }
            }
            2 => bytes.truncate(at),
            3 => {
                let end = (at + 1 + random.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let end = (at + 1 + random.below(64)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = place(bytes.len(), random);
                bytes.splice(to..to, copy);
            }
            5 => {
                let noise: Vec<u8> =
                    (0..1 + random.below(32)).map(|_| random.next_number().to_le_bytes()[0]).collect();
                bytes.splice(at..at, noise);
            }
            6 => {
                let awkward = AWKWARD[random.below(AWKWARD.len())];
                let end = (at + awkward.len()).min(bytes.len());
                bytes.splice(at..end, awkward.iter().copied());
            }
            _ => {
                let awkward = AWKWARD[random.below(AWKWARD.len())];
                bytes.splice(at..at, awkward.iter().copied());
            }
        }
    }
    bytes.truncate(longest);
}

fn flip(bytes: &mut [u8], at: usize, random: &mut SeededRandom) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

/// A place in so many bytes: half of the time near the front, where the structure is.
fn place(length: usize, random: &mut SeededRandom) -> usize {
    if random.below(2) == 0 { random.below(length.min(256)) } else { random.below(length) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn mutations_are_bounded_and_repeatable(bytes in prop::collection::vec(any::<u8>(), 0..3000), seed: u64) {
            let (mut one, mut two) = (bytes.clone(), bytes.clone());
            mutate(&mut one, &mut SeededRandom::new(seed));
            mutate(&mut two, &mut SeededRandom::new(seed));
            prop_assert_eq!(&one, &two);
            prop_assert!(one.len() <= bytes.len() + bytes.len() / 4 + 1024);
        }
    }

    #[test]
    fn most_mutations_change_something() {
        let bytes: Vec<u8> = (0..=255).collect();
        let changed = (0..1000).filter(|seed| {
            let mut mutated = bytes.clone();
            mutate(&mut mutated, &mut SeededRandom::new(*seed));
            mutated != bytes
        });
        assert!(changed.count() > 990);
    }
}
