//! What is computed where: the layout of every value and the steps of a run, for one input size.

mod chain;
mod convolution;
mod layout;
mod nodes;

use super::{
    kernels::{Form, Isa, Pooling},
    memory::{Memory, Storage},
    weights::NodeWeights,
};
use crate::{
    graph::{Coordinates, Graph, Params, Window},
    shapes::{self, Shape},
};

/// Most elements of all buffers together: 1 GiB of f32.
const MAX_ELEMENTS: usize = 1 << 28;

/// Channels-last pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pixels {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Elements from one pixel to the next.
    pub(super) pitch: usize,
    /// Elements before the first channel of the first pixel.
    pub(super) start: usize,
    /// Elements from one row to the next.
    pub(super) row: usize,
}

impl Pixels {
    /// Pixels without gaps between rows.
    pub(super) const fn dense(channels: usize, height: usize, width: usize, pitch: usize) -> Self {
        Self { channels, height, width, pitch, start: 0, row: width * pitch }
    }
}

/// How a value lies in its storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Pixels(Pixels),
    /// Row-major in the order of its dimensions.
    Flat(usize),
}

/// Where a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) storage: Storage,
    pub(super) layout: Layout,
}

/// One step of a run.
#[derive(Debug)]
pub(super) struct Step {
    /// Index of the node whose weights are used.
    pub(super) node: usize,
    pub(super) action: Action,
    pub(super) inputs: Vec<Place>,
    pub(super) output: Place,
}

/// What a convolution reads, as the kernel's walk says it.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    /// Output pixels in a row, and elements from one's input to the next one's, in a row and from
    /// row to row.
    pub(super) walk: [usize; 3],
    pub(super) taps: Vec<usize>,
    pub(super) run: usize,
    /// Elements before the first pixel's first tap.
    pub(super) offset: usize,
}

/// One node of a chain.
#[derive(Debug)]
pub(super) struct Stage {
    /// Index of the node whose weights are used.
    pub(super) node: usize,
    pub(super) work: Work,
    pub(super) window: Window,
    pub(super) from: Pixels,
    pub(super) to: Pixels,
}

/// How a stage makes a row.
#[derive(Debug)]
pub(super) enum Work {
    /// From the value in memory: a chain's first stage.
    Conv(Reach),
    /// From one row.
    Pointwise,
    Depthwise,
    Pool(Pooling),
}

#[derive(Debug)]
pub(super) enum Action {
    /// Convolution of pixels that have their padding around them.
    Conv(Reach),
    /// A 3x3 convolution by squares, of pixels that have their padding around them; `offset` is where the
    /// padding begins.
    Winograd {
        form: Form,
        from: Pixels,
        offset: usize,
    },
    /// Rows through several nodes, with only as many rows in between as the next node needs; a
    /// second input is added by the last node.
    Chain(Vec<Stage>),
    Linear,
    Affine,
    Activate,
    Combine(Combine),
    GlobalAverage,
    /// Every pixel is one of the input's, whose row and column are given; a second input is added.
    Nearest {
        rows: Vec<usize>,
        columns: Vec<usize>,
    },
    Bilinear {
        coordinates: Coordinates,
        scale: Option<[f32; 2]>,
    },
    /// Channels of all inputs side by side.
    ConcatChannels,
    /// Rows of `inner` elements of each input, `outer` times.
    ConcatFlat {
        outer: usize,
    },
    Softmax,
    /// Copies pixels to another layout: with padding around them, or with whole registers.
    CopyPixels {
        pad: [usize; 2],
    },
    /// `[C, H, W]` order from pixels.
    Planes,
    /// `[H, W, C]` order from pixels.
    Interleave,
    /// Pixels from `[C, H, W]` order.
    FromPlanes,
    Transpose {
        dims: Vec<usize>,
        permutation: Vec<usize>,
    },
}

/// How two values become one, element by element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Combine {
    Add,
    Mul,
    Sub,
}

/// A plan for one input size.
pub(super) struct Plan {
    pub(super) size: [usize; 3],
    pub(super) input: Place,
    /// Factor and summand per channel that are applied as the input is written.
    pub(super) input_affine: Option<usize>,
    pub(super) steps: Vec<Step>,
    pub(super) outputs: Vec<(Place, Shape)>,
    pub(super) memory: Memory,
}

/// The plan as far as it has been made.
struct Planner<'a> {
    graph: &'a Graph,
    weights: &'a [NodeWeights],
    shapes: Vec<Shape>,
    places: Vec<Option<Place>>,
    readers: Vec<usize>,
    isa: Isa,
    steps: Vec<Step>,
    memory: Memory,
}

/// Plans a run for an input of `[C, H, W]`.
///
/// # Errors
/// The node that can't run, in words.
pub(super) fn plan(
    graph: &Graph,
    params: &Params,
    weights: &[NodeWeights],
    isa: Isa,
    size: [usize; 3],
) -> Result<Plan, String> {
    let shapes = shapes::infer(graph, params, size)?;
    let mut readers = vec![0; shapes.len()];
    let outputs = graph.outputs.iter().map(|o| o.value);
    graph.nodes.iter().flat_map(|n| n.inputs.iter().copied()).chain(outputs).for_each(|v| readers[v] += 1);
    let places = vec![None; shapes.len()];
    let mut p =
        Planner { graph, weights, shapes, places, readers, isa, steps: vec![], memory: Memory::default() };

    let (input, input_affine) = p.input(size);
    p.places[0] = Some(input);
    let mut at = 0;
    if input_affine.is_some() {
        p.places[1] = Some(input);
        at = 1;
    }
    while at < graph.nodes.len() {
        let node = &graph.nodes[at];
        at += p.node(at).map_err(|e| format!("node {} ({}): {e}", node.name, node.op.name()))?;
    }
    let mut outputs = Vec::with_capacity(graph.outputs.len());
    for output in &graph.outputs {
        outputs.push((p.place(output.value)?, p.shapes[output.value].clone()));
    }
    let Planner { steps, mut memory, .. } = p;
    memory.assign(&input, &steps, outputs.iter().map(|(place, _)| place));
    if memory.lengths.iter().sum::<usize>() > MAX_ELEMENTS {
        return Err(format!("an input of {size:?} needs more than {} MiB", MAX_ELEMENTS >> 18));
    }
    Ok(Plan { size, input, input_affine, steps, outputs, memory })
}
