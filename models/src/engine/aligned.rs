//! Memory for vectors.

use std::ops::{Deref, DerefMut};

/// A cache line, and the longest register: a load that crosses two lines costs two.
const LINE: usize = 64;

/// Zeros that begin with a cache line.
#[derive(Debug, Default)]
pub(super) struct Aligned {
    memory: Vec<f32>,
    start: usize,
    length: usize,
}

impl Aligned {
    pub(super) fn zeros(length: usize) -> Self {
        let memory = vec![0.0; length + LINE / size_of::<f32>()];
        // The optimiser's interpreter may say that it can't be aligned, which costs speed only.
        let start = memory.as_ptr().align_offset(LINE).min(memory.len() - length);
        Self { memory, start, length }
    }

    /// At least so long; all zeros if it had to grow.
    pub(super) fn reserve(&mut self, length: usize) {
        if self.length < length {
            // Never both at once.
            *self = Self::default();
            *self = Self::zeros(length);
        }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.start..][..self.length]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..][..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_with_a_line() {
        let mut buffer = Aligned::default();
        for length in [1, 100, 40_000] {
            buffer.reserve(length);
            assert_eq!((buffer.len(), buffer.as_ptr().align_offset(LINE)), (length, 0));
            assert!(buffer.iter().all(|v| *v == 0.0));
            buffer.fill(1.0);
        }
        buffer.reserve(10);
        assert_eq!(buffer.len(), 40_000);
    }
}
