//! What is computed where: the layout of every value and the steps of a run, for one input size.

use super::{
    memory::{Memory, Storage},
    weights::{NodeWeights, is_depthwise},
};
use crate::{
    graph::{Activation, Coordinates, Graph, Node, Op, Params, Sampling, ValueId, Window},
    shapes::{self, Shape},
};

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

#[derive(Debug)]
pub(super) enum Action {
    /// Convolution of pixels that have their padding around them.
    Conv {
        walk: [usize; 3],
        taps: Vec<usize>,
        run: usize,
        offset: usize,
    },
    Depthwise {
        window: Window,
    },
    /// A pointwise convolution (`node`) whose rows go straight into a depthwise one (`second`).
    PointwiseDepthwise {
        second: usize,
        middle: usize,
        window: Window,
    },
    Linear,
    Affine,
    Activate,
    Combine(Combine),
    Pool {
        window: Window,
        average: Option<bool>,
    },
    GlobalAverage,
    Resize {
        sampling: Sampling,
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

/// Two values to one.
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

/// State of planning.
struct Planner<'a> {
    graph: &'a Graph,
    params: &'a Params,
    weights: &'a [NodeWeights],
    shapes: Vec<Shape>,
    places: Vec<Option<Place>>,
    readers: Vec<usize>,
    lanes: usize,
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
    lanes: usize,
    size: [usize; 3],
) -> Result<Plan, String> {
    let shapes = shapes::infer(graph, params, size)?;
    let mut readers = vec![0; shapes.len()];
    let outputs = graph.outputs.iter().map(|o| o.value);
    graph.nodes.iter().flat_map(|n| n.inputs.iter().copied()).chain(outputs).for_each(|v| readers[v] += 1);
    let places = vec![None; shapes.len()];
    let mut p = Planner {
        graph,
        params,
        weights,
        shapes,
        places,
        readers,
        lanes,
        steps: vec![],
        memory: Memory::default(),
    };

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
    Ok(Plan { size, input, input_affine, steps, outputs, memory })
}

impl Planner<'_> {
    /// The input keeps its three channels, and has the padding of the convolutions that read it
    /// around it, so that nothing is copied for them. A first node that only scales it is applied
    /// as it is written.
    fn input(&mut self, [channels, height, width]: [usize; 3]) -> (Place, Option<usize>) {
        let affine = match self.graph.nodes.first() {
            Some(Node { inputs, op: Op::Affine { activation: Activation::None, .. }, .. })
                if inputs[..] == [0] && self.readers[0] == 1 =>
            {
                Some(0)
            }
            _ => None,
        };
        let value = usize::from(affine.is_some());
        let mut halo = 0;
        for node in self.graph.nodes.iter().filter(|n| n.inputs.contains(&value)) {
            if let Op::Conv { window, .. } = &node.op {
                halo = window.pads.iter().copied().fold(halo, usize::max);
            }
        }
        let row = (width + 2 * halo) * channels;
        let pixels =
            Pixels { channels, height, width, pitch: channels, start: halo * row + halo * channels, row };
        let storage = self.memory.storage((height + 2 * halo) * row);
        (Place { storage, layout: Layout::Pixels(pixels) }, affine)
    }

    fn place(&self, value: ValueId) -> Result<Place, String> {
        self.places[value].ok_or_else(|| "a value is read that was fused away".into())
    }

    fn push(&mut self, node: usize, action: Action, inputs: Vec<Place>, layout: Layout) -> Place {
        let size = match layout {
            Layout::Pixels(p) => p.start + p.height * p.row,
            Layout::Flat(n) => n.next_multiple_of(self.lanes),
        };
        let output = Place { storage: self.memory.storage(size), layout };
        self.steps.push(Step { node, action, inputs, output });
        output
    }

    /// New pixels with whole registers.
    fn dense(&self, shape: &Shape) -> Result<Layout, String> {
        let [1, c, h, w] = shape[..] else { return Err(format!("an image is expected, not {shape:?}")) };
        Ok(Layout::Pixels(Pixels::dense(c, h, w, c.next_multiple_of(self.lanes))))
    }

