//! Dense 3x3 convolutions of stride 1 with fewer multiplications (Lavin and Gray 2016, "Fast Algorithms
//! for Convolutional Neural Networks"): squares of pixels and filters are transformed so that a
//! convolution becomes a product for each place of the square, and the products are transformed back.
//! A square of 4x4 outputs takes 36 products a pair of channels instead of 144, one of 2x2 takes 16
//! instead of 36.

use super::{Finish, Fused, Isa, PackedConv, Walk, conv, finish, vector::Vector};

/// Outputs a side of a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Two,
    Four,
}

/// Elements of transformed pixels and of products that are worked on at a time: a part of the second
/// cache, beside the weights.
const BLOCK: usize = 160 << 10;

impl Form {
    /// Outputs of a square, a side.
    pub(crate) const fn outputs(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Pixels that a square reads, a side, which is the places that it has.
    pub(crate) const fn places(self) -> usize {
        self.outputs() + 2
    }

    /// Squares that cover a map.
    pub(crate) const fn squares(self, height: usize, width: usize) -> usize {
        height.div_ceil(self.outputs()) * width.div_ceil(self.outputs())
    }

    /// The filter's transform: a row for each place.
    const fn filter(self) -> &'static [[f64; 3]] {
        match self {
            Self::Two => &[[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]],
            Self::Four => &[
                [0.25, 0.0, 0.0],
                [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
                [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
                [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
                [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
                [0.0, 0.0, 1.0],
            ],
        }
    }
}

/// Transformed weights, packed for one instruction set.
pub(crate) struct PackedWinograd {
    isa: Isa,
    form: Form,
    inputs: usize,
    /// Output channels in whole registers.
    pitch: usize,
    /// A matrix for each place, row by row.
    places: Vec<PackedConv>,
    /// Summands of products, which have none.
    zeros: Vec<f32>,
}

impl PackedWinograd {
    /// Transforms `[out, 3, 3, in]`.
    pub(crate) fn new(isa: Isa, form: Form, weights: &[f32], outputs: usize) -> Self {
        let inputs = weights.len() / (9 * outputs.max(1));
        let (rows, count) = (form.filter(), form.places());
        let place = |i: usize, j: usize| {
            let mut matrix = vec![0.0; outputs * inputs];
            for (out, line) in matrix.chunks_exact_mut(inputs.max(1)).enumerate() {
                for (channel, value) in line.iter_mut().enumerate() {
                    let mut sum = 0.0;
                    for y in 0..3 {
                        for x in 0..3 {
                            let weight = f64::from(weights[((out * 3 + y) * 3 + x) * inputs + channel]);
                            sum += rows[i][y] * rows[j][x] * weight;
                        }
                    }
                    *value = sum as f32;
                }
            }
            PackedConv::new(isa, &matrix, outputs)
        };
        let places = (0..count * count).map(|at| place(at / count, at % count)).collect();
        let pitch = outputs.next_multiple_of(isa.lanes());
        Self { isa, form, inputs, pitch, places, zeros: vec![0.0; pitch] }
    }

    /// Outputs of a square, a side.
    pub(crate) fn side(&self) -> usize {
        self.form.outputs()
    }

    /// Squares that are worked on at a time.
    fn block(&self) -> usize {
        let places = self.places.len();
        let elements = self.inputs.next_multiple_of(self.isa.lanes()) + self.pitch;
        (BLOCK / (places * elements)).max(1)
    }

    /// Elements of the memory that [`winograd`] works in.
    pub(crate) fn memory(&self) -> usize {
        let elements = self.inputs.next_multiple_of(self.isa.lanes()) + self.pitch;
        self.block() * self.places.len() * elements
    }
}

/// The pixels that are read, with one pixel of padding around them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Padded<'a> {
    /// From the first channel of the padding's first pixel.
    pub(crate) data: &'a [f32],
    /// Of the map without its padding, which is that of the output.
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Elements from one pixel to the next, and from one row to the next.
    pub(crate) pitch: usize,
    pub(crate) row: usize,
}

/// Convolves the output rows from `first`, a multiple of the square's side, on; `out` has whole rows.
///
/// # Panics
/// Where a length does not fit the others.
pub(crate) fn winograd(
    packed: &PackedWinograd,
    input: &Padded<'_>,
    first: usize,
    finish: &Finish<'_>,
    memory: &mut [f32],
    out: &mut [f32],
) {
    let line = input.width * packed.pitch;
    if line == 0 || out.is_empty() {
        return;
    }
    let rows = out.len() / line;
    assert!(out.len() == rows * line && first + rows <= input.height, "the output has no whole rows");
    assert!(first.is_multiple_of(packed.side()), "the first row begins no square");
    let needed = (input.height + 1) * input.row + (input.width + 1) * input.pitch + packed.inputs;
    assert!(input.data.len() >= needed && input.pitch >= packed.inputs, "the input is too short");
    assert!(memory.len() >= packed.memory(), "the memory is too short");
    finish.check(packed.pitch, out.len());
    let job = Job { packed, input, first, rows, finish, memory, out };
    super::dispatch!(packed.isa, all, job);
}

struct Job<'a, 'b> {
    packed: &'a PackedWinograd,
    input: &'a Padded<'b>,
    first: usize,
    rows: usize,
    finish: &'a Finish<'b>,
    memory: &'a mut [f32],
    out: &'a mut [f32],
}

/// # Safety
/// `V`'s instruction set is there; the lengths were checked by [`winograd`].
#[inline(always)]
unsafe fn all<V: Vector>(mut job: Job<'_, '_>) {
    let Job { packed, input, rows, .. } = job;
    let side = packed.form.outputs();
    let across = input.width.div_ceil(side);
    let squares = rows.div_ceil(side) * across;
    let (block, places) = (packed.block(), packed.places.len());
    let wide = packed.inputs.next_multiple_of(V::LANES);
    let mut done = 0;
    while done < squares {
        let count = block.min(squares - done);
        // SAFETY: as above; the memory holds a block of transformed pixels and of products.
        unsafe {
            for at in 0..count {
                let (y, x) = ((done + at) / across * side, (done + at) % across * side);
                match packed.form {
                    Form::Two => read::<V, Two, 4, 2>(&mut job, y, x, at, count),
                    Form::Four => read::<V, Four, 6, 4>(&mut job, y, x, at, count),
                }
            }
        }
        let (pixels, products) = job.memory.split_at_mut(block * places * wide);
        let walk = Walk { width: count, step: [wide, 0], taps: &[0], run: packed.inputs };
        let plain = Finish { bias: &packed.zeros, fused: Fused::None, slopes: &[], residual: &[] };
        for (place, matrix) in packed.places.iter().enumerate() {
            let from = &pixels[place * count * wide..][..count * wide];
            let to = &mut products[place * count * packed.pitch..][..count * packed.pitch];
            conv(matrix, from, &walk, 0, &plain, to);
        }
        // SAFETY: as above.
        unsafe {
            for at in 0..count {
                let (y, x) = ((done + at) / across * side, (done + at) % across * side);
                match packed.form {
                    Form::Two => write::<V, Two, 4, 2>(&mut job, y, x, at, count),
                    Form::Four => write::<V, Four, 6, 4>(&mut job, y, x, at, count),
                }
            }
        }
        done += count;
    }
}

/// The transforms of lines of a square: `IN` pixels to `IN` places, and those to `OUT` outputs.
trait Lines<const IN: usize, const OUT: usize> {
    unsafe fn pixels<V: Vector>(line: [V; IN]) -> [V; IN];
    unsafe fn products<V: Vector>(line: [V; IN]) -> [V; OUT];
}

struct Two;
struct Four;

/// `a - b`.
#[inline(always)]
unsafe fn minus<V: Vector>(a: V, b: V) -> V {
    unsafe { b.mul_add(V::splat(-1.0), a) }
}

/// `a * factor + b`.
#[inline(always)]
unsafe fn times<V: Vector>(a: V, factor: f32, b: V) -> V {
    unsafe { a.mul_add(V::splat(factor), b) }
}

impl Lines<4, 2> for Two {
    #[inline(always)]
    unsafe fn pixels<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 4] {
        unsafe { [minus(a, c), b.add(c), minus(c, b), minus(b, d)] }
    }
    #[inline(always)]
    unsafe fn products<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 2] {
        unsafe { [a.add(b).add(c), minus(minus(b, c), d)] }
    }
}

impl Lines<6, 4> for Four {
    #[inline(always)]
    unsafe fn pixels<V: Vector>([a, b, c, d, e, f]: [V; 6]) -> [V; 6] {
        unsafe {
            let (even, odd) = (times(c, -4.0, e), times(b, -4.0, d));
            let (near, far) = (minus(e, c), minus(d, b));
            [
                times(a, 4.0, times(c, -5.0, e)),
                even.add(odd),
                minus(even, odd),
                times(far, 2.0, near),
                times(far, -2.0, near),
                times(b, 4.0, times(d, -5.0, f)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn products<V: Vector>([a, b, c, d, e, f]: [V; 6]) -> [V; 4] {
        unsafe {
            let (sum, difference) = (b.add(c), minus(b, c));
            let (high, low) = (d.add(e), minus(d, e));
            [
                a.add(sum).add(high),
                times(low, 2.0, difference),
                times(high, 4.0, sum),
                times(low, 8.0, difference).add(f),
            ]
        }
    }
}

/// Transforms the pixels of the square whose first output is at `y`, `x` of the job's rows.
///
/// # Safety
/// As for [`all`].
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant trip counts, unrolled into registers")]
unsafe fn read<V: Vector, F: Lines<IN, OUT>, const IN: usize, const OUT: usize>(
    job: &mut Job<'_, '_>,
    y: usize,
    x: usize,
    at: usize,
    count: usize,
) {
    let Padded { data, height, width, pitch, row } = *job.input;
    let inputs = job.packed.inputs;
    let wide = inputs.next_multiple_of(V::LANES);
    // Rows and columns beyond the padding belong to outputs that nobody asked for.
    let (down, right) = (IN.min(height + 2 - job.first - y), IN.min(width + 2 - x));
    let start = (job.first + y) * row + x * pitch;
    // SAFETY: `winograd` checked that the pixels with their padding lie in the data; a register that
    // reaches beyond its end is loaded by its elements.
    unsafe {
        let mut channel = 0;
        while channel < inputs {
            let mut square = [[V::splat(0.0); IN]; IN];
            for i in 0..down {
                for j in 0..right {
                    let from = start + i * row + j * pitch + channel;
                    square[i][j] = if from + V::LANES <= data.len() {
                        V::load(data.as_ptr().add(from))
                    } else {
                        let mut rest = [0.0; MOST_LANES];
                        rest[..data.len() - from].copy_from_slice(&data[from..]);
                        V::load(rest.as_ptr())
                    };
                }
            }
            for j in 0..IN {
                let mut line = [V::splat(0.0); IN];
                for i in 0..IN {
                    line[i] = square[i][j];
                }
                let line = F::pixels(line);
                for i in 0..IN {
                    square[i][j] = line[i];
                }
            }
            let to = job.memory.as_mut_ptr().add(at * wide + channel);
            for i in 0..IN {
                let line = F::pixels(square[i]);
                for j in 0..IN {
                    line[j].store(to.add((i * IN + j) * count * wide));
                }
            }
            channel += V::LANES;
        }
    }
}

/// Longest register, in elements.
const MOST_LANES: usize = 16;

/// Transforms the products of a square to its outputs, and finishes them.
///
/// # Safety
/// As for [`all`].
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant trip counts, unrolled into registers")]
unsafe fn write<V: Vector, F: Lines<IN, OUT>, const IN: usize, const OUT: usize>(
    job: &mut Job<'_, '_>,
    y: usize,
    x: usize,
    at: usize,
    count: usize,
) {
    let (packed, width) = (job.packed, job.input.width);
    let pitch = packed.pitch;
    let wide = packed.inputs.next_multiple_of(V::LANES);
    let products = packed.block() * packed.places.len() * wide;
    let (down, right) = (OUT.min(job.rows - y), OUT.min(width - x));
    // SAFETY: as for `read`; rows and columns beyond the output are left out.
    unsafe {
        let mut channel = 0;
        while channel < pitch {
            let from = job.memory.as_ptr().add(products + at * pitch + channel);
            let mut half = [[V::splat(0.0); IN]; OUT];
            for j in 0..IN {
                let mut line = [V::splat(0.0); IN];
                for i in 0..IN {
                    line[i] = V::load(from.add((i * IN + j) * count * pitch));
                }
                let line = F::products(line);
                for i in 0..OUT {
                    half[i][j] = line[i];
                }
            }
            let bias = V::load(job.finish.bias.as_ptr().add(channel));
            for i in 0..down {
                let line = F::products(half[i]);
                for j in 0..right {
                    let offset = ((y + i) * width + x + j) * pitch + channel;
                    finish::store(job.finish, [[line[j].add(bias)]], channel, offset, pitch, job.out);
                }
            }
            channel += V::LANES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_make_a_convolution() {
        // One line: three outputs' worth of pixels, as the definition has it.
        for (form, pixels) in [(Form::Two, 4), (Form::Four, 6)] {
            let outputs = form.outputs();
            let line: Vec<f32> = (0..pixels).map(|i| (i * i) as f32 * 0.3 - 1.0).collect();
            let filter = [0.5f32, -1.25, 2.0];
            let transformed: Vec<f32> = form
                .filter()
                .iter()
                .map(|row| row.iter().zip(filter).map(|(a, b)| *a as f32 * b).sum())
                .collect();
            let splat = |v: f32| unsafe { super::super::Portable::splat(v) };
            let value = |v: super::super::Portable| {
                let mut out = [0.0; 4];
                unsafe { v.store(out.as_mut_ptr()) };
                out[0]
            };
            let found: Vec<f32> = unsafe {
                match form {
                    Form::Two => {
                        let pixels = Two::pixels(std::array::from_fn(|i| splat(line[i])));
                        let products =
                            std::array::from_fn(|i| pixels[i].mul_add(splat(transformed[i]), splat(0.0)));
                        Two::products(products).into_iter().map(value).collect()
                    }
                    Form::Four => {
                        let pixels = Four::pixels(std::array::from_fn(|i| splat(line[i])));
                        let products =
                            std::array::from_fn(|i| pixels[i].mul_add(splat(transformed[i]), splat(0.0)));
                        Four::products(products).into_iter().map(value).collect()
                    }
                }
            };
            for at in 0..outputs {
                let wanted: f32 = (0..3).map(|k| line[at + k] * filter[k]).sum();
                assert!((found[at] - wanted).abs() < 1e-4, "{form:?} {at}: {} {wanted}", found[at]);
            }
        }
    }
}
