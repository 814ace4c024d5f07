//! Who can sit where: rows that rise towards the back, so that nobody hides anybody.

use super::settings::Seat;
use crate::math::{Random, vec3};
use crate::render::Camera;

/// Least distance between neighbours, cm: shoulders are about as wide.
const ELBOW: f32 = 42.0;
/// Height that a row needs in the picture for its heads, cm.
const HEADROOM: f32 = 25.5;
/// How much further away each row is than the one before, as a share of the first row's distance.
const DEPTH: f32 = 0.13;
/// Shares of the picture's height and width that rows and seats take.
const TALL: f32 = 0.93;
const WIDE: f32 = 0.95;

/// One row of seats.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Left to right.
    pub(crate) seats: Vec<Seat>,
    /// Distance from the camera along its axis, cm.
    pub(crate) distance: f32,
    /// Height of the seated necks in the camera's frame, cm.
    pub(crate) height: f32,
}

/// Seats for `count` people before a camera, front row first.
pub(crate) fn rows(count: usize, camera: &Camera, seed: u64) -> Vec<Row> {
    let aspect = camera.width as f32 / camera.height as f32;
    // As many rows as make the seats about as dense across as upwards.
    let rows = ((count as f32 / aspect).sqrt().round() as usize).clamp(1, 9);
    let extent = camera.extent();
    let mut nearest = HEADROOM * rows as f32 / (TALL * extent);
    let distance = |nearest: f32, row: usize| nearest * (1.0 + DEPTH * row as f32);
    let capacity =
        |nearest: f32, row: usize| (WIDE * extent * aspect * distance(nearest, row) / ELBOW) as usize;
    while (0..rows).map(|row| capacity(nearest, row)).sum::<usize>() < count {
        nearest *= 1.02;
    }
    let mut taken = vec![0; rows];
    let mut left = count;
    while left > 0 {
        // Back rows are wider, so they take the first of each round.
        for row in (0..rows).rev() {
            if left > 0 && taken[row] < capacity(nearest, row) {
                taken[row] += 1;
                left -= 1;
            }
        }
    }
    let mut random = Random::new(seed, 32);
    (0..rows)
        .map(|row| {
            let distance = distance(nearest, row);
            // The neck is lower than the middle of the head by 6 cm.
            let middle = -0.5 + (1.0 - TALL) * 0.4 + (row as f32 + 0.5) * TALL / rows as f32;
            let height = middle * extent * distance - 6.0;
            let width = WIDE * extent * aspect * distance;
            let pitch = width / taken[row].max(1) as f32;
            let loose = (pitch - ELBOW).clamp(0.0, 12.0) * 0.5;
            let seats = (0..taken[row])
                .map(|i| {
                    let x = -0.5 * width + (i as f32 + 0.5) * pitch + random.range(-loose, loose);
                    vec3(x, height + random.range(-1.0, 1.0), -distance + random.range(-2.0, 2.0))
                })
                .collect();
            Row { seats, distance, height }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_seat_in_the_picture_and_nobody_sits_on_another() {
        let camera = Camera::new(1280, 720, 23.0);
        for count in [1, 2, 5, 24, 26, 60, 120] {
            let rows = rows(count, &camera, 1);
            assert_eq!(rows.iter().map(|row| row.seats.len()).sum::<usize>(), count);
            for row in &rows {
                for seat in &row.seats {
                    let [x, y] = camera.project(*seat);
                    assert!((20.0..1260.0).contains(&x) && (20.0..720.0).contains(&y), "{count}: {x} {y}");
                }
                for pair in row.seats.windows(2) {
                    assert!(pair[1].x - pair[0].x > ELBOW - 1.0);
                }
            }
        }
    }
}
