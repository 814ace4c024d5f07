use std::{collections::HashSet, fmt, ops::AddAssign};

use cavs_embedding::{Similarity, UnitEmbedding};
use cavs_types::Grouping;
use thiserror::Error;

/// Most candidates that one search may ask for.
pub const MAX_CANDIDATES: usize = 1000;

/// Identity of a template: the bits of its UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemplateId(pub u128);

/// Identity of a student: the bits of its UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StudentKey(pub u128);

impl fmt::Debug for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template {:032x}", self.0)
    }
}

impl fmt::Debug for StudentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "student {:032x}", self.0)
    }
}

/// An enrolled embedding of a student.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Identity of this template.
    pub id: TemplateId,
    /// Whose face it is.
    pub student: StudentKey,
    /// The enrolled embedding, of the gallery's dimension.
    pub embedding: UnitEmbedding,
}

/// A change of the gallery: a search sees all of it or nothing of it.
///
/// Removals come first, so that re-enrollment is one change. A template whose id is already there
/// takes that one's place, so applying a change twice is the same as applying it once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// Templates to remove; ids that are not there are ignored.
    pub remove: Vec<TemplateId>,
    /// Students whose templates are all removed.
    pub remove_students: Vec<StudentKey>,
    /// Templates to insert afterwards.
    pub insert: Vec<Template>,
}

impl Change {
    /// Says what becomes of a template, whatever was said of it before: it is `template` from now on, or gone.
    pub fn set(&mut self, id: TemplateId, template: Option<Template>) {
        self.insert.retain(|earlier| earlier.id != id);
        self.remove.push(id);
        self.insert.extend(template);
    }
}

/// How many templates a change inserted and removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Templates that were there and are not any more, those replaced by their own id included.
    pub removed: usize,
    /// Templates that were inserted.
    pub inserted: usize,
    /// The gallery's epoch after the change.
    pub epoch: u64,
}

/// The students that a search is restricted to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster(pub(crate) HashSet<StudentKey>);

impl Roster {
    /// Whether the student is on the roster.
    #[must_use]
    pub fn contains(&self, student: StudentKey) -> bool {
        self.0.contains(&student)
    }

    /// Whether nobody is on it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are on it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<StudentKey> for Roster {
    fn from_iter<I: IntoIterator<Item = StudentKey>>(students: I) -> Self {
        Self(students.into_iter().collect())
    }
}

/// When an answer of the graph needs no confirmation by the exact scan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decisive {
    /// The lowest similarity that policy accepts.
    pub accept: Similarity,
    /// The lowest lead over the next student that policy accepts, as a difference of cosines.
    pub margin: f32,
}

/// What is asked of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Query<'a> {
    /// Most students to return, 1 to [`MAX_CANDIDATES`].
    pub k: usize,
    /// Students to choose from; everybody where it is `None`.
    pub roster: Option<&'a Roster>,
    /// How templates of one student are put together.
    pub grouping: Grouping,
    /// When the graph's answer may stand. Without it, every answer is exact.
    pub decisive: Option<Decisive>,
}

impl<'a> Query<'a> {
    /// The `k` most similar students of the whole gallery, by their best templates, exactly.
    #[must_use]
    pub const fn top(k: usize) -> Self {
        Self { k, roster: None, grouping: Grouping::Best, decisive: None }
    }

    /// Restricts the search to a roster.
    #[must_use]
    pub const fn among(self, roster: &'a Roster) -> Self {
        Self { roster: Some(roster), ..self }
    }

    /// Sets how templates of one student are put together.
    #[must_use]
    pub const fn grouped_by(self, grouping: Grouping) -> Self {
        Self { grouping, ..self }
    }

    /// Lets an answer of the graph stand where it is decisive.
    #[must_use]
    pub const fn unless_decisive(self, decisive: Decisive) -> Self {
        Self { decisive: Some(decisive), ..self }
    }

