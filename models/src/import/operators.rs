//! One function per family of ONNX operators, each appending what it means to the graph.

use super::{
    lower::{Lowering, Value},
    shape::{Dim, axis},
};
use crate::{
    graph::{Activation, Coordinates, Op, Sampling, ValueId, Window},
    onnx::{Constant, Node},
};

/// Appends one operator and returns the value it makes.
pub(super) fn step(l: &mut Lowering, node: &Node) -> Result<ValueId, String> {
    match node.operator.as_str() {
        "Conv" => conv(l, node),
        "Gemm" => gemm(l, node),
        "MatMul" => matmul(l, node),
        "BatchNormalization" => batch_norm(l, node),
        "Relu" | "PRelu" | "LeakyRelu" | "Sigmoid" | "HardSigmoid" | "HardSwish" | "Clip" => {
            activation(l, node)
        }
        "Add" | "Sub" | "Mul" | "Div" => arithmetic(l, node),
        "MaxPool" | "AveragePool" => pool(l, node),
        "GlobalAveragePool" => push(l, node, 1, Op::GlobalAveragePool),
        "Resize" | "Upsample" => resize(l, node),
        "Concat" => {
            let axis = axis(node.int("axis", 0), 4)?;
            push(l, node, node.inputs.len(), Op::Concat { axis })
        }
        "Flatten" if node.int("axis", 1) == 1 => push(l, node, 1, Op::Flatten),
        "Reshape" => reshape(l, node),
        "Transpose" => {
            let perm = node.ints("perm").ok_or("perm is missing")?;
            let permutation = perm.iter().map(|p| axis(*p, perm.len())).collect::<Result<_, _>>()?;
            push(l, node, 1, Op::Transpose { permutation })
        }
        "Softmax" => {
            let default = if l.opset < 13 { 1 } else { -1 };
            // The networks at hand take it of [1, C], where every permitted axis but 0 is the last.
            let axis = node.int("axis", default);
            if axis != 1 && axis != -1 {
                return Err(format!("axis {axis} is not supported"));
            }
            push(l, node, 1, Op::Softmax { axis: 1 })
        }
        other => Err(format!("the operator {other} is not supported")),
    }
}

/// Appends an operator whose first `count` inputs are computed values.
fn push(l: &mut Lowering, node: &Node, count: usize, op: Op) -> Result<ValueId, String> {
    let inputs = (0..count).map(|at| l.graph(node, at)).collect::<Result<_, _>>()?;
    Ok(l.builder.push(&node.name, inputs, op))
}

/// A list attribute of fixed length, or a default.
fn list<const N: usize>(node: &Node, name: &str, default: usize) -> Result<[usize; N], String> {
    let Some(values) = node.ints(name) else { return Ok([default; N]) };
    let values: Vec<usize> = values.iter().filter_map(|v| usize::try_from(*v).ok()).collect();
    values.try_into().map_err(|_| format!("{name}: {N} non-negative numbers are expected"))
}

fn window(node: &Node, kernel: [usize; 2]) -> Result<Window, String> {
    match node.text("auto_pad", "NOTSET")? {
        "NOTSET" | "" | "VALID" => {}
        other => return Err(format!("auto_pad {other} is not supported")),
    }
    let window = Window { kernel, stride: list(node, "strides", 1)?, pads: list(node, "pads", 0)? };
    if window.kernel.contains(&0) || window.stride.contains(&0) {
        return Err("a kernel or stride is zero".into());
    }
    Ok(window)
}

fn conv(l: &mut Lowering, node: &Node) -> Result<ValueId, String> {
    let input = l.graph(node, 0)?;
    let weight = l.constant(node, 1)?;
    let [out, _, kh, kw] = weight.dims[..] else {
        return Err("only two-dimensional convolutions are supported".into());
    };
    let (dims, data) = (weight.dims.clone(), weight.floats()?.to_vec());
    let bias = l.optional(node, 2)?.map(|b| b.floats().map(<[f32]>::to_vec)).transpose()?;
    if bias.as_ref().is_some_and(|b| b.len() != out) {
        return Err("the bias has another length than the weights".into());
    }
    let window = window(node, [kh, kw])?;
    let dilation = list(node, "dilations", 1)?;
    let groups = usize::try_from(node.int("group", 1)).ok().filter(|g| *g > 0 && out % g == 0);
    let groups = groups.ok_or("group does not divide the channels")?;
    let weight = l.builder.store(dims, data);
    let bias = bias.map(|b| l.builder.store(vec![out], b));
    let op = Op::Conv { weight, bias, window, dilation, groups, activation: Activation::None };
    Ok(l.builder.push(&node.name, vec![input], op))
}

/// Makes `[out, in]` of a matrix that may stand the other way.
fn matrix(weight: &Constant, transposed: bool) -> Result<(Vec<usize>, Vec<f32>), String> {
    let [rows, columns] = weight.dims[..] else { return Err("the weights are no matrix".into()) };
    let data = weight.floats()?;
    if transposed {
        return Ok((vec![rows, columns], data.to_vec()));
    }
    let turned = (0..columns).flat_map(|c| (0..rows).map(move |r| data[r * columns + c])).collect();
    Ok((vec![columns, rows], turned))
}

