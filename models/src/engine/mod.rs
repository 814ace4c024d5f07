//! The fast executor: channels-last kernels over reused buffers.
//!
//! A network is packed once for the machine's best instruction set and planned once for each input
//! size; a run then allocates nothing.

mod aligned;
mod chain;
mod kernels;
mod memory;
mod merge;
mod ops;
mod plan;
mod run;
mod threads;
mod weights;

use self::{
    aligned::Aligned,
    kernels::Isa,
    plan::{Layout, Plan},
    weights::NodeWeights,
};
use crate::graph::{Graph, Params};

/// Plans that are kept: pictures of a camera have one size, photographs several.
const MAX_PLANS: usize = 8;

/// An executor of one network.
pub(crate) struct Engine {
    graph: Graph,
    params: Params,
    isa: Isa,
    threads: usize,
    weights: Vec<NodeWeights>,
    /// The most recently used last.
    plans: Vec<Plan>,
    buffers: Vec<Aligned>,
}

/// Where an input's pixels are written: channels together, rows apart by `row` elements.
pub(crate) struct InputView<'a> {
    data: &'a mut [f32],
    start: usize,
    row: usize,
    width: usize,
    /// Factor and summand for each channel.
    affine: [[f32; 2]; 3],
}

impl InputView<'_> {
    /// Writes a row of pixels from the left.
    pub(crate) fn row(&mut self, row: usize, pixels: impl Iterator<Item = [f32; 3]>) {
        let start = self.start + row * self.row;
        let [red, green, blue] = self.affine;
        let Some(line) = self.data.get_mut(start..start + self.width * 3) else { return };
        for (to, [r, g, b]) in line.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
            *to = [r * red[0] + red[1], g * green[0] + green[1], b * blue[0] + blue[1]];
        }
    }
}

/// One output of the last run.
pub(crate) struct OutputView<'a> {
    dims: &'a [usize],
    data: &'a [f32],
    layout: Layout,
}

impl OutputView<'_> {
    /// Appends the elements with the channels of an image together; other outputs as they are.
    pub(crate) fn append_channels_last(&self, to: &mut Vec<f32>) {
        match (self.layout, self.dims) {
            (Layout::Pixels(p), _) => {
                for row in 0..p.height {
                    for column in 0..p.width {
                        let start = p.start + row * p.row + column * p.pitch;
                        to.extend_from_slice(&self.data[start..][..p.channels]);
                    }
                }
            }
            // What was transposed or reshaped to four dimensions lies in row-major order.
            (Layout::Flat(_), [_, channels, height, width]) => {
                let plane = height * width;
                to.extend((0..plane * channels).map(|i| self.data[i % channels * plane + i / channels]));
            }
            (Layout::Flat(n), _) => to.extend_from_slice(&self.data[..n]),
        }
    }
}

impl Engine {
    /// Packs a network for this machine.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub(crate) fn new(graph: Graph, params: Params) -> Result<Self, String> {
        Self::with_isa(graph, params, Isa::detect())
    }

    fn with_isa(graph: Graph, params: Params, isa: Isa) -> Result<Self, String> {
        graph.check()?;
        let (graph, params) = merge::merge(graph, params);
        let weights = weights::pack(&graph, &params, isa)?;
        Ok(Self { graph, params, isa, threads: 1, weights, plans: vec![], buffers: vec![] })
    }

    /// Says how many threads of the surrounding pool a run may use.
    pub(crate) fn set_threads(&mut self, threads: usize) {
        self.threads = threads;
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(crate) fn params(&self) -> &Params {
        &self.params
    }

    /// Makes ready for an input of `[C, H, W]` and lends the memory in which it is to be written.
    /// All of it must be written; what was there before is left.
    ///
    /// # Errors
    /// The node that can't run on such an input, in words.
    pub(crate) fn input(&mut self, size: [usize; 3]) -> Result<InputView<'_>, String> {
        let known = self.plans.iter().position(|p| p.size == size);
        let changed = known.is_none_or(|at| at + 1 != self.plans.len());
        let plan = match known {
            Some(at) => self.plans.remove(at),
            None => plan::plan(&self.graph, &self.params, &self.weights, self.isa, size)?,
        };
        if self.plans.len() == MAX_PLANS {
            self.plans.remove(0);
        }
        self.buffers.resize_with(self.buffers.len().max(plan.memory.lengths.len()), Aligned::default);
        for (buffer, length) in self.buffers.iter_mut().zip(&plan.memory.lengths) {
            buffer.reserve(*length);
        }
        let buffer = plan.memory.buffer(plan.input.storage);
        if changed {
            // The padding around the input is written once.
            self.buffers[buffer].fill(0.0);
        }
        let Layout::Pixels(p) = plan.input.layout else { return Err("the input is no image".into()) };
        let affine = match plan.input_affine.map(|node| &self.weights[node]) {
            Some(NodeWeights::Affine(scale, bias, _)) => {
                let one = |v: &[f32], i: usize| v[if v.len() == 1 { 0 } else { i.min(v.len() - 1) }];
                std::array::from_fn(|i| [one(scale, i), one(bias, i)])
            }
            _ => [[1.0, 0.0]; 3],
        };
        self.plans.push(plan);
        Ok(InputView { data: &mut self.buffers[buffer], start: p.start, row: p.row, width: p.width, affine })
    }

    /// Runs on the input that was written last.
    ///
    /// # Errors
    /// Where no input was written.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let plan = self.plans.last().ok_or("there is no input")?;
        run::run(plan, &self.weights, &mut self.buffers, self.isa, self.threads)
    }

    /// An output of the last run, by its position in the graph.
    pub(crate) fn output(&self, at: usize) -> Option<OutputView<'_>> {
        let plan = self.plans.last()?;
        let (place, dims) = plan.outputs.get(at)?;
        let data = &self.buffers[plan.memory.buffer(place.storage)];
        Some(OutputView { dims, data, layout: place.layout })
    }
}
