//! One person standing before the camera: head, neck and clothes in one distance function.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::head::{Body, BoundingGrid, Distances, Head, Material, Outfit, PIVOT};
use crate::identity::Identity;
use crate::math::{DEGREE, LANES, LaneMask, Lanes, Mask, Mat3, Real, Vec3, smooth_min};
use crate::view::{Expression, Pose};

/// A person made ready to be rendered many times.
#[derive(Clone, Debug)]
pub struct HeadMesh {
    identity: Arc<Identity>,
    grid: Arc<BoundingGrid>,
}

impl HeadMesh {
    /// Samples the person's distance function; about ten milliseconds.
    pub fn new(identity: Identity) -> HeadMesh {
        let grid = BoundingGrid::new(&identity);
        HeadMesh { identity: Arc::new(identity), grid: Arc::new(grid) }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// Where and how a figure stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stance {
    /// The pivot of head and body in the camera's frame, cm.
    pub(crate) at: Vec3,
    /// Turn of the head with respect to the camera.
    pub(crate) pose: Pose,
    /// Yaw of the shoulders with respect to the camera, degrees.
    pub(crate) torso_yaw: f32,
    /// How far the camera looks down, degrees: upright bodies lean by as much in the picture.
    pub(crate) tilt: f32,
    /// Row of seats, from the front: what stands before a later row does not hide the figure.
    pub(crate) row: u16,
}

impl Stance {
    /// Which of two figures is before the other: the first row is, whoever walks behind its seats.
    pub(crate) fn depth_order(&self, other: &Stance) -> Ordering {
        self.row.cmp(&other.row).then(other.at.z.total_cmp(&self.at.z))
    }
}

/// A person with pose, expression and clothes. The person's frame has the camera's axes and its origin at
/// the pivot between head and neck.
#[derive(Debug)]
pub(crate) struct Figure<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) body: Body,
    pub(crate) outfit: Outfit,
    pub(crate) expression: Expression,
    pub(crate) stance: Stance,
    /// Upwards in the room, in the camera's frame.
    pub(crate) up: Vec3,
    grid: &'a BoundingGrid,
    rotation: Mat3,
}

/// What is known at points near a figure.
struct Step {
    /// The distance to the surface, where that is `exact`; elsewhere a bound that is never more than it.
    free: Lanes,
    exact: LaneMask,
    /// Distances to what the surface is made of, where they are exact.
    parts: Distances<Lanes>,
}

/// Half of the depth in which a figure lies, cm.
const REACH: f32 = 36.0;
/// Width of the blend between head and neck, cm.
const NECK_BLEND: f32 = 1.6;

