//! A lower bound of a head's distance function that costs a table look-up.

use super::Head;
use crate::identity::Identity;
use crate::math::{LANES, Lanes, Real, Vec3, box_exit, vec3};
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

/// The point of a sample.
fn node(index: usize) -> Vec3 {
    let (i, j, k) = (index % COUNT[0], index / COUNT[0] % COUNT[1], index / (COUNT[0] * COUNT[1]));
    LOW + vec3(i as f32, j as f32, k as f32) * CELL
}

/// A whole number of at most 2^23 as an index, in fewer instructions than a conversion that handles all others.
#[inline(always)]
fn index(whole: f32) -> usize {
    ((whole + 8_388_608.0).to_bits() & 0x007f_ffff) as usize
}

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
        let mut distance = vec![0.0; COUNT[0] * COUNT[1] * COUNT[2]];
        for (block, samples) in distance.chunks_mut(LANES).enumerate() {
            let four = head.distances(Vec3::gather(|lane| node(block * LANES + lane))).minimum();
            samples.copy_from_slice(&four.0[..samples.len()]);
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

    /// Where rays from `origin` leave the box of the grid.
    pub(crate) fn exit(origin: Vec3, way: Vec3<Lanes>) -> Lanes {
        box_exit(origin, way, [LOW, node(COUNT[0] * COUNT[1] * COUNT[2] - 1)])
    }

    /// The point of the grid's box that is nearest to `p`.
    #[inline]
    fn within<R: Real>(p: Vec3<R>) -> Vec3<R> {
        let clamp = |v: R, low: f32, count: usize| v.within(low, low + (count - 1) as f32 * CELL);
        vec3(clamp(p.x, LOW.x, COUNT[0]), clamp(p.y, LOW.y, COUNT[1]), clamp(p.z, LOW.z, COUNT[2]))
    }

    /// Never more than the distance from `p` to the head, whatever its expression; may be negative near it.
    #[inline]
    pub(crate) fn lower_bound<R: Real>(&self, p: Vec3<R>) -> R {
        let inside = Self::within(p);
        let cells = (inside - LOW).scaled(1.0 / CELL);
        let nearest = vec3(cells.x.rounded(), cells.y.rounded(), cells.z.rounded());
        let at = (nearest.z * COUNT[1] as f32 + nearest.y) * COUNT[0] as f32 + nearest.x;
        let away = (cells - nearest).length() * CELL;
        let bound = at.map(|at| self.bound[index(at)]) - away - EXPRESSION;
        // The box is convex: what is in it lies beyond the right angle at its point nearest to `p`.
        let outside = p - inside;
        let outside = outside.dot(outside);
        let beyond = (outside + bound.at_least(0.0) * bound.at_least(0.0)).sqrt();
        R::choose(outside.above(0.0), beyond, bound)
    }

    /// An estimate of the distance without steps, for soft shadows.
    #[inline]
    pub(crate) fn smooth(&self, p: Vec3<Lanes>) -> Lanes {
        let inside = Self::within(p);
        let cells = (inside - LOW).scaled(1.0 / CELL);
        // The sample before, and not the last one.
        let before = |cell: Lanes, axis: usize| (cell - 0.5).rounded().within(0.0, (COUNT[axis] - 2) as f32);
        let (i, j, k) = (before(cells.x, 0), before(cells.y, 1), before(cells.z, 2));
        let (u, v, w) = (cells.x - i, cells.y - j, cells.z - k);
        const NEXT: usize = COUNT[0];
        const LAYER: usize = COUNT[0] * COUNT[1];
        let at = (k * COUNT[1] as f32 + j) * COUNT[0] as f32 + i;
        let cubes = at.0.map(|at| &self.distance[index(at)..index(at) + LAYER + NEXT + 2]);
        let lerp = |a: Lanes, b: Lanes, t: Lanes| a + (b - a) * t;
        let row =
            |at: usize| lerp(Lanes(cubes.map(|cube| cube[at])), Lanes(cubes.map(|cube| cube[at + 1])), u);
        let near = lerp(row(0), row(NEXT), v);
        let far = lerp(row(LAYER), row(LAYER + NEXT), v);
        lerp(near, far, w) + (p - inside).length() * 0.7
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
