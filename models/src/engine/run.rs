//! Executes the steps of a plan over its buffers.

use super::{
    aligned::Aligned,
    chain::Chain,
    kernels::{self, Isa, Padded, Walk},
    memory::Memory,
    ops,
    plan::{Action, Layout, Pixels, Plan, Reach, Step},
    threads::{scratch, split},
    weights::{Epilogue, NodeWeights},
};

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
    buffers: &mut [Aligned],
    isa: Isa,
    threads: usize,
) -> Result<(), String> {
    plan.steps.iter().try_for_each(|step| run_one(&plan.memory, step, weights, buffers, isa, threads))
}

/// Runs one step.
pub(super) fn run_one(
    memory: &Memory,
    step: &Step,
    weights: &[NodeWeights],
    buffers: &mut [Aligned],
    isa: Isa,
    threads: usize,
) -> Result<(), String> {
    let target = memory.buffer(step.output.storage);
    // The output's buffer is none of the inputs': it is taken out for the time of the step.
    let mut out = std::mem::take(&mut buffers[target]);
    let view = |i: usize| {
        let place = step.inputs.get(i)?;
        Some(View { data: &buffers[memory.buffer(place.storage)], layout: place.layout })
    };
    let result = run_step(step, weights, &view, &mut out, isa, threads);
    buffers[target] = out;
    result
}

fn run_step<'a>(
    step: &Step,
    weights: &[NodeWeights],
    view: &impl Fn(usize) -> Option<View<'a>>,
    out: &mut [f32],
    isa: Isa,
    threads: usize,
) -> Result<(), String> {
    let first = view(0).ok_or("an input is missing")?;
    match (&step.action, &weights[step.node]) {
        (Action::Conv(reach), NodeWeights::Conv(packed, epilogue, _)) => {
            let (data, _) = first.pixels()?;
            let residual = residual(view(1))?;
            let to = output(step)?;
            split(threads, &mut out[..to.height * to.row], to.pitch, 24, |from, part| {
                let residual =
                    residual.get(from * to.pitch..from * to.pitch + part.len()).unwrap_or_default();
                let data = &data[reach.offset..];
                kernels::conv(packed, data, &walk(reach), from, &epilogue.finish(residual), part);
                post(epilogue, part, to);
            });
        }
        (Action::Winograd { form, from, offset }, NodeWeights::Conv(_, epilogue, Some(squares))) => {
            let (data, _) = first.pixels()?;
            let residual = residual(view(1))?;
            let (to, packed) = (output(step)?, squares.get(*form));
            let Pixels { height, width, pitch, row, .. } = *from;
            let map = Padded { data: &data[*offset..], height, width, pitch, row };
            let unit = form.outputs() * to.row;
            split(threads, &mut out[..to.height * to.row], unit, 2, |at, part| {
                let residual = residual.get(at * unit..at * unit + part.len()).unwrap_or_default();
                let first = at * form.outputs();
                scratch(packed.memory(), |memory| {
                    kernels::winograd(packed, &map, first, &epilogue.finish(residual), memory, part);
                });
                post(epilogue, part, to);
            });
        }
        (Action::Chain(stages), _) => {
            let (data, _) = first.pixels()?;
            let chain = Chain::new(stages, weights, data, residual(view(1))?, isa)?;
            chain.run(&mut out[..], threads);
        }
        (Action::Linear, NodeWeights::Conv(packed, epilogue, _)) => {
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
pub(super) fn post(epilogue: &Epilogue, out: &mut [f32], to: Pixels) {
    if let Some(activation) = &epilogue.post {
        out.chunks_exact_mut(to.pitch).for_each(|pixel| activation.pixel(&mut pixel[..to.channels]));
    }
}

/// The walk of a convolution over the value in memory.
pub(super) fn walk(reach: &Reach) -> Walk<'_> {
    let [width, next, row] = reach.walk;
    Walk { width, step: [next, row], taps: &reach.taps, run: reach.run }
}

/// The elements that are added; none where there is no such input.
fn residual(view: Option<View<'_>>) -> Result<&[f32], String> {
    view.map_or(Ok(&[]), |v| v.pixels().map(|(data, _)| data))
}
