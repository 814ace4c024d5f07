//! The operators that cost little, as plain loops.

use super::{
    plan::{Action, Combine, Layout, Pixels, Step},
    run::View,
    weights::{Elementwise, NodeWeights},
};
use crate::{
    graph::{Coordinates, Sampling},
    sampling::source,
};

/// Runs a step that is no convolution.
pub(super) fn run<'a>(
    step: &Step,
    weights: &NodeWeights,
    view: &impl Fn(usize) -> Option<View<'a>>,
    out: &mut [f32],
) -> Result<(), String> {
    let x = view(0).ok_or("an input is missing")?;
    let y = || view(1).ok_or("an input is missing");
    match (&step.action, step.output.layout) {
        (Action::Affine, layout) => {
            let NodeWeights::Affine(scale, bias, activation) = weights else {
                return Err("no factors".into());
            };
            affine(x.data, layout, [scale, bias], activation, out);
        }
        (Action::Activate, layout) => {
            let NodeWeights::Elementwise(activation) = weights else { return Err("no activation".into()) };
            let (count, pitch, channels) = extent(layout);
            out[..count].copy_from_slice(&x.data[..count]);
            activate(activation, &mut out[..count], pitch, channels);
        }
        (Action::Combine(combine), layout) => {
            self::combine(*combine, x, y()?, layout, out)?;
            if let NodeWeights::Elementwise(activation) = weights {
                let (count, pitch, channels) = extent(layout);
                activate(activation, &mut out[..count], pitch, channels);
            }
        }
        (Action::GlobalAverage, Layout::Pixels(to)) => {
            let (data, from) = x.pixels()?;
            let sums = &mut out[..to.pitch];
            sums.fill(0.0);
            for pixel in data[..from.height * from.row].chunks_exact(from.pitch) {
                sums.iter_mut().zip(pixel).for_each(|(s, v)| *s += v);
            }
            let count = (from.height * from.width) as f32;
            sums.iter_mut().for_each(|s| *s /= count);
        }
        (Action::Nearest { rows, columns }, Layout::Pixels(to)) => {
            let (data, from) = x.pixels()?;
            let other = view(1).map(|v| v.data);
            for (row, (line, source)) in out.chunks_exact_mut(to.row).zip(rows).enumerate() {
                let source = &data[source * from.row..][..from.row];
                for (column, (pixel, at)) in line.chunks_exact_mut(to.pitch).zip(columns).enumerate() {
                    let source = &source[at * from.pitch..][..to.pitch];
                    if let Some(other) = other {
                        let other = &other[row * to.row + column * to.pitch..][..to.pitch];
                        let pairs = source.iter().zip(other);
                        pixel.iter_mut().zip(pairs).for_each(|(p, (a, b))| *p = a + b);
                    } else {
                        pixel.copy_from_slice(source);
                    }
                }
            }
        }
        (Action::Bilinear { coordinates, scale }, Layout::Pixels(to)) => {
            let (data, from) = x.pixels()?;
            bilinear(data, from, to, *coordinates, *scale, out);
        }
        (Action::ConcatChannels, Layout::Pixels(to)) => {
            let mut first = 0;
            for part in 0..step.inputs.len() {
                let (data, from) = view(part).ok_or("an input is missing")?.pixels()?;
                copy(data, from, &mut out[first..], Pixels { channels: from.channels, ..to });
                first += from.channels;
            }
        }
        (Action::ConcatFlat { outer }, Layout::Flat(count)) => {
            let inner = count / outer.max(&1);
            let mut first = 0;
            for part in 0..step.inputs.len() {
                let data = view(part).ok_or("an input is missing")?.flat()?;
                let length = data.len() / outer.max(&1);
                for (o, piece) in data.chunks_exact(length.max(1)).enumerate() {
                    out[o * inner + first..][..length].copy_from_slice(piece);
                }
                first += length;
            }
        }
        (Action::Softmax, Layout::Flat(count)) => {
            let data = x.flat()?;
            let highest = data.iter().copied().fold(f32::MIN, f32::max);
            let out = &mut out[..count];
            out.iter_mut().zip(data).for_each(|(o, v)| *o = (v - highest).exp());
            let sum: f32 = out.iter().sum();
            out.iter_mut().for_each(|o| *o /= sum);
        }
        (Action::CopyPixels { pad }, Layout::Pixels(to)) => {
            let (data, from) = x.pixels()?;
            border(out, to, *pad);
            copy(data, from, &mut out[to.start..], to);
        }
        (Action::Planes, Layout::Flat(_)) => {
            let (data, from) = x.pixels()?;
            planes(data, from, out);
        }
        (Action::Interleave, Layout::Flat(_)) => {
            let (data, from) = x.pixels()?;
            copy(data, from, out, Pixels::dense(from.channels, from.height, from.width, from.channels));
        }
        (Action::FromPlanes, Layout::Pixels(to)) => {
            let data = x.flat()?;
            let plane = to.height * to.width;
            for (cell, pixel) in out[..to.height * to.row].chunks_exact_mut(to.pitch).enumerate() {
                for (c, value) in pixel.iter_mut().enumerate() {
                    *value = if c < to.channels { data[c * plane + cell] } else { 0.0 };
                }
            }
        }
        (Action::Transpose { dims, permutation }, Layout::Flat(_)) => {
            transpose(x.flat()?, dims, permutation, out)
        }
        (action, _) => return Err(format!("{action:?} has another kind of output")),
    }
    Ok(())
}

