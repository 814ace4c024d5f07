use std::{sync::Arc, time::Duration};

use cavs_embedding::{MAX_DIMENSION, Similarity, UnitEmbedding};
use cavs_types::{GalleryMode, Grouping};

use crate::{
    Calibration, ExactGallery, HybridGallery,
    types::{
        Answer, Applied, Candidate, Change, GalleryError, Query, Roster, Stats, StudentKey, Template,
        TemplateId,
    },
};

/// The enrolled templates of one model pack, searched and changed by many threads at once.
///
/// Every method is one step: a search sees a change wholly or not at all, and sees every change whose
/// call has returned. No method panics on any input. Methods use the calling thread only and may take
/// milliseconds: an asynchronous caller gives them a blocking thread.
pub trait Gallery: Send + Sync {
    /// Removes and inserts as one step. Removed templates are erased from memory when this returns, and are
    /// never found again.
    ///
    /// # Errors
    /// `Dimension` (naming the template), `TooManyTemplates` or `Full`; nothing has changed then.
    fn apply(&self, change: &Change) -> Result<Applied, GalleryError>;

    /// Finds the students most similar to a probe.
    ///
    /// # Errors
    /// `Dimension` or `Count`.
    fn search(&self, probe: &UnitEmbedding, query: &Query<'_>) -> Result<Answer, GalleryError>;

    /// Answers one query for several probes, in their order; cheaper than one by one.
    ///
    /// # Errors
    /// `Dimension` or `Count`.
    fn search_batch(&self, probes: &[UnitEmbedding], query: &Query<'_>) -> Result<Vec<Answer>, GalleryError>;

    /// All students but `except` with a template at or above `threshold`, always exactly: what
    /// enrollment asks before it takes a face. The [`MAX_CANDIDATES`](crate::MAX_CANDIDATES) most
    /// similar where there are more.
    ///
    /// # Errors
    /// `Dimension`.
    fn find_duplicates(
        &self,
        embedding: &UnitEmbedding,
        threshold: Similarity,
        except: Option<StudentKey>,
    ) -> Result<Vec<Candidate>, GalleryError>;

    /// Measures how similar the gallery's own students are to each other, from about `samples` templates
    /// looked up among all others. It takes as long as as many searches. `None` for a gallery of fewer
    /// than 20 templates or of one student.
    fn calibrate(&self, samples: usize, grouping: Grouping) -> Option<Calibration>;

    /// Has the background thread build the graph anew, without the places of removed templates. It does so by
    /// itself where there are many of them.
    fn compact(&self);

    /// Keeps the background thread from beginning anything until
    /// [`resume_background`](Self::resume_background): a gallery that is being filled is ready sooner so.
    fn pause_background(&self);

    /// Lets the background thread begin.
    fn resume_background(&self);

    /// Waits until the background thread has nothing to do; false where `timeout` passed before.
    fn wait_idle(&self, timeout: Duration) -> bool;

    /// Number of components of every embedding.
    fn dimension(&self) -> usize;

    /// Number of templates.
    fn len(&self) -> usize;

    /// Number of templates of the students of a roster.
    fn templates_of(&self, roster: &Roster) -> usize;

    /// Whether there is no template.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of changes applied since the gallery was opened.
    fn epoch(&self) -> u64;

    /// State and counters.
    fn stats(&self) -> Stats;

    /// Inserts one template.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    fn insert(&self, template: Template) -> Result<Applied, GalleryError> {
        self.apply(&Change { insert: vec![template], ..Change::default() })
    }

    /// Removes one template; whether it was there.
    fn remove(&self, template: TemplateId) -> bool {
        // A removal breaks no limit, so it can't be refused.
        self.apply(&Change { remove: vec![template], ..Change::default() }).is_ok_and(|done| done.removed > 0)
    }
}

/// Templates from which [`GalleryMode::Hnsw`] keeps a graph: below, a scan takes a twentieth of a millisecond, and a
/// graph of few points is often not connected.
const SMALLEST_GRAPH: usize = 1024;

/// Limits and parameters of a gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Most templates of one student.
    pub templates_per_student: usize,
    /// Templates from which [`GalleryMode::Auto`] keeps a graph; `None` for the measured default.
    pub crossover: Option<usize>,
    /// Candidates that the graph keeps in hand during a search.
    pub search_width: usize,
    /// One in so many decisive answers of the graph is scanned all the same; 0 for none.
    pub audit_every: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { templates_per_student: 64, crossover: None, search_width: 64, audit_every: 256 }
    }
}

/// Opens an empty gallery for embeddings of `dimension` components.
///
/// # Errors
/// `Open` where no embedding has this dimension, `Thread` where the background thread can't be started.
pub fn open(mode: GalleryMode, dimension: usize, options: Options) -> Result<Arc<dyn Gallery>, GalleryError> {
    if !(1..=MAX_DIMENSION).contains(&dimension) {
        return Err(GalleryError::Open(dimension));
    }
    Ok(match mode {
        GalleryMode::Exact => Arc::new(ExactGallery::new(dimension, options)),
        GalleryMode::Auto => Arc::new(HybridGallery::new(dimension, options)?),
        GalleryMode::Hnsw => {
            Arc::new(HybridGallery::new(dimension, Options { crossover: Some(SMALLEST_GRAPH), ..options })?)
        }
    })
}
