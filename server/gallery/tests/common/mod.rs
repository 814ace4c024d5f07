//! Made-up faces: a direction for each student, and noise around it.

// Each test file uses a part of it, and none exports it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use cavs_embedding::UnitEmbedding;
use cavs_gallery::{StudentKey, Template, TemplateId};

/// SplitMix64: good enough for test data, and the same on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// About normal: the sum of four uniform numbers.
    pub fn normal(&mut self) -> f32 {
        let uniform = |bits: u64| (bits & 0xffff) as f32 / 65_536.0 - 0.5;
        let bits = self.next();
        (uniform(bits) + uniform(bits >> 16) + uniform(bits >> 32) + uniform(bits >> 48)) * 1.732
    }

    pub fn direction(&mut self, dimension: usize) -> Vec<f32> {
        let v: Vec<f32> = (0..dimension).map(|_| self.normal()).collect();
        UnitEmbedding::normalize(v).unwrap().as_slice().to_vec()
    }
}

/// A picture of a student: two pictures of one student have a cosine of 0.7 on average, as real ones do,
/// and pictures differ in how good they are.
pub fn face(student: u64, picture: u64, dimension: usize) -> UnitEmbedding {
    let centre = Random(student).direction(dimension);
    let mut random = Random(!student.wrapping_mul(31).wrapping_add(picture));
    let spread = 0.5 + 0.3 * (random.below(1000) as f32 / 1000.0);
    let noise = random.direction(dimension);
    UnitEmbedding::normalize(centre.iter().zip(noise).map(|(c, n)| c + spread * n).collect()).unwrap()
}

/// The `picture`-th template of a student.
pub fn template(student: u64, picture: u64, dimension: usize) -> Template {
    Template {
        id: TemplateId(u128::from(student) << 64 | u128::from(picture)),
        student: StudentKey(student.into()),
        embedding: face(student, picture, dimension),
    }
}
