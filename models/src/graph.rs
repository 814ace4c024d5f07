//! The networks' own graph: few operators, folded and fused, as it stands in a pack.
//!
//! Value 0 is the input; node `k` makes value `k + 1` and reads only earlier values, so a graph
//! can't have cycles. In the file it is JSON: `{"input": [3, 0, 0], "nodes": [{"name": "conv1",
//! "inputs": [0], "op": {"conv": {...}}}], "outputs": [{"name": "fc1", "value": 57}]}`, every operator
//! with the fields of its variant of [`Op`]; tensors are names in the safetensors file beside it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// A value of a graph: 0 is the input, `k + 1` the output of node `k`.
pub(crate) type ValueId = usize;

/// A tensor of weights, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Param {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Vec<f32>,
}

/// Weights by name.
pub(crate) type Params = HashMap<String, Param>;

/// A network as a list of operations, each of whose inputs comes before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Graph {
    /// Channels, height and width of the input; 0 where any is accepted.
    pub(crate) input: [usize; 3],
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<Output>,
}

/// One operator and what it reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    /// The name it had in the ONNX file, for messages.
    pub(crate) name: String,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) op: Op,
}

/// A named result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) value: ValueId,
}

/// What is done to the sum of a convolution, or to any value, element by element.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Activation {
    None,
    Relu,
    /// Negative values times one number.
    LeakyRelu(f32),
    /// Negative values times a number per channel: name of a tensor of C elements.
    Prelu(String),
    Sigmoid,
    /// `clamp(alpha * x + beta, 0, 1)`.
    HardSigmoid(f32, f32),
    /// `x * clamp(x / 6 + 0.5, 0, 1)`.
    HardSwish,
    /// Limited to a range.
    Clip(f32, f32),
}

/// How positions of a resized picture map to the original's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Coordinates {
    /// `x / scale`.
    Asymmetric,
    /// `(x + 0.5) / scale - 0.5`.
    HalfPixel,
    /// `x * (in - 1) / (out - 1)`.
    AlignCorners,
}

/// How a resized picture is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sampling {
    /// The position rounded down.
    NearestFloor,
    /// The nearest position, halves downwards.
    NearestRound,
    /// Bilinear.
    Linear,
}

/// Geometry of a window that moves over a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    /// Height and width.
    pub(crate) kernel: [usize; 2],
    /// Downwards and rightwards.
    pub(crate) stride: [usize; 2],
    /// Top, left, bottom, right.
    pub(crate) pads: [usize; 4],
}

/// An operator. Images are `[1, C, H, W]` in meaning, whatever order the executor stores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Op {
    /// Convolution; a second input is added before the activation.
    /// `weight` is `[out, in / groups, kernel height, kernel width]`.
    Conv {
        weight: String,
        bias: Option<String>,
        window: Window,
        dilation: [usize; 2],
        groups: usize,
        activation: Activation,
    },
    /// Matrix times vector; `weight` is `[out, in]`.
    Linear {
        weight: String,
        bias: Option<String>,
        activation: Activation,
    },
    /// A factor and a summand per channel (or per element of a vector).
    Affine {
        scale: String,
        bias: String,
        activation: Activation,
    },
    /// An activation of its own.
    Activate {
        activation: Activation,
    },
    /// Sum of two values of equal shape, or of one and a `[1, C, 1, 1]`.
    Add {
        activation: Activation,
    },
    /// Product, with the same shapes.
    Mul,
    /// Difference, with the same shapes.
    Sub,
    MaxPool {
        window: Window,
        ceil: bool,
    },
    AveragePool {
        window: Window,
        ceil: bool,
        count_pads: bool,
    },
    GlobalAveragePool,
    /// Enlarges or shrinks by `scale` (height, width), or to the size of the second input.
    Resize {
        sampling: Sampling,
        coordinates: Coordinates,
        scale: Option<[f32; 2]>,
    },
    /// Joins along an axis.
    Concat {
        axis: usize,
    },
    /// `count` channels from the channel `first`.
    Slice {
        first: usize,
        count: usize,
    },
    /// To `[1, C * H * W]`.
    Flatten,
    /// As in ONNX: 0 keeps the dimension, -1 is what remains.
    Reshape {
        shape: Vec<i64>,
    },
    Transpose {
        permutation: Vec<usize>,
    },
    Softmax {
        axis: usize,
    },
}

