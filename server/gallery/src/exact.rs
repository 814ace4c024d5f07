use std::time::Duration;

use cavs_embedding::{Similarity, UnitEmbedding};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use cavs_types::Grouping;

use crate::{
    Calibration, Gallery, Options,
    code::Code,
    ranking::Ranking,
    store::{Scope, Search, Store},
    types::{
        Answer, Applied, Candidate, Change, Counters, GalleryError, MAX_CANDIDATES, Query, Roster, Source,
        Stats, StudentKey, Template, TemplateId,
    },
};

/// Probes of a calibration that are scanned together; changes wait for as long.
const CALIBRATION_BATCH: usize = 32;

/// A gallery that compares every probe with every template.
pub struct ExactGallery {
    dimension: usize,
    state: RwLock<State>,
    counters: Mutex<Counters>,
}

struct State {
    store: Store,
    epoch: u64,
}

impl ExactGallery {
    pub(crate) fn new(dimension: usize, options: Options) -> Self {
        let store = Store::new(dimension, options.templates_per_student);
        Self { dimension, state: RwLock::new(State { store, epoch: 0 }), counters: Mutex::default() }
    }

    /// The store as it is now; changes wait while it is held.
    pub(crate) fn store(&self) -> impl std::ops::Deref<Target = Store> {
        RwLockReadGuard::map(self.state.read(), |state| &state.store)
    }

    pub(crate) fn count(&self, counters: Counters) {
        *self.counters.lock() += counters;
    }

    /// Checks a probe and a query, and prepares the search. The ranking holds one student more than a
    /// query for one, because the margin is wanted too.
    pub(crate) fn prepare<'a>(
        &self,
        probe: &UnitEmbedding,
        query: &Query<'a>,
    ) -> Result<Search<'a>, GalleryError> {
        query.check()?;
        self.check_dimension(probe)?;
        Ok(Search {
            code: Code::new(probe),
            scope: query.roster.map_or(Scope::Everyone, Scope::Among),
            grouping: query.grouping,
            ranking: Ranking::new(query.k.max(2), Similarity::MIN),
        })
    }

    /// Scans for prepared searches and gives their answers.
    pub(crate) fn scan(&self, mut searches: Vec<Search<'_>>, k: usize, source: Source) -> Vec<Answer> {
        self.store().scan(&mut searches);
        searches.into_iter().map(|search| search.ranking.into_answer(k, source)).collect()
    }

    /// Quantises what a change inserts; searches go on meanwhile.
    pub(crate) fn encode(&self, change: &Change) -> Result<Vec<Code>, GalleryError> {
        let encode = |template: &Template| match (self.dimension, template.embedding.dimension()) {
            (expected, found) if found != expected => {
                Err(GalleryError::Dimension { expected, found, template: Some(template.id) })
            }
            _ => Ok(Code::new(&template.embedding)),
        };
        change.insert.iter().map(encode).collect()
    }

    /// Applies a change whose insertions are quantised; gives the templates that were removed, too.
    pub(crate) fn commit(
        &self,
        change: &Change,
        codes: &[Code],
    ) -> Result<(Applied, Vec<TemplateId>), GalleryError> {
        let mut state = self.state.write();
        state.store.check(change)?;
        let mut removed = Vec::new();
        for id in &change.remove {
            removed.extend(state.store.remove(*id).then_some(*id));
        }
        for student in &change.remove_students {
            removed.extend(state.store.remove_student(*student));
        }
        for (template, code) in change.insert.iter().zip(codes) {
            removed.extend(state.store.remove(template.id).then_some(template.id));
            state.store.insert(template, code);
        }
        state.epoch += 1;
        let applied = Applied { removed: removed.len(), inserted: change.insert.len(), epoch: state.epoch };
        Ok((applied, removed))
    }

    fn check_dimension(&self, embedding: &UnitEmbedding) -> Result<(), GalleryError> {
        let (expected, found) = (self.dimension, embedding.dimension());
        if found == expected {
            Ok(())
        } else {
            Err(GalleryError::Dimension { expected, found, template: None })
        }
    }
}

impl Gallery for ExactGallery {
    fn apply(&self, change: &Change) -> Result<Applied, GalleryError> {
        let codes = self.encode(change)?;
        self.commit(change, &codes).map(|(applied, _)| applied)
    }

    fn search(&self, probe: &UnitEmbedding, query: &Query<'_>) -> Result<Answer, GalleryError> {
        let mut search = self.prepare(probe, query)?;
        self.store().scan(std::slice::from_mut(&mut search));
        self.count(Counters { exact: 1, ..Counters::default() });
        Ok(search.ranking.into_answer(query.k, Source::Exact))
    }

    fn search_batch(&self, probes: &[UnitEmbedding], query: &Query<'_>) -> Result<Vec<Answer>, GalleryError> {
        let searches: Vec<_> =
            probes.iter().map(|probe| self.prepare(probe, query)).collect::<Result<_, _>>()?;
        self.count(Counters { exact: probes.len() as u64, ..Counters::default() });
        Ok(self.scan(searches, query.k, Source::Exact))
    }

    fn find_duplicates(
        &self,
        embedding: &UnitEmbedding,
        threshold: Similarity,
        except: Option<StudentKey>,
    ) -> Result<Vec<Candidate>, GalleryError> {
        self.check_dimension(embedding)?;
        let mut search = Search {
            code: Code::new(embedding),
            scope: except.map_or(Scope::Everyone, Scope::Except),
            grouping: Grouping::Best,
            ranking: Ranking::new(MAX_CANDIDATES, threshold),
        };
        self.store().scan(std::slice::from_mut(&mut search));
        Ok(search.ranking.into_candidates())
    }

    fn calibrate(&self, samples: usize, grouping: Grouping) -> Option<Calibration> {
        let ids: Vec<_> = self.store().ids().collect();
        let step = ids.len().div_ceil(samples.max(1)).max(1);
        let mut impostors = Vec::new();
        for some in ids.into_iter().step_by(step).collect::<Vec<_>>().chunks(CALIBRATION_BATCH) {
            // Changes may come in between: whoever is gone is not looked up.
            let store = self.store();
            let probes = some.iter().filter_map(|id| store.get(*id));
            let mut searches: Vec<_> = probes
                .map(|(student, code)| Search {
                    code: code.to_owned(),
                    scope: Scope::Except(student),
                    grouping,
                    ranking: Ranking::new(1, Similarity::MIN),
                })
                .collect();
            store.scan(&mut searches);
            impostors.extend(
                searches.into_iter().filter_map(|s| Some(s.ranking.into_candidates().first()?.similarity)),
            );
        }
        Calibration::new(impostors)
    }

    /// Removed templates are erased at once; there is nothing to do.
    fn compact(&self) {}

    fn pause_background(&self) {}

    fn resume_background(&self) {}

    fn wait_idle(&self, _timeout: Duration) -> bool {
        true
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn len(&self) -> usize {
        self.store().len()
    }

    fn templates_of(&self, roster: &Roster) -> usize {
        self.store().templates_of(roster)
    }

    fn epoch(&self) -> u64 {
        self.state.read().epoch
    }

    fn stats(&self) -> Stats {
        let store = self.store();
        Stats {
            templates: store.len(),
            students: store.students(),
            memory: store.memory(),
            counters: *self.counters.lock(),
            graph: None,
        }
    }
}
