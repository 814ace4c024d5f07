//! Runs a chain: each stage makes a row when the next one needs it, and keeps as many rows as that one
//! reads at once. Values between stages, often the largest of a network, then stay in the cache.

use super::{
    kernels::{self, Isa, PoolRow, RowShape, Walk},
    plan::{Stage, Work},
    run::{post, walk},
    threads::{scratch, split},
    weights::NodeWeights,
};
use crate::graph::Window;

/// Most stages of a chain.
pub(super) const MAX_STAGES: usize = 12;

/// Highest window that reads rows.
pub(super) const MAX_ROWS: usize = 16;

/// A chain with what it reads.
pub(super) struct Chain<'a> {
    stages: &'a [Stage],
    weights: &'a [NodeWeights],
    data: &'a [f32],
    residual: &'a [f32],
    isa: Isa,
    /// Where each stage's rows begin in the memory of a thread.
    rings: [usize; MAX_STAGES],
    /// Elements of that memory.
    size: usize,
}

impl<'a> Chain<'a> {
    /// # Errors
    /// Stages that do not fit their weights, in words; a plan has none.
    pub(super) fn new(
        stages: &'a [Stage],
        weights: &'a [NodeWeights],
        data: &'a [f32],
        residual: &'a [f32],
        isa: Isa,
    ) -> Result<Self, String> {
        let mut rings = [0; MAX_STAGES];
        let mut size = 0;
        for (at, stage) in stages.iter().enumerate() {
            let fits = match (&stage.work, &weights[stage.node]) {
                (Work::Conv(_), NodeWeights::Conv(..)) => at == 0,
                (Work::Pointwise, NodeWeights::Conv(..)) => at > 0,
                (Work::Depthwise, NodeWeights::Depthwise(..)) | (Work::Pool(_), _) => {
                    stage.window.kernel[0] <= MAX_ROWS
                }
                _ => false,
            };
            if !fits || at >= MAX_STAGES {
                return Err("the stages of a chain do not fit".into());
            }
            rings[at] = size;
            // The last stage's rows go to the output.
            size += stages.get(at + 1).map_or(0, |next| next.window.kernel[0] * stage.to.row);
        }
        Ok(Self { stages, weights, data, residual, isa, rings, size })
    }

    /// Makes all rows of the last stage.
    pub(super) fn run(&self, out: &mut [f32], threads: usize) {
        let Some(last) = self.stages.last() else { return };
        let row = last.to.row;
        split(threads, &mut out[..last.to.height * row], row, 4, |first, part| {
            scratch(self.size, |memory| {
                let mut done = self.starts(first);
                for (y, line) in part.chunks_exact_mut(row).enumerate() {
                    self.make(self.stages.len() - 1, first + y, line, memory, &mut done);
                }
            });
        });
    }

    /// The first row that each stage must make for the last one's row `first`.
    fn starts(&self, first: usize) -> [usize; MAX_STAGES] {
        let mut starts = [first; MAX_STAGES];
        for (at, stage) in self.stages.iter().enumerate().skip(1).rev() {
            starts[at - 1] = (starts[at] * stage.window.stride[0]).saturating_sub(stage.window.pads[0]);
        }
        starts
    }

    /// Makes row `y` of a stage, after the rows of the stage before that it needs.
    fn make(&self, at: usize, y: usize, out: &mut [f32], memory: &mut [f32], done: &mut [usize; MAX_STAGES]) {
        let stage = &self.stages[at];
        let Window { kernel: [height, _], stride: [stride, _], pads: [pad, ..] } = stage.window;
        if at == 0 {
            let row = stage.from.row;
            return self.compute(stage, y, |r| &self.data[stage.from.start + r * row..][..row], out);
        }
        let row = stage.from.row;
        let end = (y * stride + height).saturating_sub(pad).min(stage.from.height);
        while done[at - 1] < end {
            let next = done[at - 1];
            // Rings lie in the order of the stages: what a row is made of is before it.
            let (before, ring) = memory.split_at_mut(self.rings[at - 1]);
            self.make(at - 1, next, &mut ring[next % height * row..][..row], before, done);
            done[at - 1] = next + 1;
        }
        let ring = &memory[self.rings[at - 1]..];
        self.compute(stage, y, |r| &ring[r % height * row..][..row], out);
    }

    /// Computes row `y` of a stage from the rows that `row` lends.
    fn compute<'b>(&self, stage: &Stage, y: usize, row: impl Fn(usize) -> &'b [f32], out: &mut [f32]) {
        let Stage { window, from, to, .. } = stage;
        let residual = match self.stages.last() {
            Some(last) if last.node == stage.node => self.residual.get(y * to.row..(y + 1) * to.row),
            _ => None,
        };
        let residual = residual.unwrap_or_default();
        match (&stage.work, &self.weights[stage.node]) {
            (Work::Conv(reach), NodeWeights::Conv(packed, epilogue, _)) => {
                let data = &self.data[reach.offset..];
                kernels::conv(packed, data, &walk(reach), y * to.width, &epilogue.finish(residual), out);
                post(epilogue, out, *to);
            }
            (Work::Pointwise, NodeWeights::Conv(packed, epilogue, _)) => {
                let walk = Walk { width: to.width, step: [from.pitch, 0], taps: &[0], run: from.channels };
                kernels::conv(packed, row(y), &walk, 0, &epilogue.finish(residual), out);
                post(epilogue, out, *to);
            }
            (Work::Depthwise, NodeWeights::Depthwise(packed, epilogue)) => {
                let rows = Rows::new(window, y, from.height, row);
                let shape = RowShape {
                    width: from.width,
                    pitch: from.pitch,
                    stride: window.stride[1],
                    pad_left: window.pads[1],
                };
                kernels::depthwise_row(packed, rows.get(), &shape, &epilogue.finish(residual), out);
                post(epilogue, out, *to);
            }
            (Work::Pool(pooling), _) => {
                let rows = Rows::new(window, y, from.height, row);
                let start = y * window.stride[0];
                let end = (start + window.kernel[0]).min(from.height + window.pads[0] + window.pads[2]);
                let shape = PoolRow {
                    tall: end - start,
                    width: from.width,
                    pad_left: window.pads[1],
                    pads: window.pads[1] + window.pads[3],
                    columns: window.kernel[1],
                    stride: window.stride[1],
                    pitch: from.pitch,
                };
                kernels::pool_row(self.isa, *pooling, rows.get(), &shape, out);
            }
            // `new` refused all others.
            _ => {}
        }
    }
}

/// The input rows of one output row; rows in the padding are empty.
struct Rows<'a> {
    rows: [&'a [f32]; MAX_ROWS],
    count: usize,
}

impl<'a> Rows<'a> {
    fn new(window: &Window, y: usize, height: usize, row: impl Fn(usize) -> &'a [f32]) -> Self {
        let mut rows: [&[f32]; MAX_ROWS] = [&[]; MAX_ROWS];
        let count = window.kernel[0].min(MAX_ROWS);
        for (k, slot) in rows[..count].iter_mut().enumerate() {
            match (y * window.stride[0] + k).checked_sub(window.pads[0]) {
                Some(r) if r < height => *slot = row(r),
                _ => {}
            }
        }
        Self { rows, count }
    }

    fn get(&self) -> &[&'a [f32]] {
        &self.rows[..self.count]
    }
}
