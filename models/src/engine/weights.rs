//! Weights of each node, packed for the kernels.

use std::sync::OnceLock;

use super::kernels::{Finish, Form, Fused, Isa, PackedConv, PackedDepthwise, PackedWinograd};
use crate::graph::{Activation, Graph, Op, Param, Params};

/// Most weights of a convolution whose groups were filled up with zeros: 1 GiB of f32.
const MAX_WEIGHTS: usize = 1 << 28;

/// What a node needs beside its inputs.
pub(super) enum NodeWeights {
    /// Nothing.
    None,
    /// The last one where it may be computed with fewer multiplications.
    Conv(PackedConv, Epilogue, Option<Squares>),
    Depthwise(PackedDepthwise, Epilogue),
    /// A factor and a summand per channel.
    Affine(Vec<f32>, Vec<f32>, Elementwise),
    /// An activation only.
    Elementwise(Elementwise),
}

/// Weights of a 3x3 convolution for the transforms by squares, made where a plan wants them: which form
/// pays depends on the size of the map.
pub(super) struct Squares {
    isa: Isa,
    /// `[out, 3, 3, in]`.
    weights: Vec<f32>,
    outputs: usize,
    packed: [OnceLock<PackedWinograd>; 2],
}

impl Squares {
    pub(super) fn get(&self, form: Form) -> &PackedWinograd {
        let [two, four] = &self.packed;
        let slot = match form {
            Form::Two => two,
            Form::Four => four,
        };
        slot.get_or_init(|| PackedWinograd::new(self.isa, form, &self.weights, self.outputs))
    }
}

/// What is done to a convolution's sums before they are stored.
pub(super) struct Epilogue {
    bias: Vec<f32>,
    fused: Fused,
    slopes: Vec<f32>,
    /// An activation that is not applied in registers but in a pass of its own.
    pub(super) post: Option<Elementwise>,
}

impl Epilogue {
    /// Output channels, rounded up to whole registers.
    pub(super) fn channels(&self) -> usize {
        self.bias.len()
    }

    pub(super) fn finish<'a>(&'a self, residual: &'a [f32]) -> Finish<'a> {
        Finish { bias: &self.bias, fused: self.fused, slopes: &self.slopes, residual }
    }
}

/// An activation of its own, or of an operator that the kernels do not compute.
pub(super) struct Elementwise {
    activation: Activation,
    /// One per channel, for PReLU.
    slopes: Vec<f32>,
}

impl Elementwise {
    /// Whether there is nothing to apply.
    pub(super) fn is_none(&self) -> bool {
        self.activation == Activation::None
    }

    /// Applies the activation to a whole pixel.
    pub(super) fn pixel(&self, values: &mut [f32]) {
        match &self.activation {
            Activation::None => {}
            Activation::Prelu(_) => {
                values.iter_mut().zip(&self.slopes).for_each(|(v, s)| *v = v.max(0.0) + s * v.min(0.0));
            }
            Activation::Relu => values.iter_mut().for_each(|v| *v = v.max(0.0)),
            other @ (Activation::LeakyRelu(_)
            | Activation::Sigmoid
            | Activation::HardSigmoid(..)
            | Activation::HardSwish
            | Activation::Clip(..)) => values.iter_mut().for_each(|v| *v = apply(other, *v)),
        }
    }
}

/// An activation without slopes per channel.
fn apply(activation: &Activation, v: f32) -> f32 {
    match activation {
        Activation::None | Activation::Prelu(_) => v,
        Activation::Relu => v.max(0.0),
        Activation::LeakyRelu(slope) => v.max(0.0) + slope * v.min(0.0),
        Activation::Sigmoid => 1.0 / (1.0 + (-v).exp()),
        Activation::HardSigmoid(alpha, beta) => (v * alpha + beta).clamp(0.0, 1.0),
        Activation::HardSwish => v * (v / 6.0 + 0.5).clamp(0.0, 1.0),
        Activation::Clip(low, high) => v.max(*low).min(*high),
    }
}

/// Packs the weights of every node.
///
/// # Errors
/// A tensor that is missing or does not fit, in words.
pub(super) fn pack(graph: &Graph, params: &Params, isa: Isa) -> Result<Vec<NodeWeights>, String> {
    let packed = |node: &crate::graph::Node| {
        node_weights(&node.op, params, isa)
            .map_err(|e| format!("node {} ({}): {e}", node.name, node.op.name()))
    };
    graph.nodes.iter().map(packed).collect()
}

/// Whether a convolution has one filter per channel.
fn is_depthwise(weight: &Param, groups: usize) -> bool {
    let kernel = weight.dims.get(2).copied().unwrap_or(0);
    groups > 1
        && weight.dims.first() == Some(&groups)
        && weight.dims.get(1) == Some(&1)
        && kernel <= super::chain::MAX_ROWS
}