/// Elements, elements a pixel, and channels of a layout; a flat value is one pixel.
const fn extent(layout: Layout) -> (usize, usize, usize) {
    match layout {
        Layout::Pixels(p) => (p.height * p.row, p.pitch, p.channels),
        Layout::Flat(n) => (n, n, n),
    }
}

fn activate(activation: &Elementwise, out: &mut [f32], pitch: usize, channels: usize) {
    if !activation.is_none() {
        out.chunks_exact_mut(pitch).for_each(|pixel| activation.pixel(&mut pixel[..channels]));
    }
}

fn affine(x: &[f32], layout: Layout, [scale, bias]: [&[f32]; 2], activation: &Elementwise, out: &mut [f32]) {
    let (count, pitch, channels) = extent(layout);
    for (from, to) in x[..count].chunks_exact(pitch).zip(out[..count].chunks_exact_mut(pitch)) {
        if let ([scale], [bias]) = (scale, bias) {
            to.iter_mut().zip(from).for_each(|(t, f)| *t = f * scale + bias);
        } else {
            let factors = scale.iter().cycle().zip(bias.iter().cycle());
            to[..channels].iter_mut().zip(from).zip(factors).for_each(|((t, f), (s, b))| *t = f * s + b);
            to[channels..].fill(0.0);
        }
    }
    activate(activation, &mut out[..count], pitch, channels);
}

fn combine(
    combine: Combine,
    a: View<'_>,
    b: View<'_>,
    layout: Layout,
    out: &mut [f32],
) -> Result<(), String> {
    let (count, pitch, _) = extent(layout);
    let f = |a: f32, b: f32| match combine {
        Combine::Add => a + b,
        Combine::Mul => a * b,
        Combine::Sub => a - b,
    };
    // One pixel against many: one number per channel.
    let one = |v: &View<'_>| matches!((v.layout, layout), (Layout::Pixels(p), Layout::Pixels(to)) if p.height * p.width == 1 && to.height * to.width > 1);
    let (single_a, single_b) = (one(&a), one(&b));
    if !single_a && !single_b {
        let pairs = a.data[..count].iter().zip(&b.data[..count]);
        out[..count].iter_mut().zip(pairs).for_each(|(o, (a, b))| *o = f(*a, *b));
        return Ok(());
    }
    for (i, pixel) in out[..count].chunks_exact_mut(pitch).enumerate() {
        let at = |v: &View<'_>, single: bool| if single { 0 } else { i * pitch.min(v.data.len()) };
        let (x, y) = (&a.data[at(&a, single_a)..][..pitch], &b.data[at(&b, single_b)..][..pitch]);
        pixel.iter_mut().zip(x.iter().zip(y)).for_each(|(o, (a, b))| *o = f(*a, *b));
    }
    Ok(())
}

