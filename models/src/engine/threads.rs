//! Work on several threads, and buffers that belong to a thread.

use std::cell::RefCell;

use rayon::prelude::*;

use super::aligned::Aligned;

/// Cuts `out` into equal parts of whole units, one a thread, none with fewer than `grain` units,
/// and calls `work` with each part and the index of its first unit.
pub(super) fn split(
    threads: usize,
    out: &mut [f32],
    unit: usize,
    grain: usize,
    work: impl Fn(usize, &mut [f32]) + Sync,
) {
    let units = out.len() / unit.max(1);
    let parts = threads.min(units / grain.max(1)).max(1);
    if parts == 1 {
        work(0, out);
        return;
    }
    let per_part = units.div_ceil(parts);
    out.par_chunks_mut(per_part * unit)
        .with_max_len(1)
        .enumerate()
        .for_each(|(part, out)| work(part * per_part, out));
}

/// Lends a buffer of the thread; what is in it is left from before.
pub(super) fn scratch(length: usize, work: impl FnOnce(&mut [f32])) {
    thread_local!(static BUFFER: RefCell<Aligned> = RefCell::default());
    // Taken out, so that work that lends again gets a buffer of its own.
    let mut buffer = BUFFER.take();
    buffer.reserve(length);
    work(&mut buffer[..length]);
    BUFFER.set(buffer);
}