impl Op {
    /// The operator's name in the file and in messages.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Conv { .. } => "conv",
            Self::Linear { .. } => "linear",
            Self::Affine { .. } => "affine",
            Self::Activate { .. } => "activate",
            Self::Add { .. } => "add",
            Self::Mul => "mul",
            Self::Sub => "sub",
            Self::MaxPool { .. } => "max_pool",
            Self::AveragePool { .. } => "average_pool",
            Self::GlobalAveragePool => "global_average_pool",
            Self::Resize { .. } => "resize",
            Self::Concat { .. } => "concat",
            Self::Slice { .. } => "slice",
            Self::Flatten => "flatten",
            Self::Reshape { .. } => "reshape",
            Self::Transpose { .. } => "transpose",
            Self::Softmax { .. } => "softmax",
        }
    }

    /// The activation that the operator applies to its result, if it can.
    pub(crate) const fn activation(&self) -> Option<&Activation> {
        match self {
            Self::Conv { activation, .. }
            | Self::Linear { activation, .. }
            | Self::Affine { activation, .. }
            | Self::Activate { activation }
            | Self::Add { activation } => Some(activation),
            Self::Mul
            | Self::Sub
            | Self::MaxPool { .. }
            | Self::AveragePool { .. }
            | Self::GlobalAveragePool
            | Self::Resize { .. }
            | Self::Concat { .. }
            | Self::Slice { .. }
            | Self::Flatten
            | Self::Reshape { .. }
            | Self::Transpose { .. }
            | Self::Softmax { .. } => None,
        }
    }

    /// As [`activation`](Self::activation), to be changed.
    pub(crate) const fn activation_mut(&mut self) -> Option<&mut Activation> {
        match self {
            Self::Conv { activation, .. }
            | Self::Linear { activation, .. }
            | Self::Affine { activation, .. }
            | Self::Activate { activation }
            | Self::Add { activation } => Some(activation),
            Self::Mul
            | Self::Sub
            | Self::MaxPool { .. }
            | Self::AveragePool { .. }
            | Self::GlobalAveragePool
            | Self::Resize { .. }
            | Self::Concat { .. }
            | Self::Slice { .. }
            | Self::Flatten
            | Self::Reshape { .. }
            | Self::Transpose { .. }
            | Self::Softmax { .. } => None,
        }
    }

    /// How many inputs the operator takes, least and most.
    pub(crate) const fn arity(&self) -> (usize, usize) {
        match self {
            Self::Conv { .. } => (1, 2),
            Self::Add { .. } | Self::Mul | Self::Sub => (2, 2),
            Self::Resize { scale: None, .. } => (2, 2),
            Self::Concat { .. } => (1, 64),
            Self::Linear { .. }
            | Self::Affine { .. }
            | Self::Activate { .. }
            | Self::MaxPool { .. }
            | Self::AveragePool { .. }
            | Self::GlobalAveragePool
            | Self::Resize { scale: Some(_), .. }
            | Self::Slice { .. }
            | Self::Flatten
            | Self::Reshape { .. }
            | Self::Transpose { .. }
            | Self::Softmax { .. } => (1, 1),
        }
    }
}

impl Graph {
    /// Checks what does not depend on shapes: every value is defined before it is read, and
    /// operators have the inputs they need.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (at, node) in self.nodes.iter().enumerate() {
            let (least, most) = node.op.arity();
            if node.inputs.len() < least || node.inputs.len() > most {
                return Err(format!("node {} ({}): {} inputs", node.name, node.op.name(), node.inputs.len()));
            }
            if node.inputs.iter().any(|v| *v > at) {
                return Err(format!("node {} ({}): reads a later value", node.name, node.op.name()));
            }
        }
        match self.outputs.iter().find(|o| o.value > self.nodes.len()) {
            Some(output) => Err(format!("output {} is no value of the graph", output.name)),
            None if self.outputs.is_empty() => Err("there is no output".into()),
            None => Ok(()),
        }
    }
}
