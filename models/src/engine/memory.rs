//! Which buffers hold which values: as few as lifetimes allow, so that they stay in the cache.

use super::plan::{Place, Step};

/// A piece of memory that one or more values share (a value and its views).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Storage(usize);

/// Sizes of storages, and the buffer of each.
#[derive(Debug, Default)]
pub(super) struct Memory {
    sizes: Vec<usize>,
    buffers: Vec<usize>,
    /// Length of each buffer.
    pub(super) lengths: Vec<usize>,
}

impl Memory {
    /// A new storage of a number of elements.
    pub(super) fn storage(&mut self, size: usize) -> Storage {
        self.sizes.push(size);
        Storage(self.sizes.len() - 1)
    }

    /// The buffer of a storage.
    pub(super) fn buffer(&self, storage: Storage) -> usize {
        self.buffers[storage.0]
    }

    /// Gives every storage a buffer that no living value uses. The input has one of its own, as its
    /// padding is written once; outputs live to the end.
    pub(super) fn assign<'a>(
        &mut self,
        input: &Place,
        steps: &[Step],
        outputs: impl Iterator<Item = &'a Place>,
    ) {
        let mut last = vec![0; self.sizes.len()];
        for (at, step) in steps.iter().enumerate() {
            step.inputs.iter().chain([&step.output]).for_each(|p| last[p.storage.0] = at);
        }
        last[input.storage.0] = usize::MAX;
        outputs.for_each(|p| last[p.storage.0] = usize::MAX);

        self.buffers = vec![usize::MAX; self.sizes.len()];
        self.lengths = vec![self.sizes[input.storage.0]];
        self.buffers[input.storage.0] = 0;
        let mut free: Vec<usize> = vec![];
        for (at, step) in steps.iter().enumerate() {
            let size = self.sizes[step.output.storage.0];
            // The smallest free buffer that is large enough, else the largest, grown.
            let best = (0..free.len()).min_by_key(|i| {
                let length = self.lengths[free[*i]];
                (length < size, length.abs_diff(size))
            });
            let buffer = match best {
                Some(i) => free.swap_remove(i),
                None => {
                    self.lengths.push(0);
                    self.lengths.len() - 1
                }
            };
            self.lengths[buffer] = self.lengths[buffer].max(size);
            self.buffers[step.output.storage.0] = buffer;
            for place in step.inputs.iter().chain([&step.output]) {
                let buffer = self.buffers[place.storage.0];
                if last[place.storage.0] == at && !free.contains(&buffer) {
                    free.push(buffer);
                }
            }
        }
    }
}
