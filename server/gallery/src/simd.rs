use crate::code::Lane;

/// Dot products of one vector with the rows of a matrix, both in whole lanes.
///
/// `rows` holds `out.len()` rows of `vector.len()` lanes. A sum of at most
/// [`MAX_DIMENSION`](cavs_embedding::MAX_DIMENSION) products of two i8 always fits an i32.
pub(crate) fn dots(vector: &[Lane], rows: &[Lane], out: &mut [i32]) {
    for (row, dot) in rows.chunks_exact(vector.len()).zip(out) {
        *dot = vector.iter().zip(row).map(|(a, b)| lane_dot(a, b)).sum();
    }
}

/// The dot product of two vectors of the same number of lanes.
pub(crate) fn dot(a: &[Lane], b: &[Lane]) -> i32 {
    let mut out = [0];
    dots(a, b, &mut out);
    out[0]
}

fn lane_dot(a: &Lane, b: &Lane) -> i32 {
    a.0.iter().zip(&b.0).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}
