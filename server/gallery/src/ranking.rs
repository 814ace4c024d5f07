use std::cmp::Reverse;

use cavs_embedding::Similarity;

use crate::types::{Answer, Candidate, Source};

/// The best students met so far.
pub(crate) struct Ranking {
    k: usize,
    floor: Similarity,
    /// Best first. Equal similarities are ordered by key, so that every search gives the same order.
    best: Vec<Candidate>,
}

impl Ranking {
    /// Keeps the `k` best students at or above `floor`.
    pub(crate) const fn new(k: usize, floor: Similarity) -> Self {
        Self { k, floor, best: Vec::new() }
    }

    /// The lowest similarity that can still change the ranking.
    pub(crate) fn bar(&self) -> Similarity {
        match self.best.last() {
            Some(last) if self.best.len() >= self.k => last.similarity.max(self.floor),
            _ => self.floor,
        }
    }

    pub(crate) fn offer(&mut self, offered: Candidate) {
        let order = |c: &Candidate| (Reverse(c.similarity), c.student, c.template);
        if offered.similarity < self.bar() {
            return;
        }
        if let Some(at) = self.best.iter().position(|c| c.student == offered.student) {
            if order(&self.best[at]) <= order(&offered) {
                return;
            }
            self.best.remove(at);
        }
        let at = self.best.partition_point(|c| order(c) < order(&offered));
        self.best.insert(at, offered);
        self.best.truncate(self.k);
    }

    /// Takes what was ranked and begins anew.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.k, self.floor))
    }

    pub(crate) fn into_candidates(self) -> Vec<Candidate> {
        self.best
    }

    /// The answer for a query of `k`, which may be less than what was ranked.
    pub(crate) fn into_answer(self, k: usize, source: Source) -> Answer {
        let mut candidates = self.best;
        let margin = match &candidates[..] {
            [first, second, ..] => Some(first.similarity.get() - second.similarity.get()),
            _ => None,
        };
        candidates.truncate(k);
        Answer { candidates, margin, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{StudentKey, TemplateId};

    fn candidate(student: u128, template: u128, similarity: f32) -> Candidate {
        Candidate {
            student: StudentKey(student),
            template: TemplateId(template),
            similarity: Similarity::clamped(similarity),
        }
    }

    #[test]
    fn keeps_one_place_for_each_student_and_breaks_ties_by_key() {
        let mut ranking = Ranking::new(2, Similarity::MIN);
        for c in [(3, 30, 0.5), (1, 10, 0.1), (1, 11, 0.5), (2, 20, 0.4), (3, 31, 0.2), (9, 90, f32::NAN)] {
            ranking.offer(candidate(c.0, c.1, c.2));
        }
        assert_eq!(ranking.bar(), Similarity::clamped(0.5));
        let answer = ranking.into_answer(1, Source::Exact);
        assert_eq!(answer.candidates, [candidate(1, 11, 0.5)]);
        assert_eq!(answer.margin, Some(0.0));
    }
}
