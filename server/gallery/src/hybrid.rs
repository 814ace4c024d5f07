use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use cavs_embedding::{Similarity, UnitEmbedding};
use parking_lot::RwLock;

use cavs_types::Grouping;

use crate::{
    Calibration, ExactGallery, Gallery, Options,
    graph::Graph,
    store::Search,
    types::{
        Answer, Applied, Candidate, Change, Counters, Decisive, GalleryError, GraphStats, Query, Roster,
        Source, Stats, StudentKey, TemplateId,
    },
    worker::{Worker, WorkerControl},
};

/// Templates that may wait for the graph while it answers; they are compared one by one.
pub(crate) const MAX_WAITING: usize = 2048;

/// Probes of a batch from which a scan costs each of them so much less that the graph must save more, and
/// about how much more: rows are read once for all.
const LARGE_BATCH: usize = 8;

/// An exact gallery with a graph in front of it.
///
/// The graph proposes students; the store compares them. A decisive answer stands, and every other one
/// is replaced by the exact scan's, so what the graph misses never becomes an "unknown". New templates
/// are compared one by one until the background thread has linked them into the graph.
pub struct HybridGallery {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

/// What searches and the background thread share.
pub(crate) struct Shared {
    pub(crate) exact: ExactGallery,
    pub(crate) options: Options,
    pub(crate) crossover: usize,
    pub(crate) index: RwLock<Index>,
    pub(crate) control: WorkerControl,
    decided: AtomicU64,
}

/// The graph and what it does not know. Locked before the store, never after it; a change locks both, so
/// that every template of the store is in the graph or waits for it.
#[derive(Default)]
pub(crate) struct Index {
    pub(crate) graph: Option<Arc<Graph>>,
    /// Templates that are not in the graph yet, oldest first; some may be gone from the store.
    pub(crate) waiting: VecDeque<TemplateId>,
    /// The build under way.
    pub(crate) build: Option<Build>,
    pub(crate) builds: u64,
}

/// A graph that is being built.
pub(crate) struct Build {
    pub(crate) graph: Arc<Graph>,
    /// Templates inserted since it began.
    pub(crate) journal: Vec<TemplateId>,
}

impl Index {
    /// Forgets the graph. What is inserted later waits for none.
    pub(crate) fn clear(&mut self) -> Option<Arc<Graph>> {
        std::mem::replace(self, Self { builds: self.builds, ..Self::default() }).graph
    }
}

impl HybridGallery {
    pub(crate) fn new(dimension: usize, options: Options) -> Result<Self, GalleryError> {
        let shared = Arc::new(Shared {
            exact: ExactGallery::new(dimension, options),
            options,
            crossover: options.crossover.unwrap_or_else(|| default_crossover(dimension)),
            index: RwLock::default(),
            control: WorkerControl::default(),
            decided: AtomicU64::new(0),
        });
        let worker = Worker(Arc::clone(&shared));
        let worker = thread::Builder::new()
            .name("gallery-graph".into())
            .spawn(move || worker.run())
            .map_err(GalleryError::Thread)?;
        Ok(Self { shared, worker: Some(worker) })
    }
}

/// Templates from which the graph answers a single probe sooner than the scan of the high digits, whose
/// time goes with their bytes.
fn default_crossover(dimension: usize) -> usize {
    32 * 1024 * 1024 / dimension.next_multiple_of(64)
}

impl Drop for HybridGallery {
    fn drop(&mut self) {
        self.shared.control.stop();
        if let Some(worker) = self.worker.take() {
            // A panic of the worker was reported by the panic hook; the gallery is going anyway.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// The rule by which answers of the graph may stand, where asking it is allowed and worth while.
    fn rule(&self, query: &Query<'_>, probes: usize) -> Option<Decisive> {
        let is_cheaply_scanned = probes >= LARGE_BATCH && self.exact.len() < LARGE_BATCH * self.crossover;
        // A roster is scanned too: the graph would find few of its students.
        query.decisive.filter(|_| query.roster.is_none() && !is_cheaply_scanned)
    }

    /// What the graph finds, if there is one.
    fn ask_graph(
        &self,
        search: &mut Search<'_>,
        probe: &UnitEmbedding,
        k: usize,
        rule: Decisive,
    ) -> Option<Hint> {
        let index = self.index.read();
        let graph = index.graph.as_ref().filter(|_| index.waiting.len() <= MAX_WAITING)?;
        let nearest =
            graph.nearest(graph.encode(probe.as_slice().iter().copied()), self.options.search_width);
        let store = self.exact.store();
        let mut students: Vec<_> =
            nearest.iter().chain(&index.waiting).filter_map(|id| Some(store.get(*id)?.0)).collect();
        students.sort_unstable();
        students.dedup();
        students.into_iter().for_each(|student| store.offer_student(search, student));
        // The scan, if there is one, begins anew: the store may change in between.
        Some(Hint { answer: search.ranking.take().into_answer(k, Source::Graph), rule })
    }

    /// Whether the graph's answer stands without a scan.
    fn is_final(&self, hint: &Hint) -> bool {
        let every = self.options.audit_every;
        hint.is_clear()
            && (every == 0 || !(self.decided.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every))
    }
}

/// What the graph found, and by what rule it may stand.
struct Hint {
    answer: Answer,
    rule: Decisive,
}

impl Hint {
    /// Whether the answer is decisive. A lead over nobody is none: the graph may have missed them.
    fn is_clear(&self) -> bool {
        self.answer.margin.is_some() && self.answer.is_decisive(self.rule)
    }
}

impl Gallery for HybridGallery {
    fn apply(&self, change: &Change) -> Result<Applied, GalleryError> {
        let codes = self.shared.exact.encode(change)?;
        let mut index = self.shared.index.write();
        let (applied, removed) = self.shared.exact.commit(change, &codes)?;
        // While nobody searches or links: a template that is being linked is found here, or not linked any more.
        for graph in index.graph.iter().chain(index.build.as_ref().map(|build| &build.graph)) {
            removed.iter().for_each(|id| graph.remove(*id));
        }
        let ids = || change.insert.iter().map(|template| template.id);
        if index.graph.is_some() {
            index.waiting.extend(ids());
        }
        if let Some(build) = &mut index.build {
            build.journal.extend(ids());
        }
        drop(index);
        self.shared.control.wake();
        Ok(applied)
    }

    fn search(&self, probe: &UnitEmbedding, query: &Query<'_>) -> Result<Answer, GalleryError> {
        match self.search_batch(std::slice::from_ref(probe), query)?.pop() {
            Some(answer) => Ok(answer),
            None => self.shared.exact.search(probe, query),
        }
    }

    fn search_batch(&self, probes: &[UnitEmbedding], query: &Query<'_>) -> Result<Vec<Answer>, GalleryError> {
        let shared = &self.shared;
        let rule = shared.rule(query, probes.len());
        let mut unanswered = Vec::new();
        let mut hints = Vec::with_capacity(probes.len());
        for probe in probes {
            let mut search = shared.exact.prepare(probe, query)?;
            let hint = rule.and_then(|rule| shared.ask_graph(&mut search, probe, query.k, rule));
            let is_final = hint.as_ref().is_some_and(|hint| shared.is_final(hint));
            if !is_final {
                unanswered.push(search);
            }
            hints.push((hint, is_final));
        }
        let mut scanned = shared.exact.scan(unanswered, query.k, Source::Exact).into_iter();
        let mut counters = Counters::default();
        let answers = hints.into_iter().filter_map(|hint| match hint {
            (Some(hint), true) => {
                counters.graph += 1;
                Some(hint.answer)
            }
            (hint, _) => scanned.next().map(|exact| confirm(hint, exact, &mut counters)),
        });
        let answers = answers.collect();
        shared.exact.count(counters);
        Ok(answers)
    }

    fn find_duplicates(
        &self,
        embedding: &UnitEmbedding,
        threshold: Similarity,
        except: Option<StudentKey>,
    ) -> Result<Vec<Candidate>, GalleryError> {
        self.shared.exact.find_duplicates(embedding, threshold, except)
    }

    fn calibrate(&self, samples: usize, grouping: Grouping) -> Option<Calibration> {
        self.shared.exact.calibrate(samples, grouping)
    }

    fn pause_background(&self) {
        self.shared.control.pause(true);
    }

    fn resume_background(&self) {
        self.shared.control.pause(false);
    }

    fn compact(&self) {
        self.shared.control.compact();
    }

    fn wait_idle(&self, timeout: Duration) -> bool {
        self.shared.control.wait_idle(timeout)
    }

    fn dimension(&self) -> usize {
        self.shared.exact.dimension()
    }

    fn len(&self) -> usize {
        self.shared.exact.len()
    }

    fn templates_of(&self, roster: &Roster) -> usize {
        self.shared.exact.templates_of(roster)
    }

    fn epoch(&self) -> u64 {
        self.shared.exact.epoch()
    }

    fn stats(&self) -> Stats {
        let index = self.shared.index.read();
        let graph = GraphStats {
            templates: index.graph.as_ref().map_or(0, |graph| graph.templates()),
            waiting: index.waiting.len(),
            busy: self.shared.control.is_busy(),
            builds: index.builds,
        };
        Stats { graph: Some(graph), ..self.shared.exact.stats() }
    }
}

/// Takes the exact answer, and counts what it says of the graph's.
fn confirm(hint: Option<Hint>, exact: Answer, counters: &mut Counters) -> Answer {
    let Some(hint) = hint else {
        counters.exact += 1;
        return exact;
    };
    // What policy sees: who reaches the threshold, if anybody does, and whether the lead is clear.
    let outcome = |answer: &Answer| {
        let first = answer.candidates.first().filter(|first| first.similarity >= hint.rule.accept);
        (first.map(|first| first.student), answer.is_decisive(hint.rule))
    };
    let differs = u64::from(outcome(&hint.answer) != outcome(&exact));
    if hint.is_clear() {
        counters.audited += 1;
        counters.refuted += differs;
    } else {
        counters.confirmed += 1;
        counters.changed += differs;
    }
    Answer { source: Source::Confirmed, ..exact }
}
