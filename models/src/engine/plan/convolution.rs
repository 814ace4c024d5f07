//! Steps of convolutions.

use super::{Action, Layout, Pixels, Place, Planner, Reach, Stage, Work};
use crate::{
    engine::{kernels::Form, weights::NodeWeights},
    graph::{Op, ValueId},
};

/// Most elements of a layer's transformed weights: 8 MiB. What is larger would be read from memory for
/// each picture, and a network would take four times its size.
const MOST_TRANSFORMED: usize = 2 << 20;

/// What transforming a place of a square costs, a channel, and what reading a matrix costs, a weight, in
/// multiplications: fitted to what networks of people take (`scripts/bench-vision`).
const TRANSFORM: usize = 6;
const READ: usize = 3;

impl Planner<'_> {
    /// Plans a convolution, and what takes its rows; returns how many nodes were consumed.
    pub(super) fn convolution(&mut self, at: usize) -> Result<usize, String> {
        let node = &self.graph.nodes[at];
        let Op::Conv { window, dilation, .. } = &node.op else { return Err("no convolution".into()) };
        let (window, dilation, value) = (*window, *dilation, node.inputs[0]);
        let Layout::Pixels(to) = self.dense(&self.shapes[at + 1])? else {
            return Err("an image is expected".into());
        };
        if matches!(self.weights[at], NodeWeights::Depthwise(..)) {
            let (input, from) = self.whole(at, value)?;
            return self.chain(Stage { node: at, work: Work::Depthwise, window, from, to }, input);
        }
        let (input, from) = self.surrounded(at, value, window.pads)?;
        let [top, left, _, _] = window.pads;
        let offset = from.start - top * from.row - left * from.pitch;
        let [kh, kw] = window.kernel;
        // A kernel row without gaps between its pixels is read in one go.
        let (taps, run): (Vec<usize>, usize) = if dilation[1] == 1 && from.pitch == from.channels {
            ((0..kh).map(|y| y * dilation[0] * from.row).collect(), kw * from.channels)
        } else {
            let taps = (0..kh).flat_map(|y| {
                (0..kw).map(move |x| y * dilation[0] * from.row + x * dilation[1] * from.pitch)
            });
            (taps.collect(), from.channels)
        };
        let step = [window.stride[1] * from.pitch, window.stride[0] * from.row];
        // Rows without gaps are one long row.
        let walk = if step[1] == to.width * step[0] {
            [to.height * to.width, step[0], 0]
        } else {
            [to.width, step[0], step[1]]
        };
        let work = Work::Conv(Reach { walk, taps, run, offset });
        self.chain(Stage { node: at, work, window, from, to }, input)
    }

    /// The squares by which a convolution is computed in less time than pixel by pixel, by a model of what
    /// each costs, in multiplications of registers; `None` where it is not.
    pub(super) fn by_squares(&self, at: usize, from: Pixels, to: Pixels) -> Option<Form> {
        let NodeWeights::Conv(_, _, Some(_)) = &self.weights[at] else { return None };
        let (inputs, outputs) = (from.channels, to.pitch);
        let cost = |form: Form| {
            let places = form.places() * form.places();
            if places * inputs * outputs > MOST_TRANSFORMED {
                return usize::MAX;
            }
            let squares = form.squares(to.height, to.width);
            let transforms = TRANSFORM * squares * (inputs + outputs);
            // A matrix is read once for all squares, however few they are.
            places * (inputs * outputs * (squares + READ) + transforms)
        };
        let direct = to.height * to.width * 9 * inputs * outputs;
        let form = if cost(Form::Four) <= cost(Form::Two) { Form::Four } else { Form::Two };
        (cost(form) < direct).then_some(form)
    }

    /// A value as pixels with at least this padding (top, left, bottom, right) around them.
    fn surrounded(&mut self, at: usize, value: ValueId, pads: [usize; 4]) -> Result<(Place, Pixels), String> {
        let (input, p) = self.pixels(at, value)?;
        let [top, left, bottom, right] = pads;
        let pad = [top.max(bottom), left.max(right)];
        // Padding that is there: rows above the first one, columns left of it.
        let (rows, columns) = (p.start / p.row, (p.start % p.row) / p.pitch);
        if pad == [0, 0] || (rows >= pad[0] && columns >= pad[1]) {
            return Ok((input, p));
        }
        let row = (p.width + 2 * pad[1]) * p.channels;
        let wide = Pixels { pitch: p.channels, start: pad[0] * row + pad[1] * p.channels, row, ..p };
        // The storage must hold the padding below, too.
        let size = Layout::Pixels(Pixels { height: p.height + pad[0], ..wide });
        let copy = self.push(at, Action::CopyPixels { pad }, vec![input], size);
        let place = Place { layout: Layout::Pixels(wide), ..copy };
        self.steps.last_mut().into_iter().for_each(|s| s.output = place);
        Ok((place, wide))
    }
}