    /// A value as pixels.
    fn pixels(&mut self, node: usize, value: ValueId) -> Result<(Place, Pixels), String> {
        let place = self.place(value)?;
        if let Layout::Pixels(pixels) = place.layout {
            return Ok((place, pixels));
        }
        let layout = self.dense(&self.shapes[value].clone())?;
        let place = self.push(node, Action::FromPlanes, vec![place], layout);
        self.places[value] = Some(place);
        self.pixels(node, value)
    }

    /// A value as pixels without gaps, in whole registers.
    fn whole(&mut self, node: usize, value: ValueId) -> Result<(Place, Pixels), String> {
        let (place, p) = self.pixels(node, value)?;
        if p == Pixels::dense(p.channels, p.height, p.width, p.channels.next_multiple_of(self.lanes)) {
            return Ok((place, p));
        }
        let layout = self.dense(&self.shapes[value].clone())?;
        let place = self.push(node, Action::CopyPixels { pad: [0, 0] }, vec![place], layout);
        self.places[value] = Some(place);
        self.pixels(node, value)
    }

    /// A value in the row-major order of its dimensions.
    fn flat(&mut self, node: usize, value: ValueId) -> Result<Place, String> {
        let place = self.place(value)?;
        match place.layout {
            Layout::Flat(_) => Ok(place),
            Layout::Pixels(p) => {
                let count = p.channels * p.height * p.width;
                // One pixel, or one channel without gaps, lies in that order already.
                if p.start == 0 && p.height * p.width == 1 {
                    return Ok(Place { layout: Layout::Flat(count), ..place });
                }
                Ok(self.push(node, Action::Planes, vec![place], Layout::Flat(count)))
            }
        }
    }

    /// Plans a node and returns how many nodes were consumed.
    fn node(&mut self, at: usize) -> Result<usize, String> {
        let node = &self.graph.nodes[at];
        let shape = self.shapes[at + 1].clone();
        let x = node.inputs[0];
        let place = match &node.op {
            Op::Conv { .. } => return self.convolution(at),
            Op::Linear { .. } => {
                let input = self.flat(at, x)?;
                self.push(at, Action::Linear, vec![input], Layout::Flat(shape[1]))
            }
            Op::Affine { .. } if matches!(self.place(x)?.layout, Layout::Flat(_)) && shape.len() == 2 => {
                let input = self.place(x)?;
                self.push(at, Action::Affine, vec![input], input.layout)
            }
            Op::Affine { .. } => {
                let (input, _) = self.whole(at, x)?;
                self.push(at, Action::Affine, vec![input], input.layout)
            }
            Op::Activate { activation } => {
                let input = self.place(x)?;
                let input = match (input.layout, activation) {
                    // Slopes per channel need the channels together.
                    (Layout::Flat(_), Activation::Prelu(_)) if shape.len() != 2 => self.whole(at, x)?.0,
                    (Layout::Flat(_), _) => input,
                    (Layout::Pixels(_), _) => self.whole(at, x)?.0,
                };
                self.push(at, Action::Activate, vec![input], input.layout)
            }
            Op::Add { .. } => self.combine(at, Combine::Add)?,
            Op::Mul => self.combine(at, Combine::Mul)?,
            Op::Sub => self.combine(at, Combine::Sub)?,
            Op::MaxPool { window, .. } => {
                let (input, _) = self.whole(at, x)?;
                let action = Action::Pool { window: *window, average: None };
                self.push(at, action, vec![input], self.dense(&shape)?)
            }
            Op::AveragePool { window, count_pads, .. } => {
                let (input, _) = self.whole(at, x)?;
                let action = Action::Pool { window: *window, average: Some(*count_pads) };
                self.push(at, action, vec![input], self.dense(&shape)?)
            }
            Op::GlobalAveragePool => {
                let (input, _) = self.whole(at, x)?;
                self.push(at, Action::GlobalAverage, vec![input], self.dense(&shape)?)
            }
            Op::Resize { sampling, coordinates, scale } => {
                let (input, _) = self.whole(at, x)?;
                let action = Action::Resize { sampling: *sampling, coordinates: *coordinates, scale: *scale };
                self.push(at, action, vec![input], self.dense(&shape)?)
            }
            Op::Concat { axis } => self.concat(at, *axis, &shape)?,
            Op::Flatten | Op::Reshape { .. } => {
                let input = self.flat(at, x)?;
                Place { layout: Layout::Flat(shape.iter().product()), ..input }
            }
            Op::Transpose { permutation } => self.transpose(at, permutation, &shape)?,
            Op::Softmax { .. } => {
                let input = self.flat(at, x)?;
                self.push(at, Action::Softmax, vec![input], input.layout)
            }
            Op::Slice { first, count } => {
                let (place, p) = self.pixels(at, x)?;
                let layout = Layout::Pixels(Pixels { channels: *count, start: p.start + first, ..p });
                Place { layout, ..place }
            }
        };
        self.places[at + 1] = Some(place);
        Ok(1)
    }

