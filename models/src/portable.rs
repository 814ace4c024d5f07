//! The portable executor: a graph by candle's own operators, on any device and for batches.
//!
//! Slower on a CPU than the fused executor, and easy to check: it says what the operators mean.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::ops::{leaky_relu, sigmoid, softmax};

use crate::{
    graph::{Activation, Graph, Node, Op, Params, Window},
    sampling::source,
    shapes::{self, Shape},
};

/// A graph with its tensors on a device.
pub(crate) struct Portable {
    graph: Graph,
    params: Params,
    tensors: HashMap<String, Tensor>,
    device: Device,
}

impl Portable {
    /// Puts a network's tensors on a device.
    ///
    /// # Errors
    /// Those of the device, and of a graph that does not fit together.
    pub(crate) fn new(graph: Graph, params: Params, device: Device) -> Result<Self> {
        graph.check().map_err(candle_core::Error::msg)?;
        let tensors = params.iter().map(|(name, param)| {
            Ok((name.clone(), Tensor::from_slice(&param.data, param.dims.as_slice(), &device)?))
        });
        let tensors = tensors.collect::<Result<_>>()?;
        Ok(Self { graph, params, tensors, device })
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(crate) fn params(&self) -> &Params {
        &self.params
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Runs on `[N, C, H, W]` f32 on this device. Gives `[N, total]`: the outputs of each picture one
    /// after the other, images with their channels last.
    ///
    /// # Errors
    /// The node that can't run, in words; those of the device.
    pub(crate) fn run(&self, input: &Tensor) -> Result<Tensor> {
        let (count, channels, height, width) = input.dims4()?;
        let shapes = shapes::infer(&self.graph, &self.params, [channels, height, width])
            .map_err(candle_core::Error::msg)?;
        if count == 1 || self.keeps_pictures_apart(&shapes) {
            return self.run_together(input, &shapes);
        }
        let each = (0..count).map(|at| self.run_together(&input.narrow(0, at, 1)?, &shapes));
        Tensor::cat(&each.collect::<Result<Vec<_>>>()?, 0)
    }

    /// Whether the first dimension of every value is the picture's, so that a batch can take its place.
    fn keeps_pictures_apart(&self, shapes: &[Shape]) -> bool {
        let moved = |node: &Node| {
            matches!(&node.op, Op::Transpose { permutation } if permutation.first() != Some(&0))
                || matches!(node.op, Op::Concat { axis: 0 })
        };
        shapes.iter().all(|s| s.first() == Some(&1)) && !self.graph.nodes.iter().any(moved)
    }

    fn run_together(&self, input: &Tensor, shapes: &[Shape]) -> Result<Tensor> {
        let count = input.dim(0)?;
        let mut values = vec![input.clone()];
        for (at, node) in self.graph.nodes.iter().enumerate() {
            let inputs: Vec<&Tensor> = node.inputs.iter().filter_map(|v| values.get(*v)).collect();
            let mut shape = shapes[at + 1].clone();
            if let (Some(first), true) = (shape.first_mut(), count > 1) {
                *first = count;
            }
            let value = self
                .step(&node.op, &inputs, &shape)
                .map_err(|e| e.context(format!("node {} ({})", node.name, node.op.name())))?;
            values.push(value);
        }
        let outputs = self.graph.outputs.iter().map(|output| {
            let value = &values[output.value];
            let value = if value.rank() == 4 { value.permute((0, 2, 3, 1))? } else { value.clone() };
            value.contiguous()?.reshape((count, value.elem_count() / count))
        });
        Tensor::cat(&outputs.collect::<Result<Vec<_>>>()?, 1)
    }

    fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| candle_core::Error::Msg(format!("the tensor {name} is missing")))
    }

    /// One number, or one per channel, in a shape that spreads over a value of `rank` dimensions.
    fn per_channel(&self, name: &str, rank: usize) -> Result<Tensor> {
        let tensor = self.tensor(name)?;
        let mut shape = vec![1; rank.max(2)];
        shape[1] = tensor.elem_count();
        tensor.reshape(shape)
    }

