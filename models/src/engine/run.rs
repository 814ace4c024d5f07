//! Executes the steps of a plan over its buffers.

use super::{
    kernels::{self, Finish, RowShape, Walk},
    memory::Memory,
    ops,
    plan::{Action, Layout, Pixels, Plan, Step},
    threads::split,
    weights::{Epilogue, NodeWeights},
};
use crate::graph::Window;

/// An input of a step.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) data: &'a [f32],
    pub(super) layout: Layout,
}

impl<'a> View<'a> {
    /// The geometry of pixels; planning never gives a flat value to an action that needs pixels.
    pub(super) fn pixels(&self) -> Result<(&'a [f32], Pixels), String> {
        match self.layout {
            Layout::Pixels(p) => Ok((self.data, p)),
            Layout::Flat(_) => Err("pixels are expected".into()),
        }
    }

    /// The elements of a flat value.
    pub(super) fn flat(&self) -> Result<&'a [f32], String> {
        match self.layout {
            Layout::Flat(n) => Ok(&self.data[..n]),
            Layout::Pixels(_) => Err("a flat value is expected".into()),
        }
    }
}

/// Runs all steps. `buffers` are those of the plan's memory, with the input written.
///
/// # Errors
/// What does not fit, in words; a plan that was made without error runs without.
pub(super) fn run(
    plan: &Plan,
    weights: &[NodeWeights],
    buffers: &mut [Vec<f32>],
    threads: usize,
) -> Result<(), String> {
    plan.steps.iter().try_for_each(|step| run_one(&plan.memory, step, weights, buffers, threads))
}

/// Runs one step.
pub(super) fn run_one(
    memory: &Memory,
    step: &Step,
    weights: &[NodeWeights],
    buffers: &mut [Vec<f32>],
    threads: usize,
) -> Result<(), String> {
    let target = memory.buffer(step.output.storage);
    // The output's buffer is none of the inputs': it is taken out for the time of the step.
    let mut out = std::mem::take(&mut buffers[target]);
    let view = |i: usize| {
        let place = step.inputs.get(i)?;
        Some(View { data: &buffers[memory.buffer(place.storage)], layout: place.layout })
    };
    let result = run_step(step, weights, &view, &mut out, threads);
    buffers[target] = out;
    result
}

fn run_step<'a>(
    step: &Step,
    weights: &[NodeWeights],
    view: &impl Fn(usize) -> Option<View<'a>>,
    out: &mut [f32],
    threads: usize,
) -> Result<(), String> {
    let first = view(0).ok_or("an input is missing")?;
    match (&step.action, &weights[step.node]) {
        (
            Action::Conv { walk: [width, next, row], taps, run, offset },
            NodeWeights::Conv(packed, epilogue),
        ) => {
            let (data, _) = first.pixels()?;
            let residual = view(1).map_or(Ok(&[][..]), |v| v.pixels().map(|(data, _)| data))?;
            let to = output(step)?;
            let walk = Walk { width: *width, step: [*next, *row], taps, run: *run };
            let out = &mut out[..to.height * to.row];
            split(threads, out, to.pitch, 24, |from, part| {
                let residual =
                    residual.get(from * to.pitch..from * to.pitch + part.len()).unwrap_or_default();
                kernels::conv(packed, &data[*offset..], &walk, from, &epilogue.finish(residual), part);
                post(epilogue, part, to);
            });
        }
        (Action::Linear, NodeWeights::Conv(packed, epilogue)) => {
            let data = first.flat()?;
            let walk = Walk { width: 1, step: [0, 0], taps: &[0], run: data.len() };
            let to = match step.output.layout {
                Layout::Flat(n) => Pixels::dense(n, 1, 1, epilogue.channels()),
                Layout::Pixels(p) => p,
            };
            let out = &mut out[..epilogue.channels()];
            kernels::conv(packed, data, &walk, 0, &epilogue.finish(&[]), out);
            post(epilogue, out, to);
        }
        (Action::Depthwise { window }, NodeWeights::Depthwise(packed, epilogue)) => {
            let (data, from) = first.pixels()?;
            let residual = view(1).map_or(Ok(&[][..]), |v| v.pixels().map(|(data, _)| data))?;
            let to = output(step)?;
            let shape = row_shape(from.width, from.pitch, window);
            split(threads, &mut out[..to.height * to.row], to.row, 4, |first, part| {
                for (y, line) in part.chunks_exact_mut(to.row).enumerate() {
                    let y = first + y;
                    let rows =
                        Rows::new(window, y, from.height, |r| &data[from.start + r * from.row..][..from.row]);
                    let residual = residual.get(y * to.row..(y + 1) * to.row).unwrap_or_default();
                    kernels::depthwise_row(packed, rows.get(), &shape, &epilogue.finish(residual), line);
                    post(epilogue, line, to);
                }
            });
        }
        (Action::PointwiseDepthwise { second, middle, window }, _) => {
            fused(step, weights, *second, *middle, window, first, out, threads)?;
        }
        (_, own) => ops::run(step, own, view, out)?,
    }
    Ok(())
}

