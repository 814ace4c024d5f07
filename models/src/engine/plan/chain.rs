//! Nodes that hand rows to one another.

use super::{Action, Layout, Pixels, Place, Planner, Stage, Work};
use crate::{
    engine::{
        chain::{MAX_ROWS, MAX_STAGES},
        kernels::Pooling,
        weights::NodeWeights,
    },
    graph::{Op, Window},
};

/// Elements from which a value is not written as a whole but handed on row by row, if one node alone
/// reads it: with its neighbours it would leave the second cache.
const CHAINED_ELEMENTS: usize = 64 << 10;

/// The window of a pointwise convolution.
const ONE_PIXEL: Window = Window { kernel: [1, 1], stride: [1, 1], pads: [0; 4] };

impl Planner<'_> {
    /// Plans a node that reads `input`, and those behind it that take its rows; returns how many
    /// nodes were consumed.
    pub(super) fn chain(&mut self, first: Stage, input: Place) -> Result<usize, String> {
        let at = first.node;
        let mut stages = vec![first];
        let mut last = at;
        // A value that is added ends the chain: it is added to what is stored.
        while stages.len() < MAX_STAGES && self.graph.nodes[last].inputs.len() == 1 {
            let Some(stage) = stages.last().and_then(|stage| self.stage(last + 1, stage.to)) else { break };
            stages.push(stage);
            last += 1;
        }
        let residual = self.graph.nodes[last].inputs.get(1).copied();
        let residual = residual.map(|value| Ok::<_, String>(self.whole(at, value)?.0)).transpose()?;
        let inputs = [Some(input), residual].into_iter().flatten().collect();
        let layout = self.dense(&self.shapes[last + 1].clone())?;
        let place = match stages.pop() {
            Some(Stage { work: Work::Conv(reach), from, to, .. }) if stages.is_empty() => {
                let action = match self.by_squares(at, from, to) {
                    Some(form) => Action::Winograd { form, from, offset: reach.offset },
                    None => Action::Conv(reach),
                };
                self.push(at, action, inputs, layout)
            }
            Some(stage) => {
                stages.push(stage);
                self.push(at, Action::Chain(stages), inputs, layout)
            }
            None => return Err("an empty chain".into()),
        };
        self.places[last + 1] = Some(place);
        Ok(last + 1 - at)
    }

    /// The node as a stage behind one that makes `from`, if it can and should be one.
    fn stage(&self, at: usize, from: Pixels) -> Option<Stage> {
        let node = self.graph.nodes.get(at)?;
        if from.height * from.row < CHAINED_ELEMENTS
            || node.inputs.first() != Some(&at)
            || self.readers[at] != 1
        {
            return None;
        }
        let (work, window) = match (&node.op, &self.weights[at]) {
            (Op::Conv { window, .. }, NodeWeights::Depthwise(..)) => (Work::Depthwise, *window),
            (Op::Conv { window, .. }, NodeWeights::Conv(..)) if *window == ONE_PIXEL => {
                (Work::Pointwise, *window)
            }
            (Op::MaxPool { window, .. }, _) => (Work::Pool(Pooling::Max), *window),
            (Op::AveragePool { window, count_pads: false, .. }, _) => (Work::Pool(Pooling::Average), *window),
            (Op::AveragePool { window, .. }, _) => (Work::Pool(Pooling::AverageWithPads), *window),
            _ => return None,
        };
        if window.kernel[0] > MAX_ROWS {
            return None;
        }
        let Layout::Pixels(to) = self.dense(&self.shapes[at + 1]).ok()? else { return None };
        Some(Stage { node: at, work, window, from, to })
    }
}
