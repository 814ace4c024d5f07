//! The plain executor: candle's own convolutions and simple loops over `[1, C, H, W]`.
//!
//! Slow and easy to check. It says what the operators mean.

use candle_core::{Device, Tensor};

use crate::{
    graph::{Activation, Coordinates, Graph, Op, Param, Params, Sampling, Window},
    network::Output,
    sampling::source,
    shapes::{self, Shape},
};

/// Runs a graph on one input of `[1, C, H, W]`; the outputs come in the graph's order.
///
/// # Errors
/// The node that can't run, in words.
pub(crate) fn run(
    graph: &Graph,
    params: &Params,
    input: &[f32],
    size: [usize; 3],
) -> Result<Vec<Output>, String> {
    let shapes = shapes::infer(graph, params, size)?;
    if input.len() != size.iter().product::<usize>() {
        return Err(format!("{} numbers for an input of {size:?}", input.len()));
    }
    let mut values: Vec<Vec<f32>> = vec![input.to_vec()];
    for (at, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<(&[f32], &Shape)> =
            node.inputs.iter().map(|v| (&values[*v][..], &shapes[*v])).collect();
        let value = step(&node.op, &inputs, &shapes[at + 1], params)
            .map_err(|problem| format!("node {} ({}): {problem}", node.name, node.op.name()))?;
        values.push(value);
    }
    let outputs = graph.outputs.iter();
    Ok(outputs.map(|o| Output { dims: shapes[o.value].clone(), data: values[o.value].clone() }).collect())
}

fn param<'a>(params: &'a Params, name: &str) -> Result<&'a Param, String> {
    params.get(name).ok_or_else(|| format!("the tensor {name} is missing"))
}

fn step(op: &Op, inputs: &[(&[f32], &Shape)], out: &Shape, params: &Params) -> Result<Vec<f32>, String> {
    let (x, shape) = inputs[0];
    let plane: usize = out.get(2..).unwrap_or_default().iter().product();
    let finish = |mut y: Vec<f32>, bias: Option<&str>, activation: &Activation| -> Result<Vec<f32>, String> {
        if let Some(bias) = bias {
            let bias = &param(params, bias)?.data;
            y.chunks_mut(plane).zip(bias).for_each(|(c, b)| c.iter_mut().for_each(|v| *v += b));
        }
        if let (Op::Conv { .. }, Some((residual, _))) = (op, inputs.get(1)) {
            y.iter_mut().zip(*residual).for_each(|(v, r)| *v += r);
        }
        activate(&mut y, activation, plane, params)?;
        Ok(y)
    };
    match op {
        Op::Conv { weight, bias, window, dilation, groups, activation } => {
            let y = convolution(x, shape, param(params, weight)?, window, *dilation, *groups)
                .map_err(|e| e.to_string())?;
            finish(y, bias.as_deref(), activation)
        }
        Op::Linear { weight, bias, activation } => {
            let rows = param(params, weight)?.data.chunks(x.len());
            let y = rows.map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect();
            finish(y, bias.as_deref(), activation)
        }
        Op::Affine { scale, bias, activation } => {
            let (scale, bias) = (&param(params, scale)?.data, &param(params, bias)?.data);
            let channels = scale.iter().cycle().zip(bias.iter().cycle());
            let y = x.chunks(plane).zip(channels).flat_map(|(c, (s, b))| c.iter().map(move |v| v * s + b));
            finish(y.collect(), None, activation)
        }
        Op::Activate { activation } => finish(x.to_vec(), None, activation),
        Op::Add { activation } => finish(combine(inputs, out, |a, b| a + b), None, activation),
        Op::Mul => Ok(combine(inputs, out, |a, b| a * b)),
        Op::Sub => Ok(combine(inputs, out, |a, b| a - b)),
        Op::MaxPool { window, .. } => Ok(pool(x, shape, out, window, |v, _| v.fold(f32::MIN, f32::max))),
        Op::AveragePool { window, count_pads, .. } => Ok(pool(x, shape, out, window, |v, all| {
            let (count, sum) = v.fold((0usize, 0.0), |(n, sum), x| (n + 1, sum + x));
            sum / (if *count_pads { all } else { count }) as f32
        })),
        Op::GlobalAveragePool => {
            let plane = shape[2] * shape[3];
            Ok(x.chunks(plane).map(|c| c.iter().sum::<f32>() / plane as f32).collect())
        }
        Op::Resize { sampling, coordinates, scale } => {
            Ok(resize(x, shape, out, *sampling, *coordinates, *scale))
        }
        Op::Concat { axis } => {
            let outer: usize = out[..*axis].iter().product();
            let inner = |s: &Shape| s[*axis..].iter().product::<usize>();
            let parts =
                (0..outer).flat_map(|o| inputs.iter().map(move |(x, s)| &x[o * inner(s)..][..inner(s)]));
            Ok(parts.flatten().copied().collect())
        }
        Op::Slice { first, count } => {
            let plane = shape[2] * shape[3];
            Ok(x[first * plane..(first + count) * plane].to_vec())
        }
        Op::Flatten | Op::Reshape { .. } => Ok(x.to_vec()),
        Op::Transpose { permutation } => {
            let x = Tensor::from_slice(x, shape.as_slice(), &Device::Cpu);
            let y = x.and_then(|x| x.permute(permutation.as_slice())?.flatten_all()?.to_vec1());
            y.map_err(|e| e.to_string())
        }
        Op::Softmax { .. } => {
            let highest = x.iter().copied().fold(f32::MIN, f32::max);
            let e: Vec<f32> = x.iter().map(|v| (v - highest).exp()).collect();
            let sum: f32 = e.iter().sum();
            Ok(e.iter().map(|v| v / sum).collect())
        }
    }
}