/// The output's pixels.
fn output(step: &Step) -> Result<Pixels, String> {
    match step.output.layout {
        Layout::Pixels(p) => Ok(p),
        Layout::Flat(_) => Err("pixels are expected".into()),
    }
}

/// Applies an activation that the kernels do not have.
fn post(epilogue: &Epilogue, out: &mut [f32], to: Pixels) {
    if let Some(activation) = &epilogue.post {
        out.chunks_exact_mut(to.pitch).for_each(|pixel| activation.pixel(&mut pixel[..to.channels]));
    }
}

const fn row_shape(width: usize, pitch: usize, window: &Window) -> RowShape {
    RowShape { width, pitch, stride: window.stride[1], pad_left: window.pads[1] }
}

/// Highest kernel of a depthwise convolution without an allocation per row.
pub(super) const MAX_ROWS: usize = 16;

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

/// Pointwise, then depthwise, over a rolling window of rows.
#[expect(clippy::too_many_arguments, reason = "the parts of one step")]
fn fused(
    step: &Step,
    weights: &[NodeWeights],
    second: usize,
    middle: usize,
    window: &Window,
    input: View<'_>,
    out: &mut [f32],
    threads: usize,
) -> Result<(), String> {
    let (NodeWeights::Conv(pointwise, before), NodeWeights::Depthwise(depthwise, after)) =
        (&weights[step.node], &weights[second])
    else {
        return Err("a pointwise and a depthwise convolution are expected".into());
    };
    let (data, from) = input.pixels()?;
    let to = output(step)?;
    let shape = row_shape(from.width, middle, window);
    let line = from.width * middle;
    let height = window.kernel[0];
    let finish: Finish<'_> = before.finish(&[]);
    split(threads, &mut out[..to.height * to.row], to.row, 4, |first, part| {
        super::threads::scratch(height * line, |ring| {
            // Rows of the middle value that are in the ring end before this one.
            let mut done = (first * window.stride[0]).saturating_sub(window.pads[0]);
            for (y, out) in part.chunks_exact_mut(to.row).enumerate() {
                let y = first + y;
                let end = (y * window.stride[0] + height).saturating_sub(window.pads[0]).min(from.height);
                while done < end {
                    let walk =
                        Walk { width: from.width, step: [from.pitch, 0], taps: &[0], run: from.channels };
                    let row = &mut ring[(done % height) * line..][..line];
                    kernels::conv(pointwise, &data[from.start + done * from.row..], &walk, 0, &finish, row);
                    done += 1;
                }
                let ring = &*ring;
                let rows = Rows::new(window, y, from.height, |r| &ring[(r % height) * line..][..line]);
                kernels::depthwise_row(depthwise, rows.get(), &shape, &after.finish(&[]), out);
                post(after, out, to);
            }
        });
    });
    Ok(())
}