impl<'a> Figure<'a> {
    pub(crate) fn new(
        head: &'a HeadMesh,
        expression: &Expression,
        outfit: &Outfit,
        stance: Stance,
    ) -> Figure<'a> {
        let identity = head.identity();
        let Pose { yaw, pitch, roll } = stance.pose;
        let rotation = Mat3::rotation(yaw * DEGREE, pitch * DEGREE, roll * DEGREE);
        let lean = Mat3::rotation(0.0, stance.tilt * DEGREE, 0.0);
        let torso = lean.compose(&Mat3::rotation(stance.torso_yaw * DEGREE, 0.0, 0.0));
        let body =
            Body::new(identity.shape.neck_radius, identity.masculinity, outfit.kind, &rotation, &torso);
        Figure {
            head: Head::new(identity, expression),
            body,
            outfit: *outfit,
            expression: *expression,
            stance,
            up: lean.apply(Vec3 { x: 0.0, y: 1.0, z: 0.0 }),
            grid: &head.grid,
            rotation,
        }
    }

    /// A point of the person's frame in the head's.
    #[inline]
    pub(crate) fn head_point<R: Real>(&self, p: Vec3<R>) -> Vec3<R> {
        self.rotation.apply_inverse(p) + PIVOT
    }

    /// A point of the head's frame in the camera's.
    pub(crate) fn camera_point(&self, head: Vec3) -> Vec3 {
        self.rotation.apply(head - PIVOT) + self.stance.at
    }

    /// A point of the torso's frame in the camera's.
    #[cfg(test)]
    pub(crate) fn body_point(&self, torso: Vec3) -> Vec3 {
        self.body.camera_point(torso) + self.stance.at
    }

    /// What is known of the distances from points of the person's frame to the surface.
    #[inline]
    fn step(&self, p: Vec3<Lanes>) -> Step {
        let h = self.head_point(p);
        let bound = self.grid.lower_bound(h);
        let bulk = self.body.lower_bound(p);
        let nothing = Lanes::of(f32::MAX);
        let mut step = Step {
            free: bound.min(bulk),
            exact: LaneMask::from_fn(|_| false),
            parts: Distances {
                skin: bulk,
                eye: nothing,
                hair: nothing,
                glasses: nothing,
                mouth: nothing,
                cloth: bulk,
            },
        };
        if step.free.above(NECK_BLEND).all() {
            return step;
        }
        let beside = bulk.above(NECK_BLEND);
        if !beside.all() {
            let (neck, cloth) = self.body.distances(p);
            step.parts.skin = Lanes::choose(beside, bulk, neck);
            step.parts.cloth = Lanes::choose(beside, bulk, cloth);
        }
        let (neck, cloth) = (step.parts.skin, step.parts.cloth);
        let body = neck.min(cloth);
        // Where the head is nearer than the body, only its bound is known.
        let away = bound.above(NECK_BLEND);
        step.exact = away & !beside & body.less(bound);
        step.free = bound.min(body);
        let blend = Lanes::choose(neck.below(NECK_BLEND), Lanes::of(NECK_BLEND * 0.25), Lanes::of(0.0));
        let coarse = bound.min(body * Head::SAFETY) - blend;
        let near = !away & !coarse.above(0.3);
        step.free = Lanes::choose(away, step.free, coarse);
        if near.any() {
            // Relief of hair that is finer than a step does not matter until it is near.
            let head = self.head.distances_within(h, 0.25);
            let parts = &mut step.parts;
            parts.skin = Lanes::choose(near, smooth_min(head.skin, neck, NECK_BLEND), neck);
            parts.eye = Lanes::choose(near, head.eye, nothing);
            parts.hair = Lanes::choose(near, head.hair, nothing);
            parts.glasses = Lanes::choose(near, head.glasses, nothing);
            parts.mouth = Lanes::choose(near, head.mouth, nothing);
            step.free = Lanes::choose(near, parts.minimum(), step.free);
            step.exact = step.exact | near;
        }
        step
    }

    /// Distance from the camera before which nothing of the figure is.
    pub(crate) fn nearest(&self) -> f32 {
        (self.stance.at.length() - REACH).max(1.0)
    }

    /// How far the cones around rays of the camera's frame are empty beyond `start`; `radius` is their radius
    /// at unit distance. A cone that passes the figure ends in nothing, as does one that is not `wanted`.
    pub(crate) fn approach(
        &self,
        rays: Vec3<Lanes>,
        radius: f32,
        start: f32,
        wanted: LaneMask,
    ) -> [Option<f32>; LANES] {
        /// A cone that has not arrived by then grazes the figure: its rays start where it is.
        const STEPS: u32 = 40;
        let end = self.stance.at.length() + REACH;
        let (mut t, mut going, mut met) = (Lanes::of(start), wanted, wanted);
        for _ in 0..STEPS {
            let step = self.step(self.on_the_way(rays, t, going));
            let bound = Lanes::choose(step.exact, step.free * Head::SAFETY, step.free);
            let free = bound - t * radius;
            // Narrower cones come further.
            going = going & !free.less((t * (0.3 * radius)).at_least(0.15));
            t = Lanes::choose(going, t + free * (1.0 / (1.0 + radius)), t);
            let gone = t.above(end);
            (going, met) = (going & !gone, met & !gone);
            if !going.any() {
                break;
            }
        }
        std::array::from_fn(|lane| met.lane(lane).then_some(t.0[lane]))
    }

    /// The points at distances `t` of rays in the person's frame. Rays that go on no more are where one is
    /// that does, so that nothing is computed for them alone.
    #[inline]
    fn on_the_way(&self, rays: Vec3<Lanes>, t: Lanes, going: LaneMask) -> Vec3<Lanes> {
        let p = rays.scaled(t) - self.stance.at;
        match (0..LANES).find(|&lane| going.lane(lane)) {
            Some(lane) if !going.all() => {
                let other = p.lane(lane);
                let choose = |x: Lanes, other: f32| Lanes::choose(going, x, Lanes::of(other));
                Vec3 { x: choose(p.x, other.x), y: choose(p.y, other.y), z: choose(p.z, other.z) }
            }
            _ => p,
        }
    }

    /// Distances along rays of the camera's frame beyond which nothing of the figure is.
    fn exit(&self, rays: Vec3<Lanes>) -> Lanes {
        let camera = -self.stance.at;
        let way = self.rotation.apply_inverse(rays);
        let head = BoundingGrid::exit(self.head_point(camera), way);
        head.max(self.body.exit(camera, rays))
    }

    /// Follows rays of the camera's frame from `start`, those that are `wanted`; `spread` is the width of a
    /// pixel at unit distance, and nothing beyond `depth` is of interest. Gives the distances to the surface
    /// and what it is made of.
    pub(crate) fn trace(
        &self,
        rays: Vec3<Lanes>,
        spread: f32,
        start: Lanes,
        depth: Lanes,
        wanted: LaneMask,
    ) -> [Option<(f32, Material)>; LANES] {
        /// Grazing rays need most; beyond this they have missed by less than anybody sees.
        const STEPS: u32 = 90;
        /// So near, nothing thin can be passed by a step that is a little too long, and a step into the
        /// surface is taken back at once.
        const NEAR: f32 = 0.8;
        /// No step that is so short leads through anything.
        const SHORT: f32 = 0.3;
        /// More than any distance, and yet a number to compute with: processors take long over quotients
        /// that are almost nothing.
        const UNKNOWN: f32 = 1e9;
        let end = depth.min(self.exit(rays));
        let (mut t, mut going) = (start, wanted);
        // The distance that was left one step ago, and the length of that step.
        let (mut last, mut gone) = (Lanes::of(UNKNOWN), Lanes::of(1.0));
        let mut met = [None; LANES];
        for _ in 0..STEPS {
            let step = self.step(self.on_the_way(rays, t, going));
            let (d, pixel) = (step.free, t * spread);
            // How far the ray goes while the distance shrinks by one: far where it grazes or has passed.
            let slant = (gone / (last - d).at_least(1e-3)).within(0.8, 2.0);
            // Between two empty spheres that do not touch may be something thin: go back.
            let missed = going & (last + d).less(gone) & pixel.at_most(SHORT).less(gone);
            let hit = going & !missed & step.exact & d.less(pixel * 0.25);
            if hit.any() {
                for lane in (0..LANES).filter(|&lane| hit.lane(lane)) {
                    let (d, slant) = (d.0[lane], slant.0[lane]);
                    let rest = if d < 0.0 { d * slant } else { d * 0.8 };
                    met[lane] = Some((t.0[lane] + rest, step.parts.nearest(lane)));
                }
                going = going & !hit;
            }
            // Rims are thinner than a step too long.
            let careful = (!d.below(NEAR) & d.less(last)) | !d.less(step.parts.glasses);
            // Steps may be longer than the distance where the ray leaves a surface, or grazes it.
            let most = Lanes::choose(d.less(last), Lanes::of(1.3), Lanes::of(2.0));
            let share = Lanes::choose(last.below(NEAR), slant.at_least(0.95).min(most), Lanes::of(0.95));
            let share = Lanes::choose(careful, Lanes::of(Head::SAFETY), share);
            let share = Lanes::choose(step.exact, share, Lanes::of(1.0));
            let ahead = (d * share).max(pixel * 0.1);
            let ahead = Lanes::choose(missed, last * Head::SAFETY - gone, ahead);
            last = Lanes::choose(step.exact & !missed, d, Lanes::of(UNKNOWN));
            gone = ahead;
            t = Lanes::choose(going, t + gone, t);
            going = going & !end.less(t);
            if !going.any() {
                break;
            }
        }
        met
    }

    /// Estimates of the distances to anything of this figure, for soft shadows.
    #[inline]
    fn smooth_distance(&self, p: Vec3<Lanes>) -> Lanes {
        self.grid.smooth(self.head_point(p)).min(self.body.smooth_distance(p))
    }

    /// Direction out of the surface at `p` (person's frame).
    pub(crate) fn normal(&self, p: Vec3, material: Material, step: f32) -> Vec3 {
        /// Towards the corners of a tetrahedron: four samples instead of six.
        const CORNERS: [Vec3; LANES] = [
            Vec3 { x: 1.0, y: -1.0, z: -1.0 },
            Vec3 { x: -1.0, y: -1.0, z: 1.0 },
            Vec3 { x: -1.0, y: 1.0, z: -1.0 },
            Vec3 { x: 1.0, y: 1.0, z: 1.0 },
        ];
        let around = Vec3::gather(|lane| p + CORNERS[lane] * step);
        let distance = match material {
            Material::Cloth => self.body.distances(around).1,
            Material::Skin | Material::Eye | Material::Hair | Material::Glasses | Material::Mouth => {
                self.head.distance_to(self.head_point(around), material)
            }
        };
        let distance = if material == Material::Skin && self.body.lower_bound(p) < NECK_BLEND {
            smooth_min(distance, self.body.distances(around).0, NECK_BLEND)
        } else {
            distance
        };
        let mut n = Vec3::default();
        for (corner, distance) in CORNERS.into_iter().zip(distance.0) {
            n += corner * distance;
        }
        n.normalized()
    }

    /// How much of the surroundings points see, 0 to 1.
    pub(crate) fn openness(&self, p: Vec3<Lanes>, normal: Vec3<Lanes>) -> Lanes {
        let (mut hidden, mut weight) = (Lanes::of(0.0), 1.0);
        for i in 0..3 {
            let height = 0.4 + 0.75 * i as f32;
            let free = self.smooth_distance(p + normal.scaled(height));
            hidden += (-free + height).at_least(0.0) * weight;
            weight *= 0.62;
        }
        (-hidden * 0.42 + 1.0).within(0.0, 1.0)
    }

    /// How much of a light from `towards` reaches points, 0 to 1, with the soft edge of a large lamp;
    /// `spread` is the width of a pixel at unit distance (<https://iquilezles.org/articles/rmshadows/>).
    pub(crate) fn lit(&self, p: Vec3<Lanes>, normal: Vec3<Lanes>, towards: Vec3, spread: f32) -> Lanes {
        // Where pixels are wide, so may be the steps.
        let steps = if spread * self.stance.at.length() > 0.12 { 7 } else { 11 };
        let (start, way) = (p + normal.scaled(0.25), Vec3::<Lanes>::of(towards));
        let (mut t, mut lit) = (Lanes::of(0.5), Lanes::of(1.0));
        for _ in 0..steps {
            let going = lit.above(0.02) & t.below(20.0);
            if !going.any() {
                break;
            }
            let d = self.smooth_distance(start + way.scaled(t));
            lit = Lanes::choose(going, lit.min((d + 0.04) * 6.5 / t), lit);
            t = Lanes::choose(going, t + d.within(0.4, 3.0), t);
        }
        let lit = lit.within(0.0, 1.0);
        lit * lit * (-lit * 2.0 + 3.0)
    }
}
