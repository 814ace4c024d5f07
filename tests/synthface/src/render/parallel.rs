//! Rows of a picture on all processors.

use std::sync::Mutex;
use std::thread;

/// Calls `work` with the number and the pixels of every row. Rows go to whichever thread is free; what
/// is written does not depend on the number of threads.
pub(crate) fn for_each_row<T, F>(pixels: &mut [T], width: usize, work: F)
where
    T: Send,
    F: Fn(usize, &mut [T]) + Sync,
{
    if width == 0 {
        return;
    }
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    let rows = Mutex::new(pixels.chunks_mut(width).enumerate());
    let drain = || {
        loop {
            // A poisoned lock means that another row panicked; the scope will pass that panic on.
            let next = rows.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
            let Some((y, row)) = next else { break };
            work(y, row);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(drain);
        }
        drain();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once() {
        let mut pixels = vec![0u32; 7 * 13];
        for_each_row(&mut pixels, 7, |y, row| row.iter_mut().for_each(|p| *p += y as u32 + 1));
        assert!(pixels.iter().enumerate().all(|(i, p)| *p == (i / 7) as u32 + 1));
    }
}