    fn combine(&mut self, at: usize, combine: Combine) -> Result<Place, String> {
        let inputs = self.graph.nodes[at].inputs.clone();
        let (a, b) = (self.place(inputs[0])?, self.place(inputs[1])?);
        if self.shapes[inputs[0]].len() != 4 {
            let inputs = vec![self.flat(at, inputs[0])?, self.flat(at, inputs[1])?];
            let layout = inputs[0].layout;
            return Ok(self.push(at, Action::Combine(combine), inputs, layout));
        }
        let _ = (a, b);
        let (a, b) = (self.whole(at, inputs[0])?.0, self.whole(at, inputs[1])?.0);
        let layout = self.dense(&self.shapes[at + 1].clone())?;
        Ok(self.push(at, Action::Combine(combine), vec![a, b], layout))
    }

    fn concat(&mut self, at: usize, axis: usize, shape: &Shape) -> Result<Place, String> {
        let inputs = self.graph.nodes[at].inputs.clone();
        if shape.len() == 4 && axis == 1 {
            let places = inputs.iter().map(|v| Ok(self.pixels(at, *v)?.0)).collect::<Result<_, String>>()?;
            return Ok(self.push(at, Action::ConcatChannels, places, self.dense(shape)?));
        }
        let places = inputs.iter().map(|v| self.flat(at, *v)).collect::<Result<_, _>>()?;
        let outer = shape[..axis].iter().product();
        Ok(self.push(at, Action::ConcatFlat { outer }, places, Layout::Flat(shape.iter().product())))
    }

    /// The two permutations that detectors end with are what channels-last pixels are already.
    fn transpose(&mut self, at: usize, permutation: &[usize], shape: &Shape) -> Result<Place, String> {
        let x = self.graph.nodes[at].inputs[0];
        let place = self.place(x)?;
        let count = shape.iter().product();
        if matches!(place.layout, Layout::Pixels(_)) && matches!(permutation, [0, 2, 3, 1] | [2, 3, 0, 1]) {
            return Ok(self.push(at, Action::Interleave, vec![place], Layout::Flat(count)));
        }
        let input = self.flat(at, x)?;
        let action = Action::Transpose { dims: self.shapes[x].clone(), permutation: permutation.to_vec() };
        Ok(self.push(at, action, vec![input], Layout::Flat(count)))
    }

