//! The gallery against a naive model of it, and against itself while it changes.

#![allow(clippy::unwrap_used)]

mod common;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use cavs_embedding::{Similarity, UnitEmbedding};
use cavs_gallery::{
    Answer, Change, Decisive, Gallery, GalleryMode, Grouping, MAX_CANDIDATES, Options, Query, Roster, Source,
    StudentKey, Template, TemplateId, open,
};
use common::{Random, face, template};
use proptest::prelude::*;

const DIMENSION: usize = 24;
const STUDENTS: u64 = 12;
const PICTURES: u64 = 6;
const MINUTE: Duration = Duration::from_secs(60);
/// Fixed point against f32, with room for both to add up in another order.
const TOLERANCE: f32 = 1e-4;

#[derive(Debug, Clone)]
enum Step {
    Insert(u64, u64),
    Remove(u64, u64),
    ReEnroll(u64, u64),
    Erase(u64),
    Compact,
    Settle,
    Search { student: u64, k: usize, mean: bool, roster: Option<u64>, accept: f32 },
    Duplicates { student: u64, threshold: f32 },
}

fn step() -> impl Strategy<Value = Step> {
    let (s, p) = (0..STUDENTS, 0..PICTURES);
    let search = (s.clone(), 1..6usize, any::<bool>(), prop::option::of(0..1u64 << STUDENTS), -1.0f32..1.0);
    prop_oneof![
        8 => (s.clone(), p.clone()).prop_map(|(s, p)| Step::Insert(s, p)),
        3 => (s.clone(), p.clone()).prop_map(|(s, p)| Step::Remove(s, p)),
        2 => (s.clone(), p).prop_map(|(s, p)| Step::ReEnroll(s, p)),
        1 => s.clone().prop_map(Step::Erase),
        1 => Just(Step::Compact),
        1 => Just(Step::Settle),
        6 => search.prop_map(|(student, k, mean, roster, accept)| Step::Search { student, k, mean, roster, accept }),
        1 => (s, -0.5f32..1.0).prop_map(|(student, threshold)| Step::Duplicates { student, threshold }),
    ]
}

/// In `Auto`, with a graph from the first template on.
fn with_graph(mode: GalleryMode) -> Arc<dyn Gallery> {
    open(mode, DIMENSION, Options { audit_every: 3, crossover: Some(1), ..Options::default() }).unwrap()
}

/// All templates, by id.
#[derive(Default)]
struct Model(BTreeMap<TemplateId, Template>);

impl Model {
    fn apply(&mut self, change: &Change) {
        change.remove.iter().for_each(|id| drop(self.0.remove(id)));
        self.0.retain(|_, t| !change.remove_students.contains(&t.student));
        self.0.extend(change.insert.iter().map(|t| (t.id, t.clone())));
    }

