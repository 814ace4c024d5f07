//! Steps of all nodes but convolutions.

use super::{Action, Combine, Layout, Pixels, Place, Planner, Stage, Work};
use crate::{
    engine::{chain::MAX_ROWS, kernels::Pooling},
    graph::{Activation, Node, Op, Sampling, Window},
    sampling::source,
    shapes::Shape,
};

impl Planner<'_> {
    /// Plans a node and returns how many nodes were consumed.
    pub(super) fn node(&mut self, at: usize) -> Result<usize, String> {
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
            Op::MaxPool { window, .. } => return self.pool(at, window, Pooling::Max),
            Op::AveragePool { window, count_pads: false, .. } => {
                return self.pool(at, window, Pooling::Average);
            }
            Op::AveragePool { window, .. } => return self.pool(at, window, Pooling::AverageWithPads),
            Op::GlobalAveragePool => {
                let (input, _) = self.whole(at, x)?;
                self.push(at, Action::GlobalAverage, vec![input], self.dense(&shape)?)
            }
            Op::Resize { sampling, coordinates, scale } => {
                let (input, from) = self.whole(at, x)?;
                let action = match sampling {
                    Sampling::Linear => Action::Bilinear { coordinates: *coordinates, scale: *scale },
                    Sampling::NearestFloor | Sampling::NearestRound => {
                        let all = |from: usize, axis: usize| {
                            let (to, scale) = (shape[axis + 2], scale.map(|s| s[axis]));
                            (0..to).map(|i| source(i, from, to, scale, *sampling, *coordinates).0).collect()
                        };
                        Action::Nearest { rows: all(from.height, 0), columns: all(from.width, 1) }
                    }
                };
                let layout = self.dense(&shape)?;
                self.push(at, action, vec![input], layout)
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

    fn pool(&mut self, at: usize, window: &Window, pooling: Pooling) -> Result<usize, String> {
        if window.kernel[0] > MAX_ROWS {
            return Err(format!("a window of more than {MAX_ROWS} rows"));
        }
        let value = self.graph.nodes[at].inputs[0];
        let (input, from) = self.whole(at, value)?;
        let Layout::Pixels(to) = self.dense(&self.shapes[at + 1])? else {
            return Err("an image is expected".into());
        };
        self.chain(Stage { node: at, work: Work::Pool(pooling), window: *window, from, to }, input)
    }

    fn combine(&mut self, at: usize, combine: Combine) -> Result<Place, String> {
        let inputs = self.graph.nodes[at].inputs.clone();
        if self.shapes[inputs[0]].len() != 4 {
            let inputs = vec![self.flat(at, inputs[0])?, self.flat(at, inputs[1])?];
            let layout = inputs[0].layout;
            return Ok(self.push(at, Action::Combine(combine), inputs, layout));
        }
        let (a, b) = (self.whole(at, inputs[0])?.0, self.whole(at, inputs[1])?.0);
        if let Some(sum) = self.add_to_nearest(at, [a, b]) {
            return Ok(sum);
        }
        let layout = self.dense(&self.shapes[at + 1].clone())?;
        Ok(self.push(at, Action::Combine(combine), vec![a, b], layout))
    }

    /// Feature pyramids add a map to the enlarged smaller one: both in one pass, if the last step
    /// did the enlarging and nothing else reads its result.
    fn add_to_nearest(&mut self, at: usize, places: [Place; 2]) -> Option<Place> {
        let Node { inputs, op: Op::Add { activation: Activation::None }, .. } = &self.graph.nodes[at] else {
            return None;
        };
        let step = self.steps.last_mut()?;
        let enlarged = places.iter().position(|p| *p == step.output)?;
        let (value, other) = (inputs[enlarged], places[1 - enlarged]);
        if !matches!(step.action, Action::Nearest { .. })
            || step.inputs.len() != 1
            || self.readers[value] != 1
            || other.layout != step.output.layout
            || other.storage == step.output.storage
        {
            return None;
        }
        step.inputs.push(other);
        Some(step.output)
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
}