    pub(crate) fn check(&self) -> Result<(), GalleryError> {
        if (1..=MAX_CANDIDATES).contains(&self.k) { Ok(()) } else { Err(GalleryError::Count(self.k)) }
    }
}

/// A student that a probe may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Whose templates are similar to the probe.
    pub student: StudentKey,
    /// The student's most similar template.
    pub template: TemplateId,
    /// Similarity of the student under the query's [`Grouping`].
    pub similarity: Similarity,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The exact scan alone.
    Exact,
    /// The graph: it was decisive, so nothing else was asked. Candidates after the second may be missing.
    Graph,
    /// The graph was not decisive, so the exact scan answered.
    Confirmed,
}

/// The answer to a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// At most `k` students, the most similar first; equal ones by key.
    pub candidates: Vec<Candidate>,
    /// How far the first student leads the second, as a difference of cosines; `None` where there is
    /// no second one. It is known for `k` = 1 too.
    pub margin: Option<f32>,
    /// Where the answer came from.
    pub source: Source,
}

impl Answer {
    /// Whether the first candidate reaches `rule`'s similarity and margin. Alone, it has every margin.
    #[must_use]
    pub fn is_decisive(&self, rule: Decisive) -> bool {
        self.candidates.first().is_some_and(|first| first.similarity >= rule.accept)
            && self.margin.is_none_or(|margin| margin >= rule.margin)
    }
}

/// How searches were answered since the gallery was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Probes answered by the exact scan alone.
    pub exact: u64,
    /// Probes answered by the graph alone.
    pub graph: u64,
    /// Probes whose answer from the graph was confirmed by the exact scan.
    pub confirmed: u64,
    /// Confirmations that changed who reached the threshold, or whether the lead was clear.
    pub changed: u64,
    /// Decisive answers of the graph that were scanned all the same, to watch how often they are right.
    pub audited: u64,
    /// Audited answers that the exact scan contradicted.
    pub refuted: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.exact += other.exact;
        self.graph += other.graph;
        self.confirmed += other.confirmed;
        self.changed += other.changed;
        self.audited += other.audited;
        self.refuted += other.refuted;
    }
}

/// State of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GraphStats {
    /// Templates that the graph knows, removed ones included; 0 while there is no graph.
    pub templates: usize,
    /// Templates that it does not know yet; they are compared one by one.
    pub waiting: usize,
    /// Whether the background thread is at work.
    pub busy: bool,
    /// Times that the graph was built.
    pub builds: u64,
}

/// State of a gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Templates that can be found.
    pub templates: usize,
    /// Students that have at least one.
    pub students: usize,
    /// Bytes held by the exact store.
    pub memory: usize,
    /// How searches were answered.
    pub counters: Counters,
    /// The graph; `None` where the gallery never has one.
    pub graph: Option<GraphStats>,
}

/// Why the gallery refused.
#[derive(Debug, Error)]
pub enum GalleryError {
    /// A probe or a template of another dimension than the gallery's.
    #[error("an embedding has {found} components, where the gallery's have {expected}")]
    Dimension {
        /// The gallery's dimension.
        expected: usize,
        /// The dimension of the embedding that was given.
        found: usize,
        /// The template, where it was one.
        template: Option<TemplateId>,
    },
    /// A gallery of no dimension, or of too many.
    #[error("{0} components, where 1 to {max} are accepted", max = cavs_embedding::MAX_DIMENSION)]
    Open(usize),
    /// A search for no candidates, or for too many.
    #[error("k is {0}, where 1 to {MAX_CANDIDATES} are accepted")]
    Count(usize),
    /// A student would have more templates than [`Options::templates_per_student`](crate::Options).
    #[error("{student:?} would have more than {limit} templates")]
    TooManyTemplates {
        /// Who would have too many templates.
        student: StudentKey,
        /// Most templates of a student.
        limit: usize,
    },
    /// More templates than rows can be numbered.
    #[error("the gallery is full")]
    Full,
    /// The background thread could not be started.
    #[error("the gallery's background thread could not be started")]
    Thread(#[source] std::io::Error),
}
