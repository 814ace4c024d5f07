//! Every instruction set against straightforward loops, on random shapes.

use proptest::prelude::*;

use super::*;

/// Deterministic numbers in -1..1.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn padded(values: &[f32], pitch: usize) -> Vec<f32> {
    let mut out = values.to_vec();
    out.resize(pitch, 0.0);
    out
}

fn finished(sum: f32, fused: Fused, slope: f32, residual: f32) -> f32 {
    let v = sum + residual;
    match fused {
        Fused::None => v,
        Fused::Relu => v.max(0.0),
        Fused::Slopes => v.max(0.0) + slope * v.min(0.0),
    }
}

fn fused() -> impl Strategy<Value = Fused> {
    prop_oneof![Just(Fused::None), Just(Fused::Relu), Just(Fused::Slopes)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn convolutions(
        channels in 1usize..40,
        outputs in 1usize..150,
        (height, width) in (1usize..9, 1usize..17),
        kernel in 1usize..4,
        stride in 1usize..3,
        fused in fused(),
        residual: bool,
        skip in 0usize..5,
        seed: u32,
    ) {
        // The picture is given with its padding; `kernel` fits by construction.
        let (high, wide) = ((height - 1) * stride + kernel, (width - 1) * stride + kernel);
        let input = noise(high * wide * channels, seed);
        let depth = kernel * kernel * channels;
        let weights = noise(outputs * depth, seed ^ 1);
        let (bias, slopes) = (noise(outputs, seed ^ 2), noise(outputs, seed ^ 3));
        let skip = skip.min(height * width - 1);
        let pixels = height * width - skip;
        for isa in Isa::available() {
            let pitch = outputs.next_multiple_of(isa.lanes());
            let added = if residual { noise(pixels * pitch, seed ^ 4) } else { vec![] };
            let finish = Finish { bias: &padded(&bias, pitch), fused, slopes: &padded(&slopes, pitch), residual: &added };
            let taps: Vec<usize> = (0..kernel).map(|y| y * wide * channels).collect();
            let walk = Walk { width, step: [stride * channels, stride * wide * channels], taps: &taps, run: kernel * channels };
            let mut out = vec![f32::NAN; pixels * pitch];
            conv(&PackedConv::new(isa, &weights, outputs), &input, &walk, skip, &finish, &mut out);
            for pixel in 0..pixels {
                let (y, x) = ((pixel + skip) / width, (pixel + skip) % width);
                for o in 0..outputs {
                    let mut sum = bias[o];
                    for ky in 0..kernel {
                        for k in 0..kernel * channels {
                            let value = input[((y * stride + ky) * wide + x * stride) * channels + k];
                            sum += value * weights[o * depth + ky * kernel * channels + k];
                        }
                    }
                    let r = added.get(pixel * pitch + o).copied().unwrap_or(0.0);
                    let wanted = finished(sum, fused, slopes[o], r);
                    let got = out[pixel * pitch + o];
                    prop_assert!((got - wanted).abs() < 1e-3, "{isa:?} pixel {pixel} channel {o}: {got} {wanted}");
                }
            }
        }
    }

    #[test]
    fn fewer_multiplications(
        channels in 1usize..40,
        outputs in 1usize..70,
        (height, width) in (1usize..14, 1usize..19),
        gap in 0usize..3,
        fused in fused(),
        residual: bool,
        begun in 0usize..3,
        four: bool,
        seed: u32,
    ) {
        let form = if four { Form::Four } else { Form::Two };
        let (pitch_in, row) = (channels + gap, (width + 2) * (channels + gap));
        // Nothing but zeros in the padding, as around a map; what lies between channels is nobody's.
        let mut input = vec![0.0; (height + 2) * row - gap];
        for (at, value) in noise(height * width * channels, seed).into_iter().enumerate() {
            let (pixel, c) = (at / channels, at % channels);
            input[(pixel / width + 1) * row + (pixel % width + 1) * pitch_in + c] = value;
        }
        let depth = 9 * channels;
        let weights = noise(outputs * depth, seed ^ 1);
        let (bias, slopes) = (noise(outputs, seed ^ 2), noise(outputs, seed ^ 3));
        let first = (begun * form.outputs()).min((height - 1) / form.outputs() * form.outputs());
        let pixels = (height - first) * width;
        for isa in Isa::available() {
            let pitch = outputs.next_multiple_of(isa.lanes());
            let added = if residual { noise(pixels * pitch, seed ^ 4) } else { vec![] };
            let finish = Finish { bias: &padded(&bias, pitch), fused, slopes: &padded(&slopes, pitch), residual: &added };
            let packed = PackedWinograd::new(isa, form, &weights, outputs);
            let mut memory = vec![f32::NAN; packed.memory()];
            let mut out = vec![f32::NAN; pixels * pitch];
            let map = Padded { data: &input, height, width, pitch: pitch_in, row };
            winograd(&packed, &map, first, &finish, &mut memory, &mut out);
            for pixel in 0..pixels {
                let (y, x) = (pixel / width + first, pixel % width);
                for o in 0..outputs {
                    let (mut sum, mut size) = (bias[o], 1.0);
                    for tap in 0..9 {
                        for c in 0..channels {
                            let value = input[(y + tap / 3) * row + (x + tap % 3) * pitch_in + c];
                            sum += value * weights[o * depth + tap * channels + c];
                            size += (value * weights[o * depth + tap * channels + c]).abs();
                        }
                    }
                    let r = added.get(pixel * pitch + o).copied().unwrap_or(0.0);
                    let (wanted, got) = (finished(sum, fused, slopes[o], r), out[pixel * pitch + o]);
                    prop_assert!((got - wanted).abs() < 1e-4 * size, "{isa:?} pixel {pixel} channel {o}: {got} {wanted}");
                }
            }
        }
    }

    #[test]
    fn depthwise_rows(
        channels in 1usize..70,
        width in 1usize..30,
        kernel in prop_oneof![Just(3usize), 1usize..6],
        stride in 1usize..4,
        pad in 0usize..3,
        absent in 0usize..8,
        fused in fused(),
        seed: u32,
    ) {
        let pad = pad.min(kernel - 1);
        prop_assume!(width + 2 * pad >= kernel);
        let pixels = (width + 2 * pad - kernel) / stride + 1;
        let weights = noise(channels * kernel * kernel, seed);
        let (bias, slopes) = (noise(channels, seed ^ 2), noise(channels, seed ^ 3));
        for isa in Isa::available() {
            let pitch = channels.next_multiple_of(isa.lanes());
            let rows: Vec<Vec<f32>> = (0..kernel)
                .map(|y| if absent >> y & 1 == 1 { vec![] } else { noise(width * pitch, seed ^ y as u32) })
                .collect();
            let rows: Vec<&[f32]> = rows.iter().map(|r| &r[..]).collect();
            let finish = Finish { bias: &padded(&bias, pitch), fused, slopes: &padded(&slopes, pitch), residual: &[] };
            let shape = RowShape { width, pitch, stride, pad_left: pad };
            let mut out = vec![f32::NAN; pixels * pitch];
            let packed = PackedDepthwise::new(isa, &weights, channels, [kernel, kernel]);
            depthwise_row(&packed, &rows, &shape, &finish, &mut out);
            for pixel in 0..pixels {
                for c in 0..channels {
                    let mut sum = bias[c];
                    for (y, row) in rows.iter().enumerate().filter(|(_, r)| !r.is_empty()) {
                        for x in 0..kernel {
                            let at = pixel * stride + x;
                            if at >= pad && at - pad < width {
                                sum += row[(at - pad) * pitch + c] * weights[(c * kernel + y) * kernel + x];
                            }
                        }
                    }
                    let wanted = finished(sum, fused, slopes[c], 0.0);
                    let got = out[pixel * pitch + c];
                    prop_assert!((got - wanted).abs() < 1e-3, "{isa:?} pixel {pixel} channel {c}: {got} {wanted}");
                }
            }
        }
    }

    #[test]
    fn pools(
        channels in 1usize..40,
        width in 1usize..20,
        (tall, columns) in (1usize..4, 1usize..4),
        stride in 1usize..3,
        pad in 0usize..2,
        absent in 0usize..4,
        pooling in prop_oneof![Just(Pooling::Max), Just(Pooling::Average), Just(Pooling::AverageWithPads)],
        seed: u32,
    ) {
        let pad = pad.min(columns - 1);
        prop_assume!(width + 2 * pad >= columns);
        // A row in the padding, but never all of them.
        let absent = if tall > 1 { absent % tall } else { tall };
        let pixels = (width + 2 * pad - columns) / stride + 1;
        for isa in Isa::available() {
            let pitch = channels.next_multiple_of(isa.lanes());
            let rows: Vec<Vec<f32>> = (0..tall)
                .map(|y| if y == absent { vec![] } else { noise(width * pitch, seed ^ y as u32) })
                .collect();
            let rows: Vec<&[f32]> = rows.iter().map(|r| &r[..]).collect();
            let shape = PoolRow { tall, width, pad_left: pad, pads: 2 * pad, columns, stride, pitch };
            let mut out = vec![f32::NAN; pixels * pitch];
            pool_row(isa, pooling, &rows, &shape, &mut out);
            for pixel in 0..pixels {
                let columns = (0..columns).map(|x| pixel * stride + x).filter(|x| *x >= pad && x - pad < width);
                let columns: Vec<usize> = columns.map(|x| x - pad).collect();
                for c in 0..channels {
                    let values: Vec<f32> = rows
                        .iter()
                        .filter(|r| !r.is_empty())
                        .flat_map(|r| columns.iter().map(|x| r[x * pitch + c]))
                        .collect();
                    let wanted = match pooling {
                        Pooling::Max => values.iter().copied().fold(f32::MIN, f32::max),
                        Pooling::Average => values.iter().sum::<f32>() / values.len() as f32,
                        Pooling::AverageWithPads => values.iter().sum::<f32>() / (tall * shape.columns) as f32,
                    };
                    let got = out[pixel * pitch + c];
                    prop_assert!((got - wanted).abs() < 1e-4, "{isa:?} pixel {pixel} channel {c}: {got} {wanted}");
                }
            }
        }
    }
}

/// Lengths that wrap to small ones must not pass for small ones: the loops behind do not look again.
#[test]
fn what_wraps_is_refused() {
    let refused = |work: &dyn Fn()| {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_err();
        let text = panicked.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panicked.downcast_ref::<&str>().copied()).unwrap().to_owned()
    };
    for isa in Isa::available() {
        let pitch = isa.lanes();
        let bias = vec![0.0; pitch];
        let finish = Finish { bias: &bias, fused: Fused::None, slopes: &[], residual: &[] };
        let input = vec![0.0; 4 * pitch];
        let packed = PackedConv::new(isa, &[1.0; 2], 1);
        for (taps, step) in
            [([0, usize::MAX - 1], [1, 1]), ([0, 1], [usize::MAX, 1]), ([0, 1], [1, usize::MAX])]
        {
            let walk = Walk { width: 2, step, taps: &taps, run: 1 };
            let said = refused(&|| conv(&packed, &input, &walk, 0, &finish, &mut vec![0.0; 4 * pitch]));
            assert!(said.contains("the input is too short"), "{said}");
        }
        let packed = PackedDepthwise::new(isa, &[1.0], 1, [1, 1]);
        for (width, row_pitch, stride) in [(usize::MAX, pitch, 1), (2, usize::MAX, 1), (1, pitch, usize::MAX)]
        {
            let shape = RowShape { width, pitch: row_pitch, stride, pad_left: 0 };
            let said =
                refused(&|| depthwise_row(&packed, &[&input], &shape, &finish, &mut vec![0.0; 2 * pitch]));
            assert!(said.contains("too short") || said.contains("too long"), "{said}");
        }
        for (width, stride) in [(usize::MAX / pitch + 1, 1), (1, usize::MAX)] {
            let shape = PoolRow { tall: 1, width, pad_left: 0, pads: 0, columns: 1, stride, pitch };
            let said = refused(&|| pool_row(isa, Pooling::Max, &[&input], &shape, &mut vec![0.0; 2 * pitch]));
            assert!(said.contains("too short") || said.contains("too long"), "{said}");
        }
    }
}
