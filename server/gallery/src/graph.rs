//! The graph: approximate neighbours as hints. It never says what is true: its answers are ids, which
//! the store either knows or has forgotten.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    slice,
    sync::Arc,
};

use hnsw_rs::prelude::{Distance, Hnsw};
use parking_lot::RwLock;

use crate::{
    code::{CodeRef, Lane, round},
    simd,
    types::TemplateId,
};

/// Links of a point on the upper layers; twice as many on the lowest (the paper's M).
const LINKS: usize = 16;
/// Candidates kept in hand when a point is linked (the paper's efConstruction).
const BUILD_WIDTH: usize = 128;
/// Layers of `hnsw_rs`.
const LAYERS: usize = 16;
/// Components beyond so many standard deviations of a random unit vector are clipped.
const CLIP_DEVIATIONS: f32 = 5.0;

/// Distance of an erased point from all others, also from another erased one: that of opposite codes.
const MAX_DISTANCE: f32 = 2.0;

/// A navigable graph over the i8 codes of templates (Malkov and Yashunin, arXiv:1603.09320).
///
/// It keeps codes of its own, of one scale for all, which are erased when their templates are removed. The points
/// and their links stay: where too many points are empty, the graph is built anew.
pub(crate) struct Graph {
    hnsw: Hnsw<'static, Point, CodeDistance>,
    dimension: usize,
    /// One over the graph codes' scale.
    density: f32,
    index: RwLock<PointIndex>,
}

/// The code of a point, which can be erased while the graph holds on to the point: it has no lanes then. Searches
/// read it all the time, and only an erasure writes it.
#[derive(Clone)]
struct Point(Arc<RwLock<Vec<Lane>>>);

impl Point {
    fn new(code: Vec<Lane>) -> Self {
        Self(Arc::new(RwLock::new(code)))
    }

    /// Dropped lanes are erased.
    fn erase(&self) {
        self.0.write().clear();
    }
}

/// Which templates the points stand for.
#[derive(Default)]
struct PointIndex {
    points: Vec<PointEntry>,
    /// Number of the point of each template.
    by_template: HashMap<TemplateId, usize>,
    /// Point of a code, by its hash. Identical templates share a point: a graph gets lost among
    /// copies. Two codes of one hash would cost a hint, never an answer.
    by_code: HashMap<u64, usize>,
    hasher: RandomState,
    templates: usize,
}

struct PointEntry {
    templates: Vec<TemplateId>,
    point: Point,
}

/// One minus the cosine of two codes; integers inside, so it is never NaN.
struct CodeDistance {
    unit: f32,
}

impl Distance<Point> for CodeDistance {
    fn eval(&self, a: &[Point], b: &[Point]) -> f32 {
        let ([a], [b]) = (a, b) else { return MAX_DISTANCE };
        // A point may be compared with itself while somebody waits to erase it.
        let (a, b) = (a.0.read_recursive(), b.0.read_recursive());
        if a.is_empty() || a.len() != b.len() {
            return MAX_DISTANCE;
        }
        // `hnsw_rs` asserts that distances are not negative.
        (1.0 - simd::dot(&a, &b) as f32 * self.unit).max(0.0)
    }
}

impl Graph {
    /// A graph with room for about `expected` points.
    pub(crate) fn new(dimension: usize, expected: usize) -> Self {
        let density = 127.0 * (dimension as f32).sqrt() / CLIP_DEVIATIONS;
        let distance = CodeDistance { unit: (density * density).recip() };
        Self {
            hnsw: Hnsw::new(LINKS, expected, LAYERS, BUILD_WIDTH, distance),
            dimension,
            density,
            index: RwLock::default(),
        }
    }

    /// Templates that were inserted, with those that were removed since.
    pub(crate) fn templates(&self) -> usize {
        self.index.read().templates
    }

    /// The graph's code of components.
    pub(crate) fn encode(&self, components: impl Iterator<Item = f32>) -> Vec<Lane> {
        Lane::pack(self.dimension, components.map(|c| round(c * self.density).clamp(-127, 127) as i8))
    }

    /// The graph's code of a stored template.
    pub(crate) fn encode_code(&self, code: CodeRef<'_>) -> Vec<Lane> {
        self.encode(code.components())
    }

    /// Registers a template, so that [`remove`](Self::remove) finds it from here on. What is left to do is
    /// [`link`](Self::link).
    pub(crate) fn register(&self, id: TemplateId, code: Vec<Lane>) -> Unlinked {
        let mut index = self.index.write();
        index.templates += 1;
        let hash = index.hasher.hash_one(&code[..]);
        if let Some(number) = index.by_code.get(&hash).copied() {
            index.points[number].templates.push(id);
            index.by_template.insert(id, number);
            return Unlinked(None);
        }
        let (number, point) = (index.points.len(), Point::new(code));
        index.by_code.insert(hash, number);
        index.points.push(PointEntry { templates: vec![id], point: point.clone() });
        index.by_template.insert(id, number);
        Unlinked(Some((point, number)))
    }

    /// Links what was registered. One thread at a time may; any number may search meanwhile.
    pub(crate) fn link(&self, unlinked: Unlinked) {
        if let Unlinked(Some((point, number))) = unlinked {
            self.hnsw.insert((slice::from_ref(&point), number));
        }
    }

    /// Removes a template: with the last one of a point, its code is erased.
    pub(crate) fn remove(&self, id: TemplateId) {
        let mut index = self.index.write();
        let Some(number) = index.by_template.remove(&id) else { return };
        let entry = &mut index.points[number];
        entry.templates.retain(|other| *other != id);
        if !entry.templates.is_empty() {
            return;
        }
        let point = entry.point.clone();
        let hash = index.hasher.hash_one(&point.0.read()[..]);
        // The same face may come again: it is another point then.
        if index.by_code.get(&hash) == Some(&number) {
            index.by_code.remove(&hash);
        }
        point.erase();
    }

    /// Templates near a code: about `width` of them, and all copies of each.
    pub(crate) fn nearest(&self, code: Vec<Lane>, width: usize) -> Vec<TemplateId> {
        let neighbours = self.hnsw.search(slice::from_ref(&Point::new(code)), width, width);
        let index = self.index.read();
        neighbours.iter().flat_map(|n| &index.points[n.get_origin_id()].templates).copied().collect()
    }
}

/// A registered point that has yet to be linked; `None` where one of the same code is.
pub(crate) struct Unlinked(Option<(Point, usize)>);

#[cfg(test)]
mod tests {
    use super::*;

    const DIMENSION: usize = 128;

    /// Templates may be removed between their registration and their linking.
    #[test]
    fn erased_points_are_linked_among_erased_ones() {
        let graph = Graph::new(DIMENSION, 40);
        let code = |n: u32| {
            graph.encode((0..DIMENSION as u32).map(|i| ((n * 31 + i * 17) % 97) as f32 / 970.0 - 0.05))
        };
        for n in 0..40_u32 {
            let unlinked = graph.register(TemplateId(n.into()), code(n));
            if n % 4 > 0 {
                graph.remove(TemplateId(n.into()));
            }
            graph.link(unlinked);
        }
        assert!(graph.nearest(code(8), 40).contains(&TemplateId(8)));
    }
}
