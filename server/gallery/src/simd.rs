//! Dot products of i8 vectors: the gallery's only inner loop, and its only `unsafe` code.
//!
//! The instructions are chosen at run time, so that one build serves every machine. All paths give the
//! same integers, so no answer depends on the machine.
#![allow(unsafe_code)]

use crate::code::Lane;

/// Dot products of one vector with the rows of a matrix, both in whole lanes.
///
/// `rows` holds `out.len()` rows of `vector.len()` lanes. A sum of at most
/// [`MAX_DIMENSION`](cavs_embedding::MAX_DIMENSION) products of two i8 always fits an i32.
pub(crate) fn dots(vector: &[Lane], rows: &[Lane], out: &mut [i32]) {
    debug_assert_eq!(rows.len(), vector.len() * out.len());
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the processor has the features that the function is compiled for.
            return unsafe { x86::dots_vnni(vector, rows, out) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { x86::dots_avx2(vector, rows, out) };
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        if std::arch::is_aarch64_feature_detected!("neon") {
            // SAFETY: as above.
            return unsafe { arm::dots_neon(vector, rows, out) };
        }
    }
    dots_portable(vector, rows, out);
}

/// The dot product of two vectors of the same number of lanes.
pub(crate) fn dot(a: &[Lane], b: &[Lane]) -> i32 {
    let mut out = [0];
    dots(a, b, &mut out);
    out[0]
}

fn dots_portable(vector: &[Lane], rows: &[Lane], out: &mut [i32]) {
    let lane_dot = |a: &Lane, b: &Lane| -> i32 {
        a.0.iter().zip(&b.0).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
    };
    for (row, dot) in rows.chunks_exact(vector.len()).zip(out) {
        *dot = vector.iter().zip(row).map(|(a, b)| lane_dot(a, b)).sum();
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lane;

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn dots_vnni(vector: &[Lane], rows: &[Lane], out: &mut [i32]) {
        // SAFETY: a lane is 64 bytes on a 64-byte boundary, all of them initialised.
        let load = |lane: &Lane| unsafe { _mm512_load_si512(lane.0.as_ptr().cast()) };
        // The instruction multiplies u8 by i8: rows are lifted by 128, and what that adds is taken off.
        let lift = _mm512_set1_epi8(-128);
        let lifted = vector
            .iter()
            .fold(_mm512_setzero_si512(), |sum, lane| _mm512_dpbusd_epi32(sum, lift, load(lane)));
        for (row, dot) in rows.chunks_exact(vector.len()).zip(out) {
            let sum = vector.iter().zip(row).fold(_mm512_setzero_si512(), |sum, (a, b)| {
                _mm512_dpbusd_epi32(sum, _mm512_xor_si512(load(b), lift), load(a))
            });
            *dot = _mm512_reduce_add_epi32(_mm512_sub_epi32(sum, lifted));
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn dots_avx2(vector: &[Lane], rows: &[Lane], out: &mut [i32]) {
        // SAFETY: `at` is 0, 16, 32 or 48, so 16 initialised bytes on a 16-byte boundary follow.
        let load = |lane: &Lane, at| unsafe { _mm_load_si128(lane.0.as_ptr().add(at).cast()) };
        for (row, dot) in rows.chunks_exact(vector.len()).zip(out) {
            let mut sum = _mm256_setzero_si256();
            for (a, b) in vector.iter().zip(row) {
                for at in (0..Lane::WIDTH).step_by(16) {
                    // 16 bits hold any product of two i8, and the sum of two has 32.
                    let (a, b) = (_mm256_cvtepi8_epi16(load(a, at)), _mm256_cvtepi8_epi16(load(b, at)));
                    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
                }
            }
            let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
            let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
            let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum));
            *dot = _mm_cvtsi128_si32(sum);
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::Lane;

    #[target_feature(enable = "neon")]
    pub(super) fn dots_neon(vector: &[Lane], rows: &[Lane], out: &mut [i32]) {
        // SAFETY: `at` is 0, 16, 32 or 48, so 16 initialised bytes follow.
        let load = |lane: &Lane, at| unsafe { vld1q_s8(lane.0.as_ptr().add(at)) };
        for (row, dot) in rows.chunks_exact(vector.len()).zip(out) {
            let mut sum = vdupq_n_s32(0);
            for (a, b) in vector.iter().zip(row) {
                for at in (0..Lane::WIDTH).step_by(16) {
                    let (a, b) = (load(a, at), load(b, at));
                    // 16 bits hold any product of two i8; adding neighbours widens to 32.
                    sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
                    sum = vpadalq_s16(sum, vmull_high_s8(a, b));
                }
            }
            *dot = vaddvq_s32(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Dots = fn(&[Lane], &[Lane], &mut [i32]);

    /// Every path that this machine can run.
    fn paths() -> Vec<(&'static str, Dots)> {
        let mut paths: Vec<(&str, Dots)> = vec![("dispatch", dots)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512vnni") {
                // SAFETY: the processor has the features.
                paths.push(("vnni", |v, r, o| unsafe { x86::dots_vnni(v, r, o) }));
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: as above.
                paths.push(("avx2", |v, r, o| unsafe { x86::dots_avx2(v, r, o) }));
            }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: every processor of this architecture has NEON.
        paths.push(("neon", |v, r, o| unsafe { arm::dots_neon(v, r, o) }));
        paths
    }

    fn lanes(count: usize, byte: impl FnMut() -> i8) -> Vec<Lane> {
        Lane::pack(count * Lane::WIDTH, std::iter::repeat_with(byte).take(count * Lane::WIDTH))
    }

    fn assert_paths_agree(vector: &[Lane], rows: &[Lane], count: usize) {
        let mut expected = vec![0; count];
        dots_portable(vector, rows, &mut expected);
        for (name, path) in paths() {
            let mut found = vec![0; count];
            path(vector, rows, &mut found);
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn extreme_bytes_do_not_overflow() {
        let most = cavs_embedding::MAX_DIMENSION / Lane::WIDTH;
        for a in [i8::MIN, -1, 0, 1, i8::MAX] {
            for b in [i8::MIN, -1, 0, 1, i8::MAX] {
                let (vector, rows) = (lanes(most, || a), lanes(3 * most, || b));
                assert_paths_agree(&vector, &rows, 3);
                assert_eq!(dot(&vector, &vector), 4096 * i32::from(a) * i32::from(a));
            }
        }
    }

    proptest! {
        #[test]
        fn all_paths_agree(width in 1usize..12, count in 0usize..9, seed: u64) {
            let mut state = seed | 1;
            let mut byte = || {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 56) as i8
            };
            let (vector, rows) = (lanes(width, &mut byte), lanes(width * count, &mut byte));
            assert_paths_agree(&vector, &rows, count);
        }
    }
}
