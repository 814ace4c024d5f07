//! The graph under construction, with the fusions that fold one operator into the one before it.

use crate::graph::{Activation, Graph, Node, Op, Output, Param, Params, ValueId};

/// How often a value is read is known for ONNX names before the graph is built; a value that is
/// read once, by the operator being appended, can absorb that operator.
pub(super) struct Builder {
    graph: Graph,
    params: Params,
    /// Readers of each value; `usize::MAX` where it must stay as it is.
    uses: Vec<usize>,
}

impl Builder {
    pub(super) fn new(input: [usize; 3]) -> Self {
        let graph = Graph { input, nodes: vec![], outputs: vec![] };
        Self { graph, params: Params::new(), uses: vec![usize::MAX] }
    }

    /// Says how many readers a value has.
    pub(super) fn set_uses(&mut self, value: ValueId, uses: usize) {
        if self.uses[value] != usize::MAX {
            self.uses[value] = uses;
        }
    }

    /// Keeps a value from being changed by later operators.
    pub(super) fn pin(&mut self, value: ValueId) {
        self.uses[value] = usize::MAX;
    }

    /// Appends an operator as it is.
    pub(super) fn push(&mut self, name: &str, inputs: Vec<ValueId>, op: Op) -> ValueId {
        self.graph.nodes.push(Node { name: name.to_owned(), inputs, op });
        // Set by the caller when the output's name is known; until then nothing may change it.
        self.uses.push(0);
        self.graph.nodes.len()
    }

    /// Stores a tensor and returns its name.
    pub(super) fn store(&mut self, dims: Vec<usize>, data: Vec<f32>) -> String {
        let name = format!("t{}", self.params.len());
        self.params.insert(name.clone(), Param { dims, data });
        name
    }

    /// Multiplies and shifts every channel, in the weights of the operator before where possible.
    pub(super) fn affine(&mut self, name: &str, input: ValueId, scale: Vec<f32>, bias: Vec<f32>) -> ValueId {
        if self.fold_affine(input, &scale, &bias) {
            return input;
        }
        let dims = vec![scale.len()];
        let scale = self.store(dims.clone(), scale);
        let bias = self.store(dims, bias);
        self.push(name, vec![input], Op::Affine { scale, bias, activation: Activation::None })
    }

    /// Applies an activation, in the store of the operator before where possible.
    pub(super) fn activate(&mut self, name: &str, input: ValueId, activation: Activation) -> ValueId {
        if let Some(slot) = self.sole(input).and_then(|node| node.op.activation_mut())
            && *slot == Activation::None
        {
            *slot = activation;
            return input;
        }
        self.push(name, vec![input], Op::Activate { activation })
    }

    /// Adds two values, in the store of the later one where that is a convolution.
    pub(super) fn add(&mut self, name: &str, a: ValueId, b: ValueId) -> ValueId {
        let (early, late) = (a.min(b), a.max(b));
        if early != late
            && let Some(Node { inputs, op: Op::Conv { activation: Activation::None, .. }, .. }) =
                self.sole(late)
            && inputs.len() == 1
        {
            inputs.push(early);
            return late;
        }
        self.push(name, vec![a, b], Op::Add { activation: Activation::None })
    }

    /// The finished graph and its weights.
    pub(super) fn finish(mut self, outputs: Vec<(String, ValueId)>) -> (Graph, Params) {
        self.graph.outputs = outputs.into_iter().map(|(name, value)| Output { name, value }).collect();
        (self.graph, self.params)
    }

    /// The node of a value that nothing but the next operator reads.
    fn sole(&mut self, value: ValueId) -> Option<&mut Node> {
        if value == 0 || self.uses[value] != 1 {
            return None;
        }
        self.graph.nodes.get_mut(value - 1)
    }

    /// Folds a factor and a summand per channel into the node that makes a value.
    fn fold_affine(&mut self, input: ValueId, scale: &[f32], bias: &[f32]) -> bool {
        let Some(node) = self.sole(input) else { return false };
        if node.inputs.len() > 1 || node.op.activation() != Some(&Activation::None) {
            return false;
        }
        if let Op::Affine { scale: old_scale, bias: old_bias, .. } = &node.op {
            let (old_scale, old_bias) = (old_scale.clone(), old_bias.clone());
            return self.fold_into_affine(&old_scale, &old_bias, scale, bias);
        }
        let (Op::Conv { weight, bias: old, .. } | Op::Linear { weight, bias: old, .. }) = &mut node.op else {
            return false;
        };
        let weight = weight.clone();
        let name = old.get_or_insert_with(|| format!("{weight}.bias")).clone();
        let Some(rows) = self.params.get(&weight).and_then(|p| p.dims.first()).copied() else { return false };
        let old =
            self.params.entry(name).or_insert_with(|| Param { dims: vec![rows], data: vec![0.0; rows] });
        let one = |v: &[f32], at: usize| v[if v.len() == 1 { 0 } else { at }];
        if scale.len() != 1 && scale.len() != rows {
            return false;
        }
        old.data.iter_mut().enumerate().for_each(|(i, b)| *b = *b * one(scale, i) + one(bias, i));
        if let Some(w) = self.params.get_mut(&weight) {
            let width = w.data.len() / rows;
            w.data.chunks_mut(width).enumerate().for_each(|(i, row)| {
                let factor = one(scale, i);
                row.iter_mut().for_each(|x| *x *= factor);
            });
        }
        true
    }

    fn fold_into_affine(&mut self, old_scale: &str, old_bias: &str, scale: &[f32], bias: &[f32]) -> bool {
        if self.params.get(old_scale).is_none_or(|p| p.data.len() != scale.len()) {
            return false;
        }
        if let Some(p) = self.params.get_mut(old_bias) {
            p.data.iter_mut().zip(scale).zip(bias).for_each(|((c, s), b)| *c = *c * s + b);
        }
        if let Some(p) = self.params.get_mut(old_scale) {
            p.data.iter_mut().zip(scale).for_each(|(k, s)| *k *= s);
        }
        true
    }
}