fn node_weights(op: &Op, params: &Params, isa: Isa) -> Result<NodeWeights, String> {
    let get = |name: &String| params.get(name).ok_or_else(|| format!("the tensor {name} is missing"));
    let bias = |name: &Option<String>| name.as_ref().map(get).transpose().map(|p| p.map(|p| &p.data[..]));
    Ok(match op {
        Op::Conv { weight, bias: b, groups, window, activation, dilation } => {
            let weight = get(weight)?;
            let [outputs, per_group, kh, kw] = weight.dims[..] else {
                return Err("four dimensions are expected".into());
            };
            let count = [outputs, per_group, kh, kw].iter().try_fold(1usize, |n, d| n.checked_mul(*d));
            let dense = count.and_then(|n| n.checked_mul(*groups)).filter(|n| *n <= MAX_WEIGHTS);
            let fits = count == Some(weight.data.len()) && count > Some(0) && [kh, kw] == window.kernel;
            if !fits || *groups == 0 || outputs % groups != 0 {
                return Err("the weights do not fit".into());
            }
            let epilogue = epilogue(params, isa, outputs, bias(b)?, activation)?;
            if is_depthwise(weight, *groups) && *dilation == [1, 1] {
                let packed = PackedDepthwise::new(isa, &weight.data, outputs, window.kernel);
                NodeWeights::Depthwise(packed, epilogue)
            } else if dense.is_none() {
                return Err(format!("{groups} groups of {outputs} filters are too many"));
            } else {
                let order = channels_last(&weight.data, [outputs, per_group, kh, kw], *groups);
                let packed = PackedConv::new(isa, &order, outputs);
                let fits = *groups == 1
                    && [kh, kw] == [3, 3]
                    && (window.stride, window.pads, *dilation) == ([1, 1], [1; 4], [1, 1]);
                let packed_squares = [const { OnceLock::new() }; 2];
                let squares = fits.then(|| Squares { isa, weights: order, outputs, packed: packed_squares });
                NodeWeights::Conv(packed, epilogue, squares)
            }
        }
        Op::Linear { weight, bias: b, activation } => {
            let weight = get(weight)?;
            let [outputs, width] = weight.dims[..] else { return Err("a matrix is expected".into()) };
            if outputs.checked_mul(width) != Some(weight.data.len()) || outputs == 0 {
                return Err("the weights do not fit".into());
            }
            let epilogue = epilogue(params, isa, outputs, bias(b)?, activation)?;
            NodeWeights::Conv(PackedConv::new(isa, &weight.data, outputs), epilogue, None)
        }
        Op::Affine { scale, bias, activation } => {
            let (scale, bias) = (get(scale)?.data.clone(), get(bias)?.data.clone());
            NodeWeights::Affine(scale, bias, elementwise(params, activation)?)
        }
        Op::Activate { activation } | Op::Add { activation } => {
            NodeWeights::Elementwise(elementwise(params, activation)?)
        }
        Op::Mul
        | Op::Sub
        | Op::MaxPool { .. }
        | Op::AveragePool { .. }
        | Op::GlobalAveragePool
        | Op::Resize { .. }
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Flatten
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Softmax { .. } => NodeWeights::None,
    })
}

fn elementwise(params: &Params, activation: &Activation) -> Result<Elementwise, String> {
    let slopes = if let Activation::Prelu(name) = activation {
        params.get(name).ok_or_else(|| format!("the tensor {name} is missing"))?.data.clone()
    } else {
        vec![]
    };
    Ok(Elementwise { activation: activation.clone(), slopes })
}

fn epilogue(
    params: &Params,
    isa: Isa,
    outputs: usize,
    bias: Option<&[f32]>,
    activation: &Activation,
) -> Result<Epilogue, String> {
    let pitch = outputs.next_multiple_of(isa.lanes());
    let padded = |values: &[f32]| {
        let mut all = values.to_vec();
        all.resize(pitch, 0.0);
        all
    };
    let bias = match bias {
        Some(bias) if bias.len() != outputs => return Err("the bias does not fit".into()),
        Some(bias) => padded(bias),
        None => vec![0.0; pitch],
    };
    let (fused, slopes, post) = match activation {
        Activation::None => (Fused::None, vec![], None),
        Activation::Relu => (Fused::Relu, vec![], None),
        Activation::LeakyRelu(slope) => (Fused::Slopes, vec![*slope; pitch], None),
        Activation::Prelu(_) => {
            let slopes = elementwise(params, activation)?.slopes;
            if slopes.len() != outputs {
                return Err("the slopes do not fit".into());
            }
            (Fused::Slopes, padded(&slopes), None)
        }
        other @ (Activation::Sigmoid
        | Activation::HardSigmoid(..)
        | Activation::HardSwish
        | Activation::Clip(..)) => {
            let post = Elementwise { activation: other.clone(), slopes: vec![] };
            (Fused::None, vec![], Some(post))
        }
    };
    Ok(Epilogue { bias, fused, slopes, post })
}

/// `[out, in / groups, kh, kw]` as `[out, kh, kw, in]`; channels of other groups get zeros.
fn channels_last(weights: &[f32], [outputs, per_group, kh, kw]: [usize; 4], groups: usize) -> Vec<f32> {
    let channels = per_group * groups;
    let taps = kh * kw;
    let mut order = vec![0.0; outputs * taps * channels];
    for out in 0..outputs {
        let first = out / (outputs / groups) * per_group;
        for c in 0..per_group {
            for tap in 0..taps {
                order[(out * taps + tap) * channels + first + c] =
                    weights[(out * per_group + c) * taps + tap];
            }
        }
    }
    order
}