fn gemm(l: &mut Lowering, node: &Node) -> Result<ValueId, String> {
    let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
    if node.int("transA", 0) != 0 {
        return Err("transA is not supported".into());
    }
    let input = l.graph(node, 0)?;
    let (dims, mut data) = matrix(l.constant(node, 1)?, node.int("transB", 0) != 0)?;
    data.iter_mut().for_each(|w| *w *= alpha);
    let out = dims[0];
    let bias = match l.optional(node, 2)? {
        None => None,
        Some(c) => {
            let mut bias = channels(c, out)?;
            bias.iter_mut().for_each(|b| *b *= beta);
            Some(bias)
        }
    };
    let weight = l.builder.store(dims, data);
    let bias = bias.map(|b| l.builder.store(vec![out], b));
    let op = Op::Linear { weight, bias, activation: Activation::None };
    Ok(l.builder.push(&node.name, vec![input], op))
}

fn matmul(l: &mut Lowering, node: &Node) -> Result<ValueId, String> {
    let input = l.graph(node, 0)?;
    let (dims, data) = matrix(l.constant(node, 1)?, false)?;
    let weight = l.builder.store(dims, data);
    let op = Op::Linear { weight, bias: None, activation: Activation::None };
    Ok(l.builder.push(&node.name, vec![input], op))
}

/// A constant as one number per channel: `[C]`, `[C, 1, 1]`, `[1, C, 1, 1]`, or one for all.
fn channels(constant: &Constant, count: usize) -> Result<Vec<f32>, String> {
    let data = constant.floats()?;
    match data {
        [one] => Ok(vec![*one; count]),
        _ if data.len() == count => Ok(data.to_vec()),
        _ => Err(format!("{} numbers where one per channel ({count}) is expected", data.len())),
    }
}

fn batch_norm(l: &mut Lowering, node: &Node) -> Result<ValueId, String> {
    let input = l.graph(node, 0)?;
    let epsilon = f64::from(node.float("epsilon", 1e-5));
    let mut tensors = Vec::with_capacity(4);
    for at in 1..5 {
        tensors.push(l.constant(node, at)?.floats()?.to_vec());
    }
    let [gamma, beta, mean, variance] = &tensors[..] else { return Err("four tensors are expected".into()) };
    if tensors.iter().any(|t| t.len() != gamma.len()) {
        return Err("the tensors differ in length".into());
    }
    // In f64: the folded weights then differ from an unfolded run by one rounding only.
    let scale: Vec<f64> =
        gamma.iter().zip(variance).map(|(g, v)| f64::from(*g) / (f64::from(*v) + epsilon).sqrt()).collect();
    let bias =
        beta.iter().zip(mean).zip(&scale).map(|((b, m), s)| (f64::from(*b) - f64::from(*m) * s) as f32);
    let bias = bias.collect();
    Ok(l.builder.affine(&node.name, input, scale.iter().map(|s| *s as f32).collect(), bias))
}

fn activation(l: &mut Lowering, node: &Node) -> Result<ValueId, String> {
    let input = l.graph(node, 0)?;
    let activation = match node.operator.as_str() {
        "Relu" => Activation::Relu,
        "Sigmoid" => Activation::Sigmoid,
        "HardSwish" => Activation::HardSwish,
        "LeakyRelu" => Activation::LeakyRelu(node.float("alpha", 0.01)),
        "HardSigmoid" => Activation::HardSigmoid(node.float("alpha", 0.2), node.float("beta", 0.5)),
        "Clip" => {
            let bound = |l: &Lowering, name: &str, at: usize, default: f32| -> Result<f32, String> {
                match l.optional(node, at)? {
                    Some(c) => c.floats()?.first().copied().ok_or_else(|| format!("{name} is empty")),
                    None => Ok(node.float(name, default)),
                }
            };
            Activation::Clip(bound(l, "min", 1, f32::MIN)?, bound(l, "max", 2, f32::MAX)?)
        }
        _ => {
            let slope = l.constant(node, 1)?;
            let (dims, data) = (slope.dims.clone(), slope.floats()?.to_vec());
            // Per channel: everything behind the first dimension longer than one must be one.
            if dims.iter().filter(|d| **d > 1).count() > 1
                || dims.last().is_some_and(|d| *d > 1) && dims.len() > 1
            {
                return Err("only one slope, or one per channel, is supported".into());
            }
            match data[..] {
                [one] => Activation::LeakyRelu(one),
                _ => Activation::Prelu(l.builder.store(vec![data.len()], data)),
            }
        }
    };
    Ok(l.builder.activate(&node.name, input, activation))
}