    /// The similarity of every student, best first.
    fn rank(
        &self,
        probe: &UnitEmbedding,
        mean: bool,
        admits: impl Fn(StudentKey) -> bool,
    ) -> Vec<(f32, StudentKey)> {
        let mut students: BTreeMap<StudentKey, Vec<f32>> = BTreeMap::new();
        for template in self.0.values().filter(|t| admits(t.student)) {
            let similarity = probe.similarity(&template.embedding).unwrap().get();
            students.entry(template.student).or_default().push(similarity);
        }
        let group = |s: &[f32]| {
            if mean { s.iter().sum::<f32>() / s.len() as f32 } else { s.iter().copied().fold(-1.0, f32::max) }
        };
        let mut ranked: Vec<_> = students.iter().map(|(key, s)| (group(s), *key)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked
    }

    /// Whether `answer` is the first `k` of what the model ranks, but for equals. The graph may miss
    /// some, but what it says of the others must be true, and clear enough to stand.
    fn check(&self, answer: &Answer, ranked: &[(f32, StudentKey)], k: usize, rule: Decisive) {
        for candidate in &answer.candidates {
            let own = ranked.iter().find(|r| r.1 == candidate.student).unwrap();
            assert!((candidate.similarity.get() - own.0).abs() < TOLERANCE);
            assert_eq!(self.0[&candidate.template].student, candidate.student);
        }
        if answer.source == Source::Graph {
            assert!(answer.is_decisive(rule));
            return;
        }
        assert_eq!(answer.candidates.len(), ranked.len().min(k));
        for (candidate, expected) in answer.candidates.iter().zip(ranked) {
            assert!((candidate.similarity.get() - expected.0).abs() < TOLERANCE);
        }
        match (answer.margin, ranked) {
            (Some(margin), [first, second, ..]) => {
                assert!((margin - first.0 + second.0).abs() < 2.0 * TOLERANCE)
            }
            (margin, ranked) => assert!(margin.is_none() && ranked.len() < 2),
        }
    }
}

fn run(mode: GalleryMode, steps: &[Step]) {
    let gallery = with_graph(mode);
    let mut model = Model::default();
    let all = |s| (0..PICTURES).map(move |p| template(s, p, DIMENSION).id);
    for step in steps {
        let change = match step.clone() {
            Step::Insert(s, p) => Change { insert: vec![template(s, p, DIMENSION)], ..Change::default() },
            Step::Remove(s, p) => Change { remove: vec![template(s, p, DIMENSION).id], ..Change::default() },
            Step::ReEnroll(s, p) => Change {
                remove: all(s).collect(),
                insert: vec![template(s, p, DIMENSION), template(s, (p + 1) % PICTURES, DIMENSION)],
                ..Change::default()
            },
            Step::Erase(s) => Change { remove_students: vec![StudentKey(s.into())], ..Change::default() },
            Step::Compact => {
                gallery.compact();
                continue;
            }
            Step::Settle => {
                assert!(gallery.wait_idle(MINUTE));
                continue;
            }
            Step::Search { student, k, mean, roster, accept } => {
                let probe = face(student, 99, DIMENSION);
                let roster =
                    roster.map(|bits| (0..STUDENTS).filter(|s| bits >> s & 1 == 1).collect::<Vec<_>>());
                let roster = roster.map(|s| s.into_iter().map(|s| StudentKey(s.into())).collect::<Roster>());
                let rule = Decisive { accept: Similarity::clamped(accept), margin: 0.05 };
                let grouping = if mean { Grouping::Mean } else { Grouping::Best };
                let query = Query { k, roster: roster.as_ref(), grouping, decisive: Some(rule) };
                let admits = |s| roster.as_ref().is_none_or(|r| r.contains(s));
                let ranked = model.rank(&probe, mean, admits);
                model.check(&gallery.search(&probe, &query).unwrap(), &ranked, k, rule);
                for answer in gallery.search_batch(&[probe.clone(), probe], &query).unwrap() {
                    model.check(&answer, &ranked, k, rule);
                }
                continue;
            }
            Step::Duplicates { student, threshold } => {
                let (probe, own) = (face(student, 1, DIMENSION), StudentKey(student.into()));
                let found =
                    gallery.find_duplicates(&probe, Similarity::clamped(threshold), Some(own)).unwrap();
                let ranked = model.rank(&probe, false, |s| s != own);
                let at_least = |t: f32| ranked.iter().filter(|r| r.0 >= t).count();
                assert!(
                    (at_least(threshold + TOLERANCE)..=at_least(threshold - TOLERANCE))
                        .contains(&found.len())
                );
                continue;
            }
        };
        let before = model.0.len();
        model.apply(&change);
        let done = gallery.apply(&change).unwrap();
        assert_eq!((gallery.len(), before + done.inserted - done.removed), (model.0.len(), model.0.len()));
    }
}

proptest! {
    #[test]
    fn exact_search_is_the_model(steps in prop::collection::vec(step(), 1..120)) {
        run(GalleryMode::Exact, &steps);
    }

    #[test]
    fn search_with_the_graph_is_the_model(steps in prop::collection::vec(step(), 1..120)) {
        run(GalleryMode::Auto, &steps);
    }
}

#[test]
fn many_chunks_are_the_model_too() {
    let gallery =
        open(GalleryMode::Exact, DIMENSION, Options { templates_per_student: 5000, ..Options::default() })
            .unwrap();
    const RULE: Decisive = Decisive { accept: Similarity::MIN, margin: 0.0 };
    let (mut model, mut random) = (Model::default(), Random(1));
    for _ in 0..60 {
        let mut some = || template(random.below(40) as u64, random.below(400) as u64, DIMENSION);
        let change = Change {
            insert: (0..200).map(|_| some()).collect(),
            remove: (0..100).map(|_| some().id).collect(),
            remove_students: vec![some().student],
        };
        model.apply(&change);
        gallery.apply(&change).unwrap();
        assert_eq!(gallery.len(), model.0.len());
        for mean in [false, true] {
            let grouping = if mean { Grouping::Mean } else { Grouping::Best };
            let probe = face(random.below(40) as u64, 999, DIMENSION);
            let answer = gallery.search(&probe, &Query::top(7).grouped_by(grouping)).unwrap();
            model.check(&answer, &model.rank(&probe, mean, |_| true), 7, RULE);
        }
    }
    assert!(gallery.len() > 3000);
}

/// One student is enrolled anew again and again while others search for it: they find it every time,
/// and never by templates that were removed before they began.
#[test]
fn a_change_is_seen_whole_or_not_at_all() {
    const VERSIONS: u64 = 400;
    for mode in [GalleryMode::Exact, GalleryMode::Auto] {
        let gallery = with_graph(mode);
        let others = (1..100).flat_map(|s| (0..3).map(move |p| template(s, p, DIMENSION)));
        gallery.apply(&Change { insert: others.collect(), ..Change::default() }).unwrap();
        let versions = |v: u64| (3 * v..3 * v + 3).map(|p| template(0, p, DIMENSION));
        gallery.apply(&Change { insert: versions(0).collect(), ..Change::default() }).unwrap();
        assert!(gallery.wait_idle(MINUTE));
        let (begun, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let searchers: Vec<_> = (0..3)
            .map(|searcher| {
                let (gallery, begun, done) = (Arc::clone(&gallery), Arc::clone(&begun), Arc::clone(&done));
                thread::spawn(move || {
                    let rule = Decisive { accept: Similarity::clamped(0.3), margin: 0.1 };
                    let probe = face(0, 1_000_000 + searcher, DIMENSION);
                    let grouping = if searcher == 0 { Grouping::Mean } else { Grouping::Best };
                    let query = Query::top(MAX_CANDIDATES).grouped_by(grouping).unless_decisive(rule);
                    while done.load(Ordering::SeqCst) < VERSIONS {
                        let oldest = done.load(Ordering::SeqCst);
                        let answer = gallery.search(&probe, &query).unwrap();
                        let newest = begun.load(Ordering::SeqCst);
                        let own: Vec<_> =
                            answer.candidates.iter().filter(|c| c.student == StudentKey(0)).collect();
                        assert_eq!(own.len(), 1, "student lost between {oldest} and {newest}");
                        let version = own[0].template.0 as u64 / 3;
                        assert!((oldest..=newest).contains(&version), "{version} not in {oldest}..={newest}");
                    }
                })
            })
            .collect();
        for version in 1..=VERSIONS {
            begun.store(version, Ordering::SeqCst);
            let remove = versions(version - 1).map(|t| t.id).collect();
            gallery
                .apply(&Change { remove, insert: versions(version).collect(), ..Change::default() })
                .unwrap();
            done.store(version, Ordering::SeqCst);
            if version % 50 == 0 {
                gallery.compact();
            }
        }
        searchers.into_iter().for_each(|s| s.join().unwrap());
        assert!(gallery.wait_idle(MINUTE));
        assert_eq!(gallery.len(), 300);
    }
}

/// Bars of `scripts/bench-gallery`, in small.
#[test]
fn the_hybrid_finds_all_that_the_exact_scan_finds() {
    const PEOPLE: u64 = 1500;
    let [exact, hybrid] = [GalleryMode::Exact, GalleryMode::Hnsw].map(|mode| {
        let gallery = open(mode, 128, Options::default()).unwrap();
        let insert = (0..PEOPLE).flat_map(|s| (0..3).map(move |p| template(s, p, 128))).collect();
        gallery.apply(&Change { insert, ..Change::default() }).unwrap();
        assert!(gallery.wait_idle(MINUTE));
        gallery
    });
    let probes: Vec<_> = (0..PEOPLE).map(|s| face(s, 99, 128)).collect();
    let rule = Decisive { accept: Similarity::clamped(0.45), margin: 0.05 };
    let truth = exact.search_batch(&probes, &Query::top(1)).unwrap();
    for (truth, probe) in truth.iter().zip(&probes) {
        let found = hybrid.search(probe, &Query::top(1).unless_decisive(rule)).unwrap();
        assert_eq!(truth.candidates, found.candidates);
    }
    let counters = hybrid.stats().counters;
    assert!(counters.graph > PEOPLE * 9 / 10, "the graph answers most: {counters:?}");
    assert_eq!(counters.refuted, 0);

    let calibration = exact.calibrate(300, Grouping::Best).unwrap();
    let threshold = calibration.threshold_for(10.0);
    let strangers: Vec<_> = (PEOPLE..2 * PEOPLE).map(|s| face(s, 0, 128)).collect();
    let matched = exact.search_batch(&strangers, &Query::top(1)).unwrap();
    let matched = matched.iter().filter(|a| a.candidates[0].similarity >= threshold).count();
    // Ten of a thousand were predicted.
    assert!((3..45).contains(&matched), "{matched} of {PEOPLE} strangers");
}
