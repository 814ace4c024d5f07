//! Shape inference: the dimensions of every value of a graph for one input size.

use crate::graph::{Activation, Graph, Op, Params, ValueId, Window};

/// Most elements of one value: 256 MiB of f32.
const MAX_ELEMENTS: usize = 1 << 26;

/// Most padding of two opposite sides, in pixels: a hostile graph must not ask for memory with it.
const MAX_PADS: usize = 64;

/// Longest side, stride and dilation of a window: far above those of real networks, and so far below
/// what a number holds that no product of it with a picture's sides can wrap.
const MAX_WINDOW: usize = 1 << 12;

/// Dimensions of a value; `[1, C, H, W]` for images.
pub(crate) type Shape = Vec<usize>;

/// The shape of every value, the input first, for an input of `[1, C, H, W]`.
///
/// # Errors
/// The first node whose inputs do not fit it, in words.
pub(crate) fn infer(graph: &Graph, params: &Params, input: [usize; 3]) -> Result<Vec<Shape>, String> {
    for (given, wanted) in input.iter().zip(graph.input) {
        if *given == 0 || (wanted != 0 && wanted != *given) {
            return Err(format!("an input of {input:?} where {:?} is expected (0: any)", graph.input));
        }
    }
    let mut shapes: Vec<Shape> = vec![vec![1, input[0], input[1], input[2]]];
    for node in &graph.nodes {
        let inputs: Vec<&Shape> = node.inputs.iter().filter_map(|v: &ValueId| shapes.get(*v)).collect();
        let shape = output(&node.op, &inputs, params)
            .and_then(|shape| {
                let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
                match count {
                    Some(1..=MAX_ELEMENTS) => Ok(shape),
                    _ => Err(format!("a result of {shape:?} is not possible")),
                }
            })
            .map_err(|problem| format!("node {} ({}): {problem}", node.name, node.op.name()))?;
        shapes.push(shape);
    }
    Ok(shapes)
}

fn image(shape: &Shape) -> Result<[usize; 3], String> {
    match shape[..] {
        [1, c, h, w] => Ok([c, h, w]),
        _ => Err(format!("an image is expected, not {shape:?}")),
    }
}

/// Length of one side after a window moved over it.
fn moved(size: usize, kernel: usize, stride: usize, pads: usize, ceil: bool) -> Result<usize, String> {
    let span = size
        .checked_add(pads)
        .and_then(|size| size.checked_sub(kernel))
        .ok_or("the picture is smaller than the kernel")?;
    Ok(if ceil { span.div_ceil(stride) } else { span / stride } + 1)
}

/// Height and width after a window moved over a picture.
fn window(size: [usize; 2], window: &Window, dilation: [usize; 2], ceil: bool) -> Result<[usize; 2], String> {
    let mut out = [0; 2];
    if window.kernel.iter().chain(&window.stride).chain(&dilation).any(|n| *n > MAX_WINDOW) {
        return Err(format!("a window of more than {MAX_WINDOW} is not possible"));
    }
    for i in 0..2 {
        let pads = window.pads[i].checked_add(window.pads[i + 2]).filter(|p| *p <= MAX_PADS);
        let reach = window.kernel[i].checked_sub(1).and_then(|k| k.checked_mul(dilation[i]));
        let (Some(pads), Some(reach), 1..) = (pads, reach, window.stride[i]) else {
            return Err("the window is not possible".into());
        };
        let reach = reach.checked_add(1).ok_or("the window is not possible")?;
        out[i] = moved(size[i], reach, window.stride[i], pads, ceil)?;
        // A window that starts in the far padding sees nothing; ONNX leaves it out.
        if ceil && (out[i] - 1) * window.stride[i] >= size[i] + window.pads[i] {
            out[i] -= 1;
        }
    }
    Ok(out)
}

fn param<'a>(params: &'a Params, name: &str) -> Result<&'a crate::graph::Param, String> {
    params.get(name).ok_or_else(|| format!("the tensor {name} is missing"))
}

/// One or per channel (or per element of a vector).
fn per_channel(params: &Params, name: &str, channels: usize) -> Result<(), String> {
    match param(params, name)?.data.len() {
        n if n == 1 || n == channels => Ok(()),
        n => Err(format!("{n} factors for {channels} channels")),
    }
}

fn activation(op: &Op, params: &Params, channels: usize) -> Result<(), String> {
    let Some(Activation::Prelu(slope)) = op.activation() else { return Ok(()) };
    match param(params, slope)?.data.len() {
        n if n == channels => Ok(()),
        n => Err(format!("{n} slopes for {channels} channels")),
    }
}

