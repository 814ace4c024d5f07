//! Where values lie, and the copies that bring them where a step needs them.

use super::{Action, Layout, Pixels, Place, Planner, Step};
use crate::{
    graph::{Activation, Node, Op, ValueId},
    shapes::Shape,
};

impl Planner<'_> {
    /// The input keeps its three channels, and has the padding of the convolutions that read it
    /// around it, so that nothing is copied for them. A first node that only scales it is applied
    /// as it is written.
    pub(super) fn input(&mut self, [channels, height, width]: [usize; 3]) -> (Place, Option<usize>) {
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

    pub(super) fn place(&self, value: ValueId) -> Result<Place, String> {
        self.places[value].ok_or_else(|| "a value is read that was fused away".into())
    }

    pub(super) fn push(&mut self, node: usize, action: Action, inputs: Vec<Place>, layout: Layout) -> Place {
        let size = match layout {
            Layout::Pixels(p) => p.start + p.height * p.row,
            Layout::Flat(n) => n.next_multiple_of(self.isa.lanes()),
        };
        let output = Place { storage: self.memory.storage(size), layout };
        self.steps.push(Step { node, action, inputs, output });
        output
    }

    /// New pixels with whole registers.
    pub(super) fn dense(&self, shape: &Shape) -> Result<Layout, String> {
        let [1, c, h, w] = shape[..] else { return Err(format!("an image is expected, not {shape:?}")) };
        Ok(Layout::Pixels(Pixels::dense(c, h, w, c.next_multiple_of(self.isa.lanes()))))
    }

    /// A value as pixels.
    pub(super) fn pixels(&mut self, node: usize, value: ValueId) -> Result<(Place, Pixels), String> {
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
    pub(super) fn whole(&mut self, node: usize, value: ValueId) -> Result<(Place, Pixels), String> {
        let (place, p) = self.pixels(node, value)?;
        if p == Pixels::dense(p.channels, p.height, p.width, p.channels.next_multiple_of(self.isa.lanes())) {
            return Ok((place, p));
        }
        let layout = self.dense(&self.shapes[value].clone())?;
        let place = self.push(node, Action::CopyPixels { pad: [0, 0] }, vec![place], layout);
        self.places[value] = Some(place);
        self.pixels(node, value)
    }

    /// A value in the row-major order of its dimensions.
    pub(super) fn flat(&mut self, node: usize, value: ValueId) -> Result<Place, String> {
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
}