    fn step(&self, op: &Op, inputs: &[&Tensor], out: &Shape) -> Result<Tensor> {
        let Some(&x) = inputs.first() else { bail!("an input is missing") };
        let second = || inputs.get(1).copied().ok_or_else(|| candle_core::Error::msg("an input is missing"));
        match op {
            Op::Conv { weight, bias, window, dilation, groups, activation } => {
                let mut y = convolution(x, self.tensor(weight)?, window, *dilation, *groups)?;
                if let Some(bias) = bias {
                    y = y.broadcast_add(&self.per_channel(bias, 4)?)?;
                }
                if let Some(residual) = inputs.get(1) {
                    y = (y + *residual)?;
                }
                self.activate(&y, activation)
            }
            Op::Linear { weight, bias, activation } => {
                let mut y = x.matmul(&self.tensor(weight)?.t()?)?;
                if let Some(bias) = bias {
                    y = y.broadcast_add(&self.per_channel(bias, 2)?)?;
                }
                self.activate(&y, activation)
            }
            Op::Affine { scale, bias, activation } => {
                let y = x.broadcast_mul(&self.per_channel(scale, x.rank())?)?;
                self.activate(&y.broadcast_add(&self.per_channel(bias, x.rank())?)?, activation)
            }
            Op::Activate { activation } => self.activate(x, activation),
            Op::Add { activation } => self.activate(&x.broadcast_add(second()?)?, activation),
            Op::Mul => x.broadcast_mul(second()?),
            Op::Sub => x.broadcast_sub(second()?),
            Op::MaxPool { window, .. } => {
                // The outermost pixels again are no larger than themselves.
                let [bottom, right] = reach(x, window, out)?;
                let x =
                    x.pad_with_same(2, window.pads[0], bottom)?.pad_with_same(3, window.pads[1], right)?;
                cut(&x.max_pool2d_with_stride(pair(window.kernel), pair(window.stride))?, out)
            }
            Op::AveragePool { window, count_pads, .. } => {
                let (_, _, h, w) = x.dims4()?;
                let [bottom, right] = reach(x, window, out)?;
                let x =
                    x.pad_with_zeros(2, window.pads[0], bottom)?.pad_with_zeros(3, window.pads[1], right)?;
                let mean = cut(&x.avg_pool2d_with_stride(pair(window.kernel), pair(window.stride))?, out)?;
                mean.broadcast_mul(&counted(window, [h, w], [out[2], out[3]], *count_pads, &self.device)?)
            }
            Op::GlobalAveragePool => x.mean_keepdim(3)?.mean_keepdim(2),
            Op::Resize { sampling, coordinates, scale } => {
                let (n, c, h, w) = x.dims4()?;
                let along = |axis: usize, from: usize, to: usize| -> Result<Tensor> {
                    let mut weights = vec![0.0f32; from * to];
                    for at in 0..to {
                        let scale = scale.map(|s| s[axis]);
                        let (low, high, part) = source(at, from, to, scale, *sampling, *coordinates);
                        weights[low * to + at] += 1.0 - part;
                        weights[high * to + at] += part;
                    }
                    Tensor::from_vec(weights, (from, to), &self.device)
                };
                let wide = x.reshape((n * c * h, w))?.matmul(&along(1, w, out[3])?)?;
                let turned = wide.reshape((n * c, h, out[3]))?.transpose(1, 2)?.contiguous()?;
                let tall = turned.reshape((n * c * out[3], h))?.matmul(&along(0, h, out[2])?)?;
                let back = tall.reshape((n * c, out[3], out[2]))?.transpose(1, 2)?.contiguous()?;
                back.reshape((n, c, out[2], out[3]))
            }
            Op::Concat { axis } => Tensor::cat(inputs, *axis),
            Op::Slice { first, count } => x.narrow(1, *first, *count)?.contiguous(),
            Op::Flatten | Op::Reshape { .. } => x.reshape(out.as_slice()),
            Op::Transpose { permutation } => x.permute(permutation.as_slice())?.contiguous(),
            Op::Softmax { axis } => softmax(x, *axis),
        }
    }

