//! A lower bound of a head's distance function that costs a table look-up.

use super::Head;
use crate::identity::Identity;
use crate::math::{Vec3, lerp, vec3};
use crate::view::Expression;

/// Edge of a cell, cm.
const CELL: f32 = 0.8;
/// The corner with the smallest coordinates. Everything that any head wears lies within the grid.
const LOW: Vec3 = vec3(-12.8, -20.0, -16.0);
/// Number of samples along each axis.
const COUNT: [usize; 3] = [33, 48, 38];
/// How much nearer an expression can bring the surface than the neutral face of the grid, cm.
const EXPRESSION: f32 = 0.4;

/// Half of a cell's diagonal, cm: no point is further from the nearest sample.
const HALF_DIAGONAL: f32 = 0.5 * 1.732_050_8 * CELL;

/// One identity's neutral head, sampled on a grid.
#[derive(Clone, Debug)]
pub(crate) struct BoundingGrid {
    /// Never more than the distance of the sample from the head.
    bound: Vec<f32>,
    /// The head's distance function itself.
    distance: Vec<f32>,
}

impl BoundingGrid {
    pub(crate) fn new(identity: &Identity) -> BoundingGrid {
        let head = Head::new(identity, &Expression::neutral());
        let at = |i: usize, j: usize, k: usize| LOW + vec3(i as f32 * CELL, j as f32 * CELL, k as f32 * CELL);
        let mut distance = Vec::with_capacity(COUNT[0] * COUNT[1] * COUNT[2]);
        for k in 0..COUNT[2] {
            for j in 0..COUNT[1] {
                distance.extend((0..COUNT[0]).map(|i| head.distances(at(i, j, k)).minimum()));
            }
        }
        // Every point of the surface lies within half a diagonal of some sample, and the distance
        // function shows which samples those can be. The distance to the nearest of them is a far better
        // bound than the function, which is timid away from the surface.
        let touches = |d: f32| d * Head::SAFETY <= HALF_DIAGONAL;
        let mut squared: Vec<f32> =
            distance.iter().map(|&d| if touches(d) { 0.0 } else { f32::MAX }).collect();
        for axis in 0..3 {
            spread(&mut squared, axis);
        }
        let bound = squared
            .iter()
            .zip(&distance)
            .map(|(cells, d)| (cells.sqrt() * CELL - HALF_DIAGONAL).max(d * Head::SAFETY))
            .collect();
        BoundingGrid { bound, distance }
    }

    /// Distance to the box of the grid, 0 inside.
    #[inline]
    fn outside(p: Vec3) -> f32 {
        let span =
            |v: f32, low: f32, count: usize| (low - v).max(v - (low + (count - 1) as f32 * CELL)).max(0.0);
        vec3(span(p.x, LOW.x, COUNT[0]), span(p.y, LOW.y, COUNT[1]), span(p.z, LOW.z, COUNT[2])).length()
    }

    /// Never more than the distance from `p` to the head, whatever its expression; may be negative near it.
    #[inline]
    pub(crate) fn lower_bound(&self, p: Vec3) -> f32 {
        let outside = Self::outside(p);
        if outside > 0.0 {
            return outside + 0.05;
        }
        let cell = |v: f32, low: f32, count: usize| (((v - low) / CELL + 0.5) as usize).min(count - 1);
        let (i, j, k) = (cell(p.x, LOW.x, COUNT[0]), cell(p.y, LOW.y, COUNT[1]), cell(p.z, LOW.z, COUNT[2]));
        let node = LOW + vec3(i as f32 * CELL, j as f32 * CELL, k as f32 * CELL);
        self.bound[(k * COUNT[1] + j) * COUNT[0] + i] - (p - node).length() - EXPRESSION
    }

    /// An estimate of the distance without steps, for soft shadows.
    #[inline]
    pub(crate) fn smooth(&self, p: Vec3) -> f32 {
        let split = |v: f32, low: f32, count: usize| {
            let t = ((v - low) / CELL).clamp(0.0, (count - 1) as f32);
            let i = (t as usize).min(count - 2);
            (i, t - i as f32)
        };
        let ((i, u), (j, v), (k, w)) =
            (split(p.x, LOW.x, COUNT[0]), split(p.y, LOW.y, COUNT[1]), split(p.z, LOW.z, COUNT[2]));
        let row = |j: usize, k: usize| {
            let at = (k * COUNT[1] + j) * COUNT[0] + i;
            lerp(self.distance[at], self.distance[at + 1], u)
        };
        let near = lerp(row(j, k), row(j + 1, k), v);
        let far = lerp(row(j, k + 1), row(j + 1, k + 1), v);
        lerp(near, far, w) + 0.7 * Self::outside(p)
    }
}

