//! The truth: every template of the gallery, in rows without gaps.

use std::collections::{HashMap, HashSet};

use cavs_embedding::Similarity;
use cavs_types::Grouping;

use crate::{
    code::{Code, CodeRef, Lane},
    ranking::Ranking,
    simd,
    types::{Candidate, Change, GalleryError, Roster, StudentKey, Template, TemplateId},
};

/// Rows of a chunk. Chunks are allocated whole and never grow, so that no copy of a template stays
/// behind in freed memory, and a large gallery never pauses to be moved.
const CHUNK: usize = 1024;

/// Rows that are compared with every probe of a batch before the next ones are read: their high
/// digits stay in the nearest cache.
const BLOCK: usize = 64;

/// Templates in fixed point, in rows 0 to `len`. Removal moves the last row into the gap.
pub(crate) struct Store {
    lanes: usize,
    templates_per_student: usize,
    chunks: Vec<Chunk>,
    len: usize,
    rows: HashMap<TemplateId, u32>,
    students: Vec<Student>,
    numbers: HashMap<StudentKey, u32>,
}

struct Chunk {
    high: Vec<Lane>,
    low: Vec<Lane>,
    scale: Vec<f32>,
    residual: Vec<f32>,
    id: Vec<TemplateId>,
    /// Index into `Store::students`.
    owner: Vec<u32>,
}

struct Student {
    key: StudentKey,
    rows: Vec<u32>,
}

/// Whom a search may return.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'a> {
    Everyone,
    Among(&'a Roster),
    Except(StudentKey),
}

impl Scope<'_> {
    fn admits(self, student: StudentKey) -> bool {
        match self {
            Scope::Everyone => true,
            Scope::Among(roster) => roster.contains(student),
            Scope::Except(other) => student != other,
        }
    }
}

/// One probe on its way through the store.
pub(crate) struct Search<'a> {
    pub(crate) code: Code,
    pub(crate) scope: Scope<'a>,
    pub(crate) grouping: Grouping,
    pub(crate) ranking: Ranking,
}

