//! Where to begin following the rays of a tile of pixels.
//!
//! A cone that holds the rays through the middles of a square of pixels is followed as far as nothing can be
//! within it, and from there the cones of its quarters, down to tiles. The rays then start just before the
//! surface, and squares whose cone meets nothing are done.

use super::camera::Camera;
use super::figure::Figure;
use super::parallel::for_each_row;
use crate::math::{LANES, LaneMask, Vec3};

/// Edge of a tile, pixels.
pub(super) const TILE: usize = 2;
/// Edge of the squares that are divided first, tiles; a power of two.
const BLOCK: usize = 16;

/// Starting distances of one figure's tiles.
pub(crate) struct Tiles {
    left: usize,
    top: usize,
    columns: usize,
    /// Distance from the camera, cm; `None` where the figure is not seen.
    start: Vec<Option<f32>>,
}

impl Tiles {
    pub(crate) fn new(figure: &Figure<'_>, camera: &Camera) -> Tiles {
        let extent = Extent::of(figure, camera);
        let block =
            |pixel: f32, edge: u32| (pixel.clamp(0.0, edge as f32) / (BLOCK * TILE) as f32) as usize * BLOCK;
        let [left, top, right, bottom] = extent.all();
        let (left, top) = (block(left, camera.width), block(top, camera.height));
        let columns = block(right, camera.width) + BLOCK - left;
        let rows = block(bottom, camera.height) + BLOCK - top;
        let mut start = vec![None; columns * rows];
        let cones = Cones { figure, camera, extent };
        for_each_row(&mut start, columns * BLOCK, |band, tiles| {
            let y = top + band * BLOCK;
            for x in (left..left + columns).step_by(BLOCK) {
                cones.divide([x, y], BLOCK, figure.nearest(), &mut |[x, y], start| {
                    tiles[(y - top) % BLOCK * columns + x - left] = Some(start);
                });
            }
        });
        Tiles { left, top, columns, start }
    }

    /// Whether the figure can be seen in a row of pixels.
    pub(crate) fn in_row(&self, y: usize) -> bool {
        y / TILE >= self.top && (y / TILE - self.top) * self.columns < self.start.len()
    }

    /// Where to start a ray through a point of the picture.
    #[inline]
    pub(crate) fn start(&self, x: f32, y: f32) -> Option<f32> {
        let (column, row) =
            ((x as usize / TILE).checked_sub(self.left)?, (y as usize / TILE).checked_sub(self.top)?);
        if column >= self.columns {
            return None;
        }
        self.start.get(row * self.columns + column).copied().flatten()
    }
}

/// The cones around squares of tiles.
struct Cones<'a> {
    figure: &'a Figure<'a>,
    camera: &'a Camera,
    extent: Extent,
}

impl Cones<'_> {
    /// Follows the cones of the quarters of a square from `from`, and passes on the tiles that meet the figure
    /// with their distances. The square begins at tile `corner` and has an edge of `edge` tiles.
    fn divide(&self, corner: [usize; 2], edge: usize, from: f32, found: &mut impl FnMut([usize; 2], f32)) {
        let half = edge / 2;
        let quarters: [[usize; 2]; LANES] =
            std::array::from_fn(|i| [corner[0] + i % 2 * half, corner[1] + i / 2 * half]);
        let pixels = (half * TILE) as f32;
        let middles = quarters.map(|corner| corner.map(|tile| (tile * TILE) as f32 + 0.5 * pixels));
        let seen = LaneMask::from_fn(|i| self.extent.reaches(middles[i], 0.5 * pixels));
        let rays = Vec3::gather(|i| self.camera.ray(middles[i][0], middles[i][1]));
        // Half of the diagonal between the middles of pixels in opposite corners, and a little more.
        let radius = ((pixels - 1.0) * 0.708 + 0.05) * self.camera.pixel();
        let starts = self.figure.approach(rays, radius, from, seen);
        for (quarter, start) in quarters.into_iter().zip(starts) {
            match start {
                Some(start) if half == 1 => found(quarter, start),
                Some(start) => self.divide(quarter, half, start, found),
                None => {}
            }
        }
    }
}

/// The parts of the picture that a figure's head and body can cover, pixels: left, top, right, bottom.
struct Extent {
    head: [f32; 4],
    body: [f32; 4],
}

impl Extent {
    fn of(figure: &Figure<'_>, camera: &Camera) -> Extent {
        let at = figure.stance.at;
        // All of it lies between a near and a far plane.
        let frame = |half: f32, low: f32, high: f32| {
            let corners = [-16.0, 16.0].map(|z| {
                let corner = |x: f32, y: f32| camera.project(at + Vec3 { x, y, z });
                (corner(-half, high), corner(half, low))
            });
            let [([a, b], [c, d]), ([e, f], [g, h])] = corners;
            [a.min(e), b.min(f), c.max(g), d.max(h)]
        };
        // A bun reaches 22 cm above the pivot, hair 15 cm to the side and to the shoulders; shoulders and
        // arms reach 24 cm to the side.
        let body = frame(26.0, 0.0, -1.0);
        Extent { head: frame(18.0, -18.0, 25.0), body: [body[0], body[1], body[2], camera.height as f32] }
    }

    /// The box around both.
    fn all(&self) -> [f32; 4] {
        let (a, b) = (&self.head, &self.body);
        [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]
    }

    /// Whether the square around a point, `half` to each side, can show the figure.
    fn reaches(&self, [x, y]: [f32; 2], half: f32) -> bool {
        [self.head, self.body].iter().any(|[left, top, right, bottom]| {
            x + half >= *left && x - half <= *right && y + half >= *top && y - half <= *bottom
        })
    }
}