fn convolution(
    x: &[f32],
    shape: &Shape,
    weight: &Param,
    window: &Window,
    dilation: [usize; 2],
    groups: usize,
) -> candle_core::Result<Vec<f32>> {
    let x = Tensor::from_slice(x, shape.as_slice(), &Device::Cpu)?;
    let weight = Tensor::from_slice(&weight.data, weight.dims.as_slice(), &Device::Cpu)?;
    let [top, left, bottom, right] = window.pads;
    let x = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    if window.stride[0] != window.stride[1] || dilation[0] != dilation[1] {
        candle_core::bail!("unequal strides or dilations");
    }
    x.conv2d(&weight, 0, window.stride[0], dilation[0], groups)?.flatten_all()?.to_vec1()
}

/// `plane` is the number of elements of one channel.
fn activate(y: &mut [f32], activation: &Activation, plane: usize, params: &Params) -> Result<(), String> {
    let each = |y: &mut [f32], f: &dyn Fn(f32) -> f32| y.iter_mut().for_each(|v| *v = f(*v));
    match activation {
        Activation::None => {}
        Activation::Relu => each(y, &|v| v.max(0.0)),
        Activation::LeakyRelu(slope) => each(y, &|v| if v < 0.0 { v * slope } else { v }),
        Activation::Prelu(slopes) => {
            let slopes = &param(params, slopes)?.data;
            y.chunks_mut(plane).zip(slopes).for_each(|(c, s)| each(c, &|v| if v < 0.0 { v * s } else { v }));
        }
        Activation::Sigmoid => each(y, &|v| 1.0 / (1.0 + (-v).exp())),
        Activation::HardSigmoid(alpha, beta) => each(y, &|v| (v * alpha + beta).clamp(0.0, 1.0)),
        Activation::HardSwish => each(y, &|v| v * (v / 6.0 + 0.5).clamp(0.0, 1.0)),
        Activation::Clip(low, high) => each(y, &|v| v.max(*low).min(*high)),
    }
    Ok(())
}

fn combine(inputs: &[(&[f32], &Shape)], out: &Shape, f: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    let count: usize = out.iter().product();
    let plane: usize = out.get(2..).unwrap_or_default().iter().product();
    let at = |x: &[f32], i: usize| if x.len() == count { x[i] } else { x[i / plane] };
    (0..count).map(|i| f(at(inputs[0].0, i), at(inputs[1].0, i))).collect()
}

/// Folds the elements of each window that lie inside the picture; the second argument of `f` is
/// how many lie inside the padded one.
fn pool(
    x: &[f32],
    shape: &Shape,
    out: &Shape,
    window: &Window,
    f: impl Fn(&mut dyn Iterator<Item = f32>, usize) -> f32,
) -> Vec<f32> {
    let (h, w) = (shape[2], shape[3]);
    let span = |at: usize, axis: usize, size: usize| {
        let start = at * window.stride[axis];
        let padded_end = (start + window.kernel[axis]).min(size + window.pads[axis] + window.pads[axis + 2]);
        let inside = start.saturating_sub(window.pads[axis])..(padded_end - window.pads[axis]).min(size);
        (inside, padded_end - start)
    };
    let mut y = Vec::with_capacity(out.iter().product());
    for plane in x.chunks(h * w) {
        for row in 0..out[2] {
            let (rows, tall) = span(row, 0, h);
            for column in 0..out[3] {
                let (columns, wide) = span(column, 1, w);
                let mut inside = rows.clone().flat_map(|r| plane[r * w..][columns.clone()].iter().copied());
                y.push(f(&mut inside, tall * wide));
            }
        }
    }
    y
}

fn resize(
    x: &[f32],
    shape: &Shape,
    out: &Shape,
    sampling: Sampling,
    coordinates: Coordinates,
    scale: Option<[f32; 2]>,
) -> Vec<f32> {
    let (h, w) = (shape[2], shape[3]);
    let mut y = Vec::with_capacity(out.iter().product());
    for plane in x.chunks(h * w) {
        for row in 0..out[2] {
            let (top, bottom, down) = source(row, h, out[2], scale.map(|s| s[0]), sampling, coordinates);
            for column in 0..out[3] {
                let (left, right, across) =
                    source(column, w, out[3], scale.map(|s| s[1]), sampling, coordinates);
                let mix = |r: usize| plane[r * w + left] * (1.0 - across) + plane[r * w + right] * across;
                y.push(mix(top) * (1.0 - down) + mix(bottom) * down);
            }
        }
    }
    y
}