/// Enlarges or shrinks by bilinear interpolation.
fn bilinear(
    data: &[f32],
    from: Pixels,
    to: Pixels,
    coordinates: Coordinates,
    scale: Option<[f32; 2]>,
    out: &mut [f32],
) {
    let place = |at: usize, axis: usize, from: usize, to: usize| {
        source(at, from, to, scale.map(|s| s[axis]), Sampling::Linear, coordinates)
    };
    for row in 0..to.height {
        let (top, bottom, down) = place(row, 0, from.height, to.height);
        for column in 0..to.width {
            let (left, right, across) = place(column, 1, from.width, to.width);
            let at = |y: usize, x: usize| &data[y * from.row + x * from.pitch..][..from.pitch];
            let pixel = &mut out[row * to.row + column * to.pitch..][..to.pitch];
            let corners =
                at(top, left).iter().zip(at(top, right)).zip(at(bottom, left)).zip(at(bottom, right));
            for (p, (((a, b), c), d)) in pixel.iter_mut().zip(corners) {
                *p = (a * (1.0 - across) + b * across) * (1.0 - down)
                    + (c * (1.0 - across) + d * across) * down;
            }
        }
    }
}

/// Copies the channels of all pixels, and zeroes what remains of the target's pitch where the
/// target's pixels are the copy's own.
fn copy(data: &[f32], from: Pixels, out: &mut [f32], to: Pixels) {
    let same = from.pitch == to.pitch && from.pitch == from.channels;
    for row in 0..from.height {
        let source = &data[from.start + row * from.row..];
        let target = &mut out[row * to.row..];
        if same {
            let length = from.width * from.pitch;
            target[..length].copy_from_slice(&source[..length]);
            continue;
        }
        for column in 0..from.width {
            let pixel = &source[column * from.pitch..][..from.channels];
            target[column * to.pitch..][..from.channels].copy_from_slice(pixel);
        }
    }
}

/// Zeroes the padding around pixels.
fn border(out: &mut [f32], to: Pixels, [rows, columns]: [usize; 2]) {
    if [rows, columns] == [0, 0] {
        if to.pitch > to.channels {
            out[..to.height * to.row].fill(0.0);
        }
        return;
    }
    let (before, side) = (rows * to.row, columns * to.pitch);
    out[..before + side].fill(0.0);
    for row in 0..to.height {
        let end = to.start + row * to.row + to.width * to.pitch;
        let next = end + 2 * side;
        let length = out.len();
        out[end..next.min(length)].fill(0.0);
    }
    let below = to.start + to.height * to.row - side;
    let length = out.len().min(below + before);
    out[below..length].fill(0.0);
}

/// `[C, H, W]` order.
pub(super) fn planes(data: &[f32], from: Pixels, out: &mut [f32]) {
    let plane = from.height * from.width;
    for row in 0..from.height {
        for column in 0..from.width {
            let pixel = &data[from.start + row * from.row + column * from.pitch..][..from.channels];
            for (c, value) in pixel.iter().enumerate() {
                out[c * plane + row * from.width + column] = *value;
            }
        }
    }
}

fn transpose(data: &[f32], dims: &[usize], permutation: &[usize], out: &mut [f32]) {
    let mut strides = vec![1; dims.len()];
    for i in (0..dims.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * dims[i + 1];
    }
    let sizes: Vec<usize> = permutation.iter().map(|p| dims[*p]).collect();
    let steps: Vec<usize> = permutation.iter().map(|p| strides[*p]).collect();
    for (at, value) in out[..data.len()].iter_mut().enumerate() {
        let (mut rest, mut from) = (at, 0);
        for (size, step) in sizes.iter().zip(&steps).rev() {
            from += rest % size * step;
            rest /= size;
        }
        *value = data[from];
    }
}