fn output(op: &Op, inputs: &[&Shape], params: &Params) -> Result<Shape, String> {
    let first = *inputs.first().ok_or("an input is missing")?;
    let shape = match op {
        Op::Conv { weight, bias, window: w, dilation, groups, .. } => {
            let [c, height, width] = image(first)?;
            let weight = param(params, weight)?;
            let [out, per_group, kh, kw] = weight.dims[..] else {
                return Err("weights of four dimensions are expected".into());
            };
            if *groups == 0
                || out % groups != 0
                || per_group.checked_mul(*groups) != Some(c)
                || [kh, kw] != w.kernel
            {
                return Err(format!(
                    "weights of {:?} in {groups} groups do not fit {c} channels",
                    weight.dims
                ));
            }
            if let Some(bias) = bias
                && param(params, bias)?.data.len() != out
            {
                return Err("the bias does not fit the weights".into());
            }
            let [h, w] = window([height, width], w, *dilation, false)?;
            let shape = vec![1, out, h, w];
            if inputs.get(1).is_some_and(|residual| **residual != shape) {
                return Err(format!("a residual of {:?} does not fit {shape:?}", inputs[1]));
            }
            shape
        }
        Op::Linear { weight, bias, .. } => {
            let weight = param(params, weight)?;
            let [out, width] = weight.dims[..] else { return Err("a matrix is expected".into()) };
            if first[..] != [1, width] {
                return Err(format!("a matrix of {:?} does not fit {first:?}", weight.dims));
            }
            if let Some(bias) = bias
                && param(params, bias)?.data.len() != out
            {
                return Err("the bias does not fit the matrix".into());
            }
            vec![1, out]
        }
        Op::Affine { scale, bias, .. } => {
            let channels = first.get(1).copied().unwrap_or(0);
            per_channel(params, scale, channels)?;
            per_channel(params, bias, channels)?;
            first.clone()
        }
        Op::Activate { .. } | Op::Softmax { .. } => first.clone(),
        Op::Add { .. } | Op::Mul | Op::Sub => {
            let second = *inputs.get(1).ok_or("an input is missing")?;
            broadcast(first, second)?
        }
        Op::MaxPool { window: w, ceil } | Op::AveragePool { window: w, ceil, .. } => {
            let [c, height, width] = image(first)?;
            if w.kernel.iter().zip(&w.pads).chain(w.kernel.iter().zip(&w.pads[2..])).any(|(k, p)| p >= k) {
                return Err("padding as wide as the kernel".into());
            }
            let [h, w] = window([height, width], w, [1, 1], *ceil)?;
            vec![1, c, h, w]
        }
        Op::GlobalAveragePool => vec![1, image(first)?[0], 1, 1],
        Op::Resize { scale, .. } => {
            let [c, h, w] = image(first)?;
            match (scale, inputs.get(1)) {
                (Some([y, x]), _) => vec![1, c, (h as f32 * y) as usize, (w as f32 * x) as usize],
                (None, Some(like)) => {
                    let [_, h, w] = image(like)?;
                    vec![1, c, h, w]
                }
                (None, None) => return Err("the size is missing".into()),
            }
        }
        Op::Concat { axis } => {
            let mut joined = first.clone();
            if *axis >= joined.len() {
                return Err(format!("axis {axis} of {first:?}"));
            }
            for next in &inputs[1..] {
                if next.len() != joined.len() || (0..joined.len()).any(|i| i != *axis && next[i] != joined[i])
                {
                    return Err(format!("{next:?} can't be joined to {joined:?}"));
                }
                joined[*axis] += next[*axis];
            }
            joined
        }
        Op::Slice { first: from, count } => {
            let [c, h, w] = image(first)?;
            if from.checked_add(*count).is_none_or(|end| end > c) {
                return Err(format!("channels {from} to {from} + {count} of {c}"));
            }
            vec![1, *count, h, w]
        }
        Op::Flatten => vec![1, first.iter().product()],
        Op::Reshape { shape } => reshape(first, shape)?,
        Op::Transpose { permutation } => {
            let mut seen: Vec<usize> = permutation.clone();
            seen.sort_unstable();
            if seen != (0..first.len()).collect::<Vec<_>>() {
                return Err(format!("permutation {permutation:?} of {first:?}"));
            }
            permutation.iter().map(|p| first[*p]).collect()
        }
    };
    activation(op, params, shape.get(1).copied().unwrap_or(0))?;
    Ok(shape)
}

/// Equal shapes, or an image and one number per channel.
fn broadcast(a: &Shape, b: &Shape) -> Result<Shape, String> {
    let channel = |x: &Shape, y: &Shape| matches!((&x[..], &y[..]), ([1, c, _, _], [1, d, 1, 1]) if c == d);
    if a == b || channel(a, b) {
        Ok(a.clone())
    } else if channel(b, a) {
        Ok(b.clone())
    } else {
        Err(format!("{a:?} and {b:?} do not fit"))
    }
}

fn reshape(from: &Shape, to: &[i64]) -> Result<Shape, String> {
    let wrong = || format!("{from:?} can't become {to:?}");
    let total: usize = from.iter().product();
    let mut shape = Vec::with_capacity(to.len());
    let mut open = None;
    for (at, dim) in to.iter().enumerate() {
        shape.push(match dim {
            0 => *from.get(at).ok_or_else(wrong)?,
            -1 if open.is_none() => {
                open = Some(at);
                1
            }
            d => usize::try_from(*d).map_err(|_| wrong())?,
        });
    }
    let known =
        shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n > 0).ok_or_else(wrong)?;
    match open {
        Some(at) if total.is_multiple_of(known) => shape[at] = total / known,
        None if known == total => {}
        _ => return Err(wrong()),
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_whose_reach_wraps_are_refused() {
        let square =
            |kernel: usize, stride: usize| Window { kernel: [kernel; 2], stride: [stride; 2], pads: [0; 4] };
        assert_eq!(window([8, 8], &square(3, 2), [1, 1], false), Ok([3, 3]));
        // One less than the kernel, times the dilation, is the largest number there is: one more was 0,
        // and the window smaller than a pixel.
        for (kernel, dilation) in [(2, usize::MAX), (4, usize::MAX / 3), (6, usize::MAX / 5)] {
            assert!(window([8, 8], &square(kernel, 1), [dilation, 1], false).is_err());
            assert!(window([8, 8], &square(kernel, 1), [1, dilation], true).is_err());
        }
        assert!(window([8, 8], &square(2, usize::MAX), [1, 1], false).is_err());
        assert!(window([8, 8], &square(usize::MAX, 1), [1, 1], false).is_err());
        let padded = Window { pads: [usize::MAX, 0, 1, 0], ..square(2, 1) };
        assert!(window([8, 8], &padded, [1, 1], false).is_err());
    }
}