impl Store {
    pub(crate) fn new(dimension: usize, templates_per_student: usize) -> Self {
        Self {
            lanes: Lane::count(dimension),
            templates_per_student,
            chunks: Vec::new(),
            len: 0,
            rows: HashMap::new(),
            students: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn students(&self) -> usize {
        self.students.len()
    }

    /// All ids, in the order of the rows.
    pub(crate) fn ids(&self) -> impl Iterator<Item = TemplateId> {
        self.chunks.iter().flat_map(|chunk| &chunk.id).copied()
    }

    /// The owner and the code of a template.
    pub(crate) fn get(&self, id: TemplateId) -> Option<(StudentKey, CodeRef<'_>)> {
        let row = *self.rows.get(&id)?;
        Some((self.students[self.owner(row) as usize].key, self.code(row)))
    }

    /// Number of templates of the students of a roster.
    pub(crate) fn templates_of(&self, roster: &Roster) -> usize {
        let students = roster.0.iter().filter_map(|key| self.numbers.get(key));
        students.map(|number| self.students[*number as usize].rows.len()).sum()
    }

    /// Bytes on the heap, by capacity.
    pub(crate) fn memory(&self) -> usize {
        use std::mem::size_of;
        let row = 2 * self.lanes * size_of::<Lane>() + 2 * size_of::<f32>() + size_of::<TemplateId>() + 4;
        // A hash map keeps one byte beside every place, and an eighth of the places free.
        let places = |capacity: usize| capacity.div_ceil(7) * 8;
        self.chunks.len() * CHUNK * row
            + places(self.rows.capacity()) * (size_of::<(TemplateId, u32)>() + 1)
            + places(self.numbers.capacity()) * (size_of::<(StudentKey, u32)>() + 1)
            + self.students.capacity() * size_of::<Student>()
            + self.students.iter().map(|s| s.rows.capacity() * 4).sum::<usize>()
    }

    /// Refuses a change that would break a limit; nothing has happened then.
    pub(crate) fn check(&self, change: &Change) -> Result<(), GalleryError> {
        let gone: HashSet<TemplateId> =
            change.remove.iter().copied().chain(change.insert.iter().map(|t| t.id)).collect();
        let mut inserted: HashMap<StudentKey, HashSet<TemplateId>> = HashMap::new();
        for template in &change.insert {
            inserted.entry(template.student).or_default().insert(template.id);
        }
        for (student, new) in &inserted {
            let kept = match self.numbers.get(student) {
                Some(number) if !change.remove_students.contains(student) => {
                    let rows = &self.students[*number as usize].rows;
                    rows.iter().filter(|row| !gone.contains(&self.id(**row))).count()
                }
                _ => 0,
            };
            if kept + new.len() > self.templates_per_student {
                let limit = self.templates_per_student;
                return Err(GalleryError::TooManyTemplates { student: *student, limit });
            }
        }
        if self.len + change.insert.len() > u32::MAX as usize { Err(GalleryError::Full) } else { Ok(()) }
    }

    pub(crate) fn insert(&mut self, template: &Template, code: &Code) {
        let row = self.len as u32;
        let number = *self.numbers.entry(template.student).or_insert_with(|| {
            self.students.push(Student { key: template.student, rows: Vec::new() });
            self.students.len() as u32 - 1
        });
        self.students[number as usize].rows.push(row);
        self.rows.insert(template.id, row);
        if self.len == self.chunks.len() * CHUNK {
            self.chunks.push(Chunk::new(self.lanes));
        }
        self.chunks[self.len / CHUNK].push(template.id, number, code);
        self.len += 1;
    }

    /// Removes a template and erases it from memory.
    pub(crate) fn remove(&mut self, id: TemplateId) -> bool {
        let Some(row) = self.rows.remove(&id) else { return false };
        self.detach_row(row);
        let last = self.len as u32 - 1;
        if row != last {
            self.move_last_to(row);
        }
        self.chunks[last as usize / CHUNK].pop(self.lanes);
        self.len -= 1;
        // One spare chunk is kept, so that a gallery at a chunk's edge does not allocate at every change.
        self.chunks.truncate(self.len / CHUNK + 2);
        true
    }

    /// Removes all templates of a student; which they were.
    pub(crate) fn remove_student(&mut self, student: StudentKey) -> Vec<TemplateId> {
        let Some(number) = self.numbers.get(&student) else { return Vec::new() };
        let mut ids: Vec<_> = self.students[*number as usize].rows.iter().map(|row| self.id(*row)).collect();
        ids.retain(|id| self.remove(*id));
        ids
    }

    /// Takes a row from its student, and the student away with the last one.
    fn detach_row(&mut self, row: u32) {
        let number = self.owner(row);
        let student = &mut self.students[number as usize];
        student.rows.retain(|other| *other != row);
        if student.rows.is_empty() {
            self.numbers.remove(&student.key);
            self.students.swap_remove(number as usize);
            if let Some(moved) = self.students.get(number as usize) {
                self.numbers.insert(moved.key, number);
                for row in &moved.rows {
                    self.chunks[*row as usize / CHUNK].owner[*row as usize % CHUNK] = number;
                }
            }
        }
    }

    /// Copies the last row over `to`. Nothing of what was there remains.
    fn move_last_to(&mut self, to: u32) {
        let last = self.len as u32 - 1;
        let (id, number) = (self.id(last), self.owner(last));
        let code = self.code(last).to_owned();
        self.chunks[to as usize / CHUNK].put(to as usize % CHUNK, id, number, &code);
        self.rows.insert(id, to);
        for row in &mut self.students[number as usize].rows {
            if *row == last {
                *row = to;
            }
        }
    }

    /// Ranks for every search of a batch all students in its scope.
    ///
    /// A row whose high digits can't lift it over the ranking's bar, rounding included, is passed over;
    /// all others are compared in full. So nothing that belongs into the ranking is ever left out.
    pub(crate) fn scan(&self, searches: &mut [Search<'_>]) {
        let (mut few, mut all): (Vec<_>, Vec<_>) = searches.iter_mut().partition(|s| self.is_few(s.scope));
        for search in &mut few {
            if let Scope::Among(roster) = search.scope {
                roster.0.iter().for_each(|student| self.offer_student(search, *student));
            }
        }
        let mut dots = [0; BLOCK];
        for chunk in &self.chunks {
            for start in (0..chunk.id.len()).step_by(BLOCK) {
                let rows = start..chunk.id.len().min(start + BLOCK);
                for search in &mut all {
                    self.scan_block(chunk, rows.clone(), search, &mut dots[..rows.len()]);
                }
            }
        }
    }

    /// Whether a scope is so small that its rows are better visited one by one.
    fn is_few(&self, scope: Scope<'_>) -> bool {
        match scope {
            // A row costs about four times as much out of order.
            Scope::Among(roster) => 4 * self.templates_of(roster) <= self.len,
            Scope::Everyone | Scope::Except(_) => false,
        }
    }

    fn scan_block(
        &self,
        chunk: &Chunk,
        rows: std::ops::Range<usize>,
        search: &mut Search<'_>,
        dots: &mut [i32],
    ) {
        simd::dots(&search.code.high, &chunk.high[rows.start * self.lanes..rows.end * self.lanes], dots);
        let unit = search.code.unit();
        let (constant, factor) = search.code.slack();
        let mut bar = search.ranking.bar().get();
        for (row, dot) in rows.zip(dots) {
            let at_most = *dot as f32 * unit * chunk.scale[row] + factor * chunk.residual[row] + constant;
            if at_most < bar {
                continue;
            }
            let student = &self.students[chunk.owner[row] as usize];
            if !search.scope.admits(student.key) {
                continue;
            }
            match search.grouping {
                Grouping::Best => {
                    let similarity =
                        Similarity::clamped(search.code.as_ref().cosine(chunk.code(row, self.lanes)));
                    search.ranking.offer(Candidate {
                        student: student.key,
                        template: chunk.id[row],
                        similarity,
                    });
                }
                // The best template is at least the mean, so no student is passed over for good.
                Grouping::Mean => self.offer_rows(search, student),
            }
            bar = search.ranking.bar().get();
        }
    }

    /// Compares one student in full.
    pub(crate) fn offer_student(&self, search: &mut Search<'_>, student: StudentKey) {
        if let Some(number) = self.numbers.get(&student) {
            self.offer_rows(search, &self.students[*number as usize]);
        }
    }

    fn offer_rows(&self, search: &mut Search<'_>, student: &Student) {
        let probe = search.code.as_ref();
        let of = |row: &u32| {
            (Similarity::clamped(probe.cosine(self.code(*row))), std::cmp::Reverse(self.id(*row)))
        };
        let Some((best, template)) = student.rows.iter().map(of).max() else { return };
        let similarity = match search.grouping {
            Grouping::Best => best,
            Grouping::Mean => {
                let sum: f64 = student.rows.iter().map(|row| f64::from(of(row).0.get())).sum();
                Similarity::clamped((sum / student.rows.len() as f64) as f32)
            }
        };
        search.ranking.offer(Candidate { student: student.key, template: template.0, similarity });
    }

    fn owner(&self, row: u32) -> u32 {
        self.chunks[row as usize / CHUNK].owner[row as usize % CHUNK]
    }

    fn id(&self, row: u32) -> TemplateId {
        self.chunks[row as usize / CHUNK].id[row as usize % CHUNK]
    }

    fn code(&self, row: u32) -> CodeRef<'_> {
        self.chunks[row as usize / CHUNK].code(row as usize % CHUNK, self.lanes)
    }
}

impl Chunk {
    fn new(lanes: usize) -> Self {
        Self {
            high: Vec::with_capacity(CHUNK * lanes),
            low: Vec::with_capacity(CHUNK * lanes),
            scale: Vec::with_capacity(CHUNK),
            residual: Vec::with_capacity(CHUNK),
            id: Vec::with_capacity(CHUNK),
            owner: Vec::with_capacity(CHUNK),
        }
    }

    fn push(&mut self, id: TemplateId, owner: u32, code: &Code) {
        self.high.extend_from_slice(&code.high);
        self.low.extend_from_slice(&code.low);
        self.scale.push(code.scale);
        self.residual.push(code.residual);
        self.id.push(id);
        self.owner.push(owner);
    }

    fn put(&mut self, row: usize, id: TemplateId, owner: u32, code: &Code) {
        let lanes = row * code.high.len()..(row + 1) * code.high.len();
        self.high[lanes.clone()].clone_from_slice(&code.high);
        self.low[lanes].clone_from_slice(&code.low);
        self.scale[row] = code.scale;
        self.residual[row] = code.residual;
        self.id[row] = id;
        self.owner[row] = owner;
    }

    /// Drops the last row; dropped lanes are erased.
    fn pop(&mut self, lanes: usize) {
        self.high.truncate(self.high.len() - lanes);
        self.low.truncate(self.low.len() - lanes);
        self.scale.pop();
        self.residual.pop();
        self.id.pop();
        self.owner.pop();
    }

    fn code(&self, row: usize, lanes: usize) -> CodeRef<'_> {
        let at = row * lanes..(row + 1) * lanes;
        CodeRef {
            high: &self.high[at.clone()],
            low: &self.low[at],
            scale: self.scale[row],
            residual: self.residual[row],
        }
    }
}
