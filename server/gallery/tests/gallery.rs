//! What a user of the gallery would notice, in every mode.

#![allow(clippy::unwrap_used)]

mod common;

use std::{sync::Arc, time::Duration};

use cavs_embedding::{Similarity, UnitEmbedding};
use cavs_gallery::{
    Change, Decisive, Gallery, GalleryError, GalleryMode, Grouping, MAX_CANDIDATES, Options, Query, Roster,
    Source, StudentKey, TemplateId, open,
};
use common::{face, template};

const DIMENSION: usize = 96;
const MINUTE: Duration = Duration::from_secs(60);
const RULE: Decisive = Decisive { accept: Similarity::MIN, margin: 0.1 };

fn galleries() -> Vec<Arc<dyn Gallery>> {
    // The last one keeps a graph from the first template on.
    [
        (GalleryMode::Exact, None),
        (GalleryMode::Auto, None),
        (GalleryMode::Hnsw, None),
        (GalleryMode::Auto, Some(1)),
    ]
    .map(|(mode, crossover)| {
        let options = Options { templates_per_student: 8, crossover, ..Options::default() };
        open(mode, DIMENSION, options).unwrap()
    })
    .into()
}

fn filled(gallery: &dyn Gallery, students: u64) {
    let insert = (0..students).flat_map(|s| (0..3).map(move |p| template(s, p, DIMENSION))).collect();
    gallery.apply(&Change { insert, ..Change::default() }).unwrap();
    assert!(gallery.wait_idle(MINUTE));
}

#[test]
fn finds_students_by_new_pictures_and_tells_the_margin() {
    for gallery in galleries() {
        filled(&*gallery, 200);
        let probes: Vec<_> = (0..50).map(|student| face(student, 77, DIMENSION)).collect();
        let query = Query::top(3).unless_decisive(RULE);
        let batch = gallery.search_batch(&probes, &query).unwrap();
        for (student, (probe, answer)) in probes.iter().zip(&batch).enumerate() {
            assert_eq!(answer.candidates[0].student, StudentKey(student as u128));
            assert_eq!(answer.candidates.len(), 3);
            let margin = answer.candidates[0].similarity.get() - answer.candidates[1].similarity.get();
            assert_eq!(answer.margin, Some(margin));
            let one = gallery.search(probe, &Query { k: 1, ..query }).unwrap();
            assert_eq!((one.candidates[0], one.margin), (answer.candidates[0], answer.margin));
        }
    }
}

#[test]
fn the_graph_answers_only_where_it_may() {
    let gallery = open(
        GalleryMode::Auto,
        DIMENSION,
        Options { audit_every: 0, crossover: Some(1), ..Options::default() },
    )
    .unwrap();
    filled(&*gallery, 200);
    let probe = face(7, 77, DIMENSION);
    let source = |query| gallery.search(&probe, &query).unwrap().source;
    let roster = Roster::from_iter([StudentKey(7)]);
    let accept_all = RULE;
    let accept_none = Decisive { accept: Similarity::clamped(1.0), margin: 0.0 };
    assert_eq!(source(Query::top(1)), Source::Exact);
    assert_eq!(source(Query::top(1).unless_decisive(accept_all)), Source::Graph);
    assert_eq!(source(Query::top(1).unless_decisive(accept_none)), Source::Confirmed);
    assert_eq!(source(Query::top(1).unless_decisive(accept_all).among(&roster)), Source::Exact);
    let counters = gallery.stats().counters;
    assert_eq!((counters.exact, counters.graph, counters.confirmed, counters.changed), (2, 1, 1, 0));
}

#[test]
fn every_second_decisive_answer_is_audited_where_it_is_asked_for() {
    let gallery = open(
        GalleryMode::Auto,
        DIMENSION,
        Options { audit_every: 2, crossover: Some(1), ..Options::default() },
    )
    .unwrap();
    filled(&*gallery, 50);
    for student in 0..10 {
        gallery.search(&face(student, 77, DIMENSION), &Query::top(1).unless_decisive(RULE)).unwrap();
    }
    let counters = gallery.stats().counters;
    assert_eq!((counters.graph, counters.audited, counters.refuted), (5, 5, 0));
}

#[test]
fn re_enrollment_takes_the_place_of_the_old_templates() {
    for gallery in galleries() {
        filled(&*gallery, 20);
        let old: Vec<_> = (0..3).map(|p| template(4, p, DIMENSION).id).collect();
        let mut new = template(4, 50, DIMENSION);
        new.embedding = face(1000, 0, DIMENSION);
        let change = Change { remove: old.clone(), insert: vec![new.clone()], ..Change::default() };
        let done = gallery.apply(&change).unwrap();
        assert_eq!((done.removed, done.inserted, done.epoch, gallery.epoch()), (3, 1, 2, 2));
        // Applied again it changes nothing that can be seen.
        assert_eq!(gallery.apply(&change).unwrap().removed, 1);
        assert_eq!(gallery.len(), 58);
        let found = gallery.search(&face(1000, 5, DIMENSION), &Query::top(1)).unwrap();
        assert_eq!((found.candidates[0].student, found.candidates[0].template), (StudentKey(4), new.id));
        let all = gallery.search(&face(4, 60, DIMENSION), &Query::top(100)).unwrap();
        assert!(all.candidates.iter().all(|c| !old.contains(&c.template)));
    }
}