    fn convolution(&mut self, at: usize) -> Result<usize, String> {
        let node = &self.graph.nodes[at];
        let Op::Conv { window, dilation, groups, weight, .. } = &node.op else {
            return Err("no convolution".into());
        };
        let window = *window;
        let shape = self.shapes[at + 1].clone();
        let layout = self.dense(&shape)?;
        let residual = match node.inputs.get(1) {
            Some(value) => Some(self.whole(at, *value)?.0),
            None => None,
        };
        if matches!(self.weights[at], NodeWeights::Depthwise(..)) {
            let (input, _) = self.whole(at, node.inputs[0])?;
            let inputs = [Some(input), residual].into_iter().flatten().collect();
            let place = self.push(at, Action::Depthwise { window }, inputs, layout);
            self.places[at + 1] = Some(place);
            return Ok(1);
        }
        if residual.is_none()
            && let Some(consumed) = self.fuse_depthwise(at, &window, *groups, weight)?
        {
            return Ok(consumed);
        }
        let (mut input, mut p) = self.pixels(at, node.inputs[0])?;
        let [top, left, bottom, right] = window.pads;
        let around = |p: &Pixels| {
            // Padding that is there: rows above the first one, columns left of it.
            let rows = p.start / p.row;
            (rows, (p.start % p.row) / p.pitch)
        };
        if top.max(left).max(bottom).max(right) > 0 {
            let (rows, columns) = around(&p);
            if rows < top.max(bottom) || columns < left.max(right) {
                let pad = [top.max(bottom), left.max(right)];
                let row = (p.width + 2 * pad[1]) * p.channels;
                let wide = Pixels { pitch: p.channels, start: pad[0] * row + pad[1] * p.channels, row, ..p };
                let size = Layout::Pixels(Pixels { height: p.height + pad[0], ..wide });
                // The storage must hold the padding below, too.
                let copy = self.push(at, Action::CopyPixels { pad }, vec![input], size);
                self.steps.last_mut().into_iter().for_each(|s| s.output.layout = Layout::Pixels(wide));
                (input, p) = (Place { layout: Layout::Pixels(wide), ..copy }, wide);
            }
        }
        let offset = p.start - top * p.row - left * p.pitch;
        let [kh, kw] = window.kernel;
        let [_, _, _, out_width] = shape[..] else { return Err("an image is expected".into()) };
        // A kernel row without gaps between its pixels is read in one go.
        let (taps, run): (Vec<usize>, usize) = if dilation[1] == 1 && p.pitch == p.channels {
            ((0..kh).map(|y| y * dilation[0] * p.row).collect(), kw * p.channels)
        } else {
            let taps = (0..kh)
                .flat_map(|y| (0..kw).map(move |x| y * dilation[0] * p.row + x * dilation[1] * p.pitch));
            (taps.collect(), p.channels)
        };
        let step = [window.stride[1] * p.pitch, window.stride[0] * p.row];
        // Rows without gaps are one long row: no division is needed to find a pixel.
        let count: usize = shape[2..].iter().product();
        let walk =
            if step[1] == out_width * step[0] { [count, step[0], 0] } else { [out_width, step[0], step[1]] };
        let inputs = [Some(input), residual].into_iter().flatten().collect();
        let place = self.push(at, Action::Conv { walk, taps, run, offset }, inputs, layout);
        self.places[at + 1] = Some(place);
        Ok(1)
    }

    /// Joins a pointwise convolution and the depthwise one that alone reads it: the value between
    /// them, often the largest of the network, then stays in the cache.
    fn fuse_depthwise(
        &mut self,
        at: usize,
        window: &Window,
        groups: usize,
        weight: &str,
    ) -> Result<Option<usize>, String> {
        let pointwise =
            window.kernel == [1, 1] && window.stride == [1, 1] && window.pads == [0; 4] && groups == 1;
        let NodeWeights::Conv(_, epilogue) = &self.weights[at] else { return Ok(None) };
        let Some(next) = self.graph.nodes.get(at + 1) else { return Ok(None) };
        let (Op::Conv { window: second, weight: filters, groups: count, .. }, true) =
            (&next.op, pointwise && epilogue.post.is_none() && self.readers[at + 1] == 1)
        else {
            return Ok(None);
        };
        let depthwise = self.params.get(filters).is_some_and(|w| is_depthwise(w, *count));
        if next.inputs != [at + 1]
            || !depthwise
            || !matches!(self.weights[at + 1], NodeWeights::Depthwise(..))
        {
            return Ok(None);
        }
        let _ = weight;
        let second = *second;
        let (input, p) = self.pixels(at, self.graph.nodes[at].inputs[0])?;
        if p.row != p.width * p.pitch || p.height < 2 * second.kernel[0] {
            return Ok(None);
        }
        let middle = self.shapes[at + 1][1].next_multiple_of(self.lanes);
        let layout = self.dense(&self.shapes[at + 2].clone())?;
        let action = Action::PointwiseDepthwise { second: at + 1, middle, window: second };
        let place = self.push(at, action, vec![input], layout);
        self.places[at + 2] = Some(place);
        Ok(Some(2))
    }
}
