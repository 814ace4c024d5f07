//! Where to begin following the rays of a tile of pixels.
//!
//! One cone that holds all rays of a tile is followed as far as nothing can be within it. The rays then
//! start there, just before the surface, and tiles whose cone meets nothing are done.

use super::camera::Camera;
use super::figure::Figure;
use super::parallel::for_each_row;
use crate::math::Vec3;

/// Edge of a tile, pixels.
const TILE: usize = 8;

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
        let tile = |pixel: f32, edge: u32| (pixel.clamp(0.0, edge as f32) / TILE as f32) as usize;
        let [left, top, right, bottom] = extent.all();
        let (left, top) = (tile(left, camera.width), tile(top, camera.height));
        let columns = tile(right, camera.width) + 1 - left;
        let rows = tile(bottom, camera.height) + 1 - top;
        let mut start = vec![None; columns * rows];
        // Half of the diagonal, and half a pixel for samples at the tile's edge.
        let radius = (TILE as f32 * 0.708 + 0.5) * camera.pixel();
        for_each_row(&mut start, columns, |row, tiles| {
            for (column, start) in tiles.iter_mut().enumerate() {
                let x = ((left + column) * TILE) as f32 + TILE as f32 * 0.5;
                let y = ((top + row) * TILE) as f32 + TILE as f32 * 0.5;
                if extent.reaches(x, y) {
                    *start = figure.approach(camera.ray(x, y), radius);
                }
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

/// The parts of the picture that a figure's head and body can cover, pixels: left, top, right, bottom.
struct Extent {
    head: [f32; 4],
    body: [f32; 4],
}

impl Extent {
    fn of(figure: &Figure<'_>, camera: &Camera) -> Extent {
        let at = figure.stance.at;
        let near = Vec3 { z: at.z + 16.0, ..at };
        let corner = |x: f32, y: f32| camera.project(near + Vec3 { x, y, z: 0.0 });
        // A bun reaches 22 cm above the pivot, hair 15 cm to the side and to the shoulders; shoulders and
        // arms reach 24 cm to the side.
        let ([left, top], [right, bottom]) = (corner(-18.0, 25.0), corner(18.0, -18.0));
        let ([far_left, shoulders], [far_right, _]) = (corner(-26.0, -1.0), corner(26.0, 0.0));
        Extent {
            head: [left, top, right, bottom],
            body: [far_left, shoulders, far_right, camera.height as f32],
        }
    }

    /// The box around both.
    fn all(&self) -> [f32; 4] {
        let (a, b) = (&self.head, &self.body);
        [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]
    }

    /// Whether the tile around a point can show the figure.
    fn reaches(&self, x: f32, y: f32) -> bool {
        let half = TILE as f32 * 0.5;
        [self.head, self.body].iter().any(|[left, top, right, bottom]| {
            x + half >= *left && x - half <= *right && y + half >= *top && y - half <= *bottom
        })
    }
}