    fn activate(&self, x: &Tensor, activation: &Activation) -> Result<Tensor> {
        match activation {
            Activation::None => Ok(x.clone()),
            Activation::Relu => x.relu(),
            Activation::LeakyRelu(slope) => leaky_relu(x, f64::from(*slope)),
            Activation::Prelu(slopes) => {
                x.relu()?
                    + x.minimum(&x.zeros_like()?)?.broadcast_mul(&self.per_channel(slopes, x.rank())?)?
            }
            Activation::Sigmoid => sigmoid(x),
            Activation::HardSigmoid(alpha, beta) => {
                x.affine(f64::from(*alpha), f64::from(*beta))?.clamp(0f32, 1f32)
            }
            Activation::HardSwish => x * x.affine(1.0 / 6.0, 0.5)?.clamp(0f32, 1f32)?,
            Activation::Clip(low, high) => x.clamp(*low, *high),
        }
    }
}

const fn pair([a, b]: [usize; 2]) -> (usize, usize) {
    (a, b)
}

fn convolution(
    x: &Tensor,
    weight: &Tensor,
    window: &Window,
    dilation: [usize; 2],
    groups: usize,
) -> Result<Tensor> {
    if window.stride[0] != window.stride[1] || dilation[0] != dilation[1] {
        bail!("unequal strides or dilations");
    }
    let [top, left, bottom, right] = window.pads;
    let x = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    x.conv2d(weight, 0, window.stride[0], dilation[0], groups)
}

/// How far below and beside a picture the windows of a pool reach.
fn reach(x: &Tensor, window: &Window, out: &Shape) -> Result<[usize; 2]> {
    let (_, _, h, w) = x.dims4()?;
    let far = |axis: usize, size: usize| {
        let end = (out[axis + 2] - 1) * window.stride[axis] + window.kernel[axis];
        end.saturating_sub(size + window.pads[axis])
    };
    Ok([far(0, h), far(1, w)])
}

/// The part of a pool's result that is asked for.
fn cut(x: &Tensor, out: &Shape) -> Result<Tensor> {
    x.narrow(2, 0, out[2])?.narrow(3, 0, out[3])?.contiguous()
}

/// By what the mean of each window, its padding counted as zeros, is to be multiplied: `[1, 1, H, W]`.
fn counted(
    window: &Window,
    from: [usize; 2],
    to: [usize; 2],
    count_pads: bool,
    device: &Device,
) -> Result<Tensor> {
    let seen = |axis: usize, at: usize| {
        let (start, size) = (at * window.stride[axis], from[axis]);
        let end = (start + window.kernel[axis]).min(size + window.pads[axis] + window.pads[axis + 2]);
        let first = if count_pads { start } else { start.max(window.pads[axis]) };
        let last = if count_pads { end } else { end.min(size + window.pads[axis]) };
        last.saturating_sub(first).max(1)
    };
    let area = window.kernel[0] * window.kernel[1];
    let factors: Vec<f32> = (0..to[0])
        .flat_map(|row| (0..to[1]).map(move |column| area as f32 / (seen(0, row) * seen(1, column)) as f32))
        .collect();
    Tensor::from_vec(factors, (1, 1, to[0], to[1]), device)
}

/// Pixels of `[N, 3, H, W]`, 0-255 in any type, as the network's input on a device: in its order of
/// colours, normalised, and black to the right of and below the picture up to `padded`.
pub(crate) fn normalized(
    pixels: &Tensor,
    [height, width]: [usize; 2],
    swap_colors: bool,
    mean: f32,
    deviation: f32,
    device: &Device,
) -> Result<Tensor> {
    let (_, _, h, w) = pixels.dims4()?;
    let mut x = pixels.to_device(device)?.to_dtype(DType::F32)?.contiguous()?;
    if swap_colors {
        x = x.index_select(&Tensor::new(&[2u32, 1, 0], device)?, 1)?;
    }
    let x =
        x.pad_with_zeros(2, 0, height.saturating_sub(h))?.pad_with_zeros(3, 0, width.saturating_sub(w))?;
    x.affine(1.0 / f64::from(deviation), -f64::from(mean) / f64::from(deviation))
}
