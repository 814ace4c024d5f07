//! The graph: approximate neighbours as hints. It never says what is true: its answers are ids, which
//! the store either knows or has forgotten.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
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
const SPREAD: f32 = 5.0;

/// A navigable graph over the i8 codes of templates (Malkov and Yashunin, arXiv:1603.09320).
///
/// It keeps codes of its own, of one scale for all, which are erased when it is dropped. It can't
/// forget: it is dropped and built anew.
pub(crate) struct Graph {
    hnsw: Hnsw<'static, Lane, CodeDistance>,
    dimension: usize,
    /// One over the graph codes' scale.
    density: f32,
    names: RwLock<Names>,
}

/// Which templates a point stands for.
#[derive(Default)]
struct Names {
    points: Vec<Vec<TemplateId>>,
    /// Point of a code, by its hash. Identical templates share a point: a graph gets lost among
    /// copies. Two codes of one hash would cost a hint, never an answer.
    known: HashMap<u64, usize>,
    hasher: RandomState,
    templates: usize,
}

/// One minus the cosine of two codes; integers inside, so it is never NaN.
struct CodeDistance {
    unit: f32,
}

impl Distance<Lane> for CodeDistance {
    fn eval(&self, a: &[Lane], b: &[Lane]) -> f32 {
        if a.len() != b.len() {
            return 2.0;
        }
        // `hnsw_rs` asserts that distances are not negative.
        (1.0 - simd::dot(a, b) as f32 * self.unit).max(0.0)
    }
}

impl Graph {
    /// A graph with room for about `expected` points.
    pub(crate) fn new(dimension: usize, expected: usize) -> Self {
        let density = 127.0 * (dimension as f32).sqrt() / SPREAD;
        let distance = CodeDistance { unit: (density * density).recip() };
        Self {
            hnsw: Hnsw::new(LINKS, expected, LAYERS, BUILD_WIDTH, distance),
            dimension,
            density,
            names: RwLock::default(),
        }
    }

    /// Templates that were inserted, with those that the store has forgotten since.
    pub(crate) fn templates(&self) -> usize {
        self.names.read().templates
    }

    /// The graph's code of components.
    pub(crate) fn encode(&self, components: impl Iterator<Item = f32>) -> Vec<Lane> {
        Lane::pack(self.dimension, components.map(|c| round(c * self.density).clamp(-127, 127) as i8))
    }

    /// The graph's code of a stored template.
    pub(crate) fn encode_code(&self, code: CodeRef<'_>) -> Vec<Lane> {
        self.encode(code.components())
    }

    /// Adds a template. One thread at a time may insert; any number may search meanwhile.
    pub(crate) fn insert(&self, id: TemplateId, code: &[Lane]) {
        let point = {
            let mut names = self.names.write();
            names.templates += 1;
            let hash = names.hasher.hash_one(code);
            if let Some(point) = names.known.get(&hash).copied() {
                names.points[point].push(id);
                return;
            }
            let point = names.points.len();
            names.known.insert(hash, point);
            names.points.push(vec![id]);
            point
        };
        self.hnsw.insert((code, point));
    }

    /// Templates near a code: about `width` of them, and all copies of each.
    pub(crate) fn near(&self, code: &[Lane], width: usize) -> Vec<TemplateId> {
        let neighbours = self.hnsw.search(code, width, width);
        let names = self.names.read();
        neighbours.iter().flat_map(|n| &names.points[n.get_origin_id()]).copied().collect()
    }
}