fn arithmetic(l: &mut Lowering, node: &Node) -> Result<ValueId, String> {
    let swapped = matches!(l.value(node, 0)?, Value::Constant(_));
    let (value, other) = if swapped { (1, 0) } else { (0, 1) };
    let input = l.graph(node, value)?;
    if let Value::Graph(second) = l.value(node, other)? {
        let second = *second;
        return match node.operator.as_str() {
            "Add" => Ok(l.builder.add(&node.name, input, second)),
            "Mul" => push(l, node, 2, Op::Mul),
            "Sub" => push(l, node, 2, Op::Sub),
            _ => Err("division by a computed value is not supported".into()),
        };
    }
    let constant = l.constant(node, other)?;
    // [C] and [1, C] would broadcast over the width of an image, not its channels.
    let per_channel = constant.dims.len() >= 3 && constant.dims[constant.dims.len() - 2..] == [1, 1];
    let data = constant.floats()?.to_vec();
    if data.len() > 1 && !per_channel {
        return Err("only one constant, or one per channel ([C, 1, 1]), is supported".into());
    }
    let ones = vec![1.0; data.len()];
    let zeros = vec![0.0; data.len()];
    let (scale, bias) = match (node.operator.as_str(), swapped) {
        ("Add", _) => (ones, data),
        ("Mul", _) => (data, zeros),
        ("Sub", false) => (ones, data.iter().map(|v| -v).collect()),
        ("Sub", true) => (vec![-1.0; data.len()], data),
        ("Div", false) => (data.iter().map(|v| 1.0 / v).collect(), zeros),
        _ => return Err("division by a computed value is not supported".into()),
    };
    if scale.iter().any(|s: &f32| !s.is_finite()) {
        return Err("division by zero".into());
    }
    Ok(l.builder.affine(&node.name, input, scale, bias))
}

fn pool(l: &mut Lowering, node: &Node) -> Result<ValueId, String> {
    let window = window(node, list(node, "kernel_shape", 0)?)?;
    if node.ints("dilations").is_some_and(|d| d.iter().any(|d| *d != 1)) {
        return Err("dilated pooling is not supported".into());
    }
    let ceil = node.int("ceil_mode", 0) != 0;
    let op = if node.operator == "MaxPool" {
        Op::MaxPool { window, ceil }
    } else {
        Op::AveragePool { window, ceil, count_pads: node.int("count_include_pad", 0) != 0 }
    };
    push(l, node, 1, op)
}

fn resize(l: &mut Lowering, node: &Node) -> Result<ValueId, String> {
    let upsample = node.operator == "Upsample";
    let coordinates = match node.text("coordinate_transformation_mode", "half_pixel")? {
        _ if upsample => Coordinates::Asymmetric,
        "asymmetric" => Coordinates::Asymmetric,
        "half_pixel" | "pytorch_half_pixel" => Coordinates::HalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        other => return Err(format!("coordinate_transformation_mode {other} is not supported")),
    };
    let sampling = match (node.text("mode", "nearest")?, node.text("nearest_mode", "round_prefer_floor")?) {
        ("nearest", "floor") => Sampling::NearestFloor,
        ("nearest", _) if upsample => Sampling::NearestFloor,
        ("nearest", "round_prefer_floor") => Sampling::NearestRound,
        ("linear" | "bilinear", _) => Sampling::Linear,
        (mode, nearest) => return Err(format!("mode {mode} with {nearest} is not supported")),
    };
    let input = l.graph(node, 0)?;
    let scales = if upsample || l.opset < 11 { 1 } else { 2 };
    let given = l.optional(node, scales)?.map(|c| c.floats().map(<[f32]>::to_vec)).transpose()?;
    if let Some([n, c, h, w]) = given.as_deref()
        && [*n, *c] == [1.0, 1.0]
        && *h > 0.0
        && *w > 0.0
    {
        let op = Op::Resize { sampling, coordinates, scale: Some([*h, *w]) };
        return Ok(l.builder.push(&node.name, vec![input], op));
    }
    // Sizes computed from another value's shape: the network resizes to that value's size.
    match l.value(node, 3)?.dims()?[..] {
        [_, _, Dim::Of(h, 2), Dim::Of(w, 3)] if h == w => {
            let op = Op::Resize { sampling, coordinates, scale: None };
            Ok(l.builder.push(&node.name, vec![input, h], op))
        }
        _ => Err("the size must be a factor or another value's size".into()),
    }
}

fn reshape(l: &mut Lowering, node: &Node) -> Result<ValueId, String> {
    if node.int("allowzero", 0) != 0 {
        return Err("allowzero is not supported".into());
    }
    let shape = l.value(node, 1)?.dims()?;
    let shape = shape.iter().enumerate().map(|(at, dim)| match (at, dim) {
        (_, Dim::Known(v)) if *v >= -1 => Ok(*v),
        // The batch is one picture in every value.
        (0, Dim::Of(_, 0)) => Ok(1),
        _ => Err("a shape computed from other dimensions than the batch is not supported".to_owned()),
    });
    let shape = shape.collect::<Result<Vec<_>, _>>()?;
    push(l, node, 1, Op::Reshape { shape })
}