#[test]
fn an_erased_student_is_gone_and_the_graph_is_built_without() {
    for gallery in galleries() {
        filled(&*gallery, 30);
        let erased = StudentKey(3);
        let done = gallery.apply(&Change { remove_students: vec![erased], ..Change::default() }).unwrap();
        assert_eq!(done.removed, 3);
        let query = Query::top(MAX_CANDIDATES).unless_decisive(RULE);
        let found = gallery.search(&face(3, 0, DIMENSION), &query).unwrap();
        assert!(found.candidates.iter().all(|c| c.student != erased));
        gallery.compact();
        assert!(gallery.wait_idle(MINUTE));
        let stats = gallery.stats();
        assert_eq!((stats.templates, stats.students), (87, 29));
        if let Some(graph) = stats.graph {
            assert!(graph.templates == 0 || graph.templates == 87);
            assert_eq!((graph.waiting, graph.busy), (0, false));
        }
    }
}

#[test]
fn a_roster_is_searched_without_loss() {
    for gallery in galleries() {
        filled(&*gallery, 100);
        for size in [0, 1, 10, 80, 100, 1000] {
            let roster: Roster = (0..size).map(StudentKey).collect();
            let answer = gallery.search(&face(99, 9, DIMENSION), &Query::top(1000).among(&roster)).unwrap();
            assert_eq!(answer.candidates.len(), size.min(100) as usize);
            assert!(answer.candidates.iter().all(|c| roster.contains(c.student)));
        }
    }
}

#[test]
fn the_mean_of_a_student_is_the_mean() {
    for gallery in galleries() {
        filled(&*gallery, 20);
        let probe = face(5, 9, DIMENSION);
        let query = Query::top(20).grouped_by(Grouping::Mean).unless_decisive(RULE);
        for candidate in gallery.search(&probe, &query).unwrap().candidates {
            let similarities =
                (0..3).map(|p| probe.similarity(&face(candidate.student.0 as u64, p, DIMENSION)).unwrap());
            let mean = similarities.map(|s| s.get() / 3.0).sum::<f32>();
            assert!((candidate.similarity.get() - mean).abs() < 1e-4);
        }
    }
}

#[test]
fn duplicates_are_found_whoever_has_them() {
    for gallery in galleries() {
        filled(&*gallery, 20);
        let threshold = Similarity::clamped(0.999);
        let find = |except| gallery.find_duplicates(&face(5, 1, DIMENSION), threshold, except).unwrap();
        assert_eq!(find(None).iter().map(|c| c.student).collect::<Vec<_>>(), [StudentKey(5)]);
        assert_eq!(find(Some(StudentKey(5))), []);
    }
}

#[test]
fn an_empty_gallery_finds_nobody() {
    for gallery in galleries() {
        let answer = gallery.search(&face(5, 1, DIMENSION), &Query::top(5).unless_decisive(RULE)).unwrap();
        assert!(answer.candidates.is_empty() && !answer.is_decisive(RULE) && gallery.is_empty());
        assert!(gallery.search_batch(&[], &Query::top(5)).unwrap().is_empty());
        assert!(!gallery.remove(TemplateId(1)));
    }
}

#[test]
fn refuses_what_does_not_fit_and_changes_nothing() {
    for gallery in galleries() {
        let short = UnitEmbedding::new(vec![1.0]).unwrap();
        let wrong_probe = gallery.search(&short, &Query::top(1));
        assert!(matches!(
            wrong_probe,
            Err(GalleryError::Dimension { expected: DIMENSION, found: 1, template: None })
        ));
        for k in [0, MAX_CANDIDATES + 1, usize::MAX] {
            let wrong_count = gallery.search(&face(1, 1, DIMENSION), &Query::top(k));
            assert!(matches!(wrong_count, Err(GalleryError::Count(n)) if n == k));
        }
        let mut wrong = template(1, 1, DIMENSION);
        wrong.embedding = short;
        let id = wrong.id;
        let insert = vec![template(1, 0, DIMENSION), wrong];
        let refused = gallery.apply(&Change { insert, ..Change::default() });
        assert!(matches!(refused, Err(GalleryError::Dimension { template: Some(t), .. }) if t == id));
        let insert = (0..9).map(|p| template(1, p, DIMENSION)).collect();
        let refused = gallery.apply(&Change { insert, ..Change::default() });
        assert!(matches!(refused, Err(GalleryError::TooManyTemplates { limit: 8, .. })));
        assert_eq!((gallery.len(), gallery.epoch()), (0, 0));
    }
    assert!(matches!(open(GalleryMode::Auto, 0, Options::default()), Err(GalleryError::Open(0))));
    assert!(matches!(open(GalleryMode::Auto, 5000, Options::default()), Err(GalleryError::Open(5000))));
}

#[test]
fn thousands_of_identical_faces_hide_nobody() {
    for gallery in galleries() {
        filled(&*gallery, 100);
        let copies = (1000..4000).map(|student| {
            let mut copy = template(student, 0, DIMENSION);
            copy.embedding = face(0, 0, DIMENSION);
            copy
        });
        gallery.apply(&Change { insert: copies.collect(), ..Change::default() }).unwrap();
        assert!(gallery.wait_idle(MINUTE));
        for student in 1..100 {
            let probe = face(student, 77, DIMENSION);
            let answer = gallery.search(&probe, &Query::top(2).unless_decisive(RULE)).unwrap();
            assert_eq!(answer.candidates[0].student, StudentKey(student.into()));
        }
        let duplicates =
            gallery.find_duplicates(&face(0, 0, DIMENSION), Similarity::clamped(0.99), None).unwrap();
        assert_eq!(duplicates.len(), MAX_CANDIDATES);
    }
}