/// One pass of the squared Euclidean distance transform along an axis: the lower envelope of parabolas of
/// Felzenszwalb and Huttenlocher 2012, "Distance Transforms of Sampled Functions".
fn spread(squared: &mut [f32], axis: usize) {
    let stride = [1, COUNT[0], COUNT[0] * COUNT[1]][axis];
    let count = COUNT[axis];
    let (mut line, mut vertex, mut from) = (vec![0.0; count], vec![0usize; count], vec![0.0; count]);
    let starts = (0..squared.len()).filter(|at| (at / stride).is_multiple_of(count));
    for start in starts.collect::<Vec<_>>() {
        let mut top = 0;
        for q in 0..count {
            let value = squared[start + q * stride];
            line[q] = value;
            if value == f32::MAX {
                continue;
            }
            let height = |v: usize, line: &[f32]| line[v] + (v * v) as f32;
            let mut begin = f32::MIN;
            while top > 0 {
                let v = vertex[top - 1];
                begin = (height(q, &line) - height(v, &line)) / (2.0 * (q - v) as f32);
                if begin > from[top - 1] {
                    break;
                }
                top -= 1;
                begin = f32::MIN;
            }
            (vertex[top], from[top]) = (q, begin);
            top += 1;
        }
        let mut k = 0;
        for q in (0..count).filter(|_| top > 0) {
            while k + 1 < top && from[k + 1] < q as f32 {
                k += 1;
            }
            let away = q as f32 - vertex[k] as f32;
            squared[start + q * stride] = away * away + line[vertex[k]];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::OnceLock;

    use proptest::prelude::*;

    fn point() -> impl Strategy<Value = Vec3> {
        (-16.0f32..16.0, -22.0f32..17.0, -18.0f32..18.0).prop_map(|(x, y, z)| vec3(x, y, z))
    }

    fn direction() -> impl Strategy<Value = Vec3> {
        (-1.0f32..1.0, -1.0f32..1.0, -1.0f32..1.0).prop_map(|(x, y, z)| vec3(x, y, z + 1e-3).normalized())
    }

    /// A person with the grid, made once for all cases.
    fn person(seed: usize) -> &'static (Identity, BoundingGrid) {
        static PEOPLE: [OnceLock<(Identity, BoundingGrid)>; 120] = [const { OnceLock::new() }; 120];
        PEOPLE[seed].get_or_init(|| {
            let identity = Identity::from_seed(seed as u64);
            let grid = BoundingGrid::new(&identity);
            (identity, grid)
        })
    }

    /// How deep a share of a safe step leads into the head.
    fn safe_step(seed: u64, p: Vec3, way: Vec3, share: f32) -> f32 {
        let person = Identity::from_seed(seed);
        let head = Head::new(&person, &Expression::neutral());
        let step = (head.distances(p).minimum() * Head::SAFETY).max(0.0);
        if step > 0.0 { -head.distances(p + way * (step * share)).minimum() } else { 0.0 }
    }

    #[test]
    fn hairlines_do_not_spin_around_the_neck() {
        // The hairline of long hair falls from the forehead to the nape; followed by its angle about the
        // axis, it did so within a hair's breadth here.
        let (p, way) = (vec3(-0.94674426, -14.760369, 0.0), vec3(0.0, 0.0, -0.99999994));
        assert!(safe_step(18, p, way, 0.5134924) < 0.05);
    }

    /// Many cases, and more if `PROPTEST_CASES` asks for them.
    fn many() -> ProptestConfig {
        let config = ProptestConfig::default();
        ProptestConfig { cases: config.cases.max(20_000), ..config }
    }

    proptest! {
        #![proptest_config(many())]

        #[test]
        fn nothing_lies_within_the_lower_bound(
            seed in 0usize..120, p in point(), way in direction(), share in 0.0f32..1.0,
            smile in -0.2f32..0.9, open in 0.0f32..0.8,
        ) {
            let (identity, grid) = person(seed);
            let bound = grid.lower_bound(p);
            if bound > 0.0 {
                let expression = Expression { smile, open, ..Expression::neutral() };
                let head = Head::new(identity, &expression);
                let inside = head.distances(p + way * (bound * share)).minimum();
                prop_assert!(inside >= -0.01, "the surface is {} cm deep within {bound} cm", -inside);
            }
        }

        #[test]
        fn a_safe_step_never_enters_the_head(
            seed in 0u64..400, p in point(), way in direction(), share in 0.0f32..1.0,
        ) {
            let entered = safe_step(seed, p, way, share);
            prop_assert!(entered < 0.05, "the step ends {entered} cm deep");
        }
    }
}
