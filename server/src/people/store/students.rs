use cavs_types::{PhotoConsent, SiteId, StudentId, TemplateId, UserId};
use deadpool_postgres::Transaction;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::pairs::forget_pairs;
use crate::{
    biometrics::{
        ERASURE, IS_ENROLLED, NewDataKey, TEMPLATE_COUNT, erase_faces, insert_student_keys, read_erasure,
    },
    db::{Batch, Conditions, Database, DatabaseError, read_text},
    page::{Page, PageRequest},
    people::{Student, StudentFilter, StudentKey, StudentProfile, StudentState, StudentVersion, pseudonym},
};

/// Columns of `students s` that [`state`] reads.
const STATE: &str =
    "s.id, s.number, s.name, s.email, s.department, s.section, s.external_id, s.enrollment_date,
    s.photo_consent, s.is_active, s.version";

fn select() -> String {
    format!(
        "SELECT {STATE}, s.created_at, s.updated_at, s.erased_at, s.re_enroll, {TEMPLATE_COUNT}, {ERASURE}
         FROM students s LEFT JOIN erasures e ON e.site_id = s.site_id AND e.student_id = s.id"
    )
}

/// In the order of an index, passing over those who are not wanted. Good where many are wanted.
pub(crate) const BY_NUMBER: &str = "s.number";
/// In the same order, for which no index is read: all that are wanted are found by their words, and sorted. The
/// database can't know by itself which is better, as no statistics are kept of names.
pub(crate) const SORTED: &str = "s.number || ''";
/// As many are sorted in a few milliseconds; where more are wanted, a page of them is soon found.
const FEW: i64 = 2000;
/// Students that one statement adds or changes.
const BATCH: usize = 5000;
/// Held by who imports students into a site: two imports take turns ("rost" in ASCII).
const IMPORT_LOCK: i32 = 0x726f_7374;

/// Students in the database, each of one site.
#[derive(Clone)]
pub struct StudentStore {
    db: Database,
}

/// Changes of students that are made together.
#[derive(Debug, Default)]
pub struct StudentChanges {
    /// Students to be added.
    pub create: Vec<StudentState>,
    /// Data keys of these, in their order.
    pub keys: Vec<NewDataKey>,
    /// Students to be changed, with the versions that they had.
    pub update: Vec<StudentState>,
}

/// What became of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    /// All of it was done.
    Done,
    /// Nothing was to be done.
    NotWanted,
    /// Nothing was done, as somebody has changed one of the students meanwhile.
    Overtaken,
}

impl StudentStore {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// Adds students together with the data keys of their templates, and changes others; all or nothing. False where
    /// somebody has changed one of these, or erased them: nothing was done then.
    ///
    /// # Errors
    /// `Taken`: a number, an e-mail address or an external id. `EpochRetired`.
    pub async fn apply(&self, site: SiteId, changes: &StudentChanges) -> Result<bool, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let applied = apply(&transaction, site, changes).await?;
        if applied {
            transaction.commit().await?;
        }
        Ok(applied)
    }

    /// Changes students of a site as `plan` says of those who are not erased, while no other import does. What
    /// `plan` gives beside the changes is given back, and whether there were any that were done: not where somebody
    /// has changed one of the students meanwhile.
    ///
    /// # Errors
    /// As [`Self::apply`], and those of `plan`.
    pub async fn import<P, E, F>(
        &self,
        site: SiteId,
        plan: impl FnOnce(Vec<StudentState>) -> F,
    ) -> Result<(P, ImportOutcome), E>
    where
        E: From<DatabaseError>,
        F: Future<Output = Result<(P, Option<StudentChanges>), E>>,
    {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await.map_err(DatabaseError::from)?;
        let states = import_states(&transaction, site).await?;
        let (planned, changes) = plan(states).await?;
        let Some(changes) = changes else { return Ok((planned, ImportOutcome::NotWanted)) };
        if !apply(&transaction, site, &changes).await? {
            return Ok((planned, ImportOutcome::Overtaken));
        }
        transaction.commit().await.map_err(DatabaseError::from)?;
        Ok((planned, ImportOutcome::Done))
    }

    /// One student.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn get(&self, site: SiteId, key: &StudentKey) -> Result<Option<Student>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let row = match key {
            StudentKey::Id(id) => {
                let sql = format!("{} WHERE s.site_id = $1 AND s.id = $2", select());
                client.query_opt(&sql, &[&site, &id.uuid()]).await?
            }
            StudentKey::Number(number) => {
                let sql = format!("{} WHERE s.site_id = $1 AND s.number = $2", select());
                client.query_opt(&sql, &[&site, number]).await?
            }
        };
        row.as_ref().map(student).transpose()
    }

    /// Students of a site by number, those of a filter.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn list(
        &self,
        site: SiteId,
        filter: &StudentFilter,
        request: &PageRequest<String>,
    ) -> Result<Page<Student>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let looked_for = LookedFor::of(filter);
        let mut chosen = conditions(&site, filter, &looked_for);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "students s").await?),
            false => None,
        };
        chosen.with_value("s.number > ?", &request.after, Type::TEXT);
        let order =
            match filter.search.is_none() || chosen.choose_more_than(&client, FEW, "students s").await? {
                true => BY_NUMBER,
                false => SORTED,
            };
        let rows = chosen.rows(&client, &select(), order, request.fetch()).await?;
        let items = rows.iter().map(student).collect::<Result<_, _>>()?;
        Ok(Page { total, ..request.page(items, |student| student.state.profile.number.clone()) })
    }

    /// Destroys a student's face, number, name and all that people said of them; the templates that there were.
    ///
    /// # Errors
    /// `NotFound`: the student.
    pub(crate) async fn erase(
        &self,
        site: SiteId,
        id: StudentId,
        by: UserId,
    ) -> Result<Vec<TemplateId>, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        // Whoever attaches a face or a name to the student shares this row: they are through, or find an erased one.
        let sql = "UPDATE students SET erased_at = coalesce(erased_at, now()), number = $3, name = '',
                   section = '', name_words = '', email = '', email_key = '', department = '', external_id = '',
                   enrollment_date = NULL, re_enroll = false, version = version + 1, updated_at = now()
                   WHERE site_id = $1 AND id = $2";
        if transaction.execute(sql, &[&site.uuid(), &id.uuid(), &pseudonym(id)]).await? == 0 {
            return Err(DatabaseError::NotFound);
        }
        forget_pairs(&transaction, site, id).await?;
        // Answers have names: those of the last day are not given again, and those under way are not kept.
        let sql = "UPDATE request_answers SET answer = NULL WHERE site_id = $1 AND is_done";
        transaction.execute(sql, &[&site.uuid()]).await?;
        let sql = "DELETE FROM request_answers WHERE site_id = $1 AND NOT is_done";
        transaction.execute(sql, &[&site.uuid()]).await?;
        let sql = "DELETE FROM similarity_months WHERE site_id = $1 AND student_id = $2";
        transaction.execute(sql, &[&site.uuid(), &id.uuid()]).await?;
        let erased = erase_faces(&transaction, site, id, by).await?;
        transaction.commit().await?;
        Ok(erased)
    }
}

/// All students of a site who are not erased, once no other import changes them.
async fn import_states(
    transaction: &Transaction<'_>,
    site: SiteId,
) -> Result<Vec<StudentState>, DatabaseError> {
    let lock = "SELECT pg_advisory_xact_lock($1, hashtext($2))";
    transaction.execute(lock, &[&IMPORT_LOCK, &site.to_string()]).await?;
    let sql = format!("SELECT {STATE} FROM students s WHERE s.site_id = $1 AND s.erased_at IS NULL");
    let rows = transaction.query(&sql, &[&site.uuid()]).await?;
    rows.iter().map(state).collect()
}

async fn apply(
    transaction: &Transaction<'_>,
    site: SiteId,
    changes: &StudentChanges,
) -> Result<bool, DatabaseError> {
    let StudentChanges { create, keys, update } = changes;
    // All of them, in one order, before any of their templates changes: from then on the gallery's clock is held, for
    // which whoever holds a student waits.
    let ids: Vec<Uuid> = update.iter().map(|state| state.id.uuid()).collect();
    let lock = "SELECT FROM students WHERE site_id = $1 AND id = ANY($2) ORDER BY id FOR NO KEY UPDATE";
    transaction.query(lock, &[&site.uuid(), &ids]).await?;
    for part in update.chunks(BATCH) {
        if update_students(transaction, site, part).await? != part.len() as u64 {
            return Ok(false);
        }
    }
    for (part, keys) in create.chunks(BATCH).zip(keys.chunks(BATCH)) {
        insert_students(transaction, site, part).await?;
        insert_student_keys(transaction, keys).await?;
    }
    Ok(true)
}

async fn insert_students(
    transaction: &Transaction<'_>,
    site: SiteId,
    new: &[StudentState],
) -> Result<(), DatabaseError> {
    let batch = people_say(Batch::of(new).column("site_id", |_| site.uuid()).column("id", |s| s.id.uuid()));
    let (columns, values) = (batch.names(), batch.given());
    let batch = batch.column("words", |s| s.profile.name_words());
    let source = batch.source();
    let sql = format!(
        "INSERT INTO students (name_words, {columns})
         SELECT array_to_tsvector(string_to_array(given.words, ' ')), {values} FROM {source}"
    );
    transaction.execute(&sql, &batch.parameters()).await?;
    Ok(())
}

/// Changes students who are in the versions that are given; how many were.
async fn update_students(
    transaction: &Transaction<'_>,
    site: SiteId,
    changed: &[StudentState],
) -> Result<u64, DatabaseError> {
    let batch = people_say(Batch::of(changed));
    let (columns, values) = (batch.names(), batch.given());
    let batch = batch
        .column("site_id", |_| site.uuid())
        .column("id", |s| s.id.uuid())
        .column("version", |s| s.version.0)
        .column("words", |s| s.profile.name_words());
    let source = batch.source();
    let sql = format!(
        "UPDATE students s SET (name_words, version, updated_at, {columns})
             = (array_to_tsvector(string_to_array(given.words, ' ')), s.version + 1, now(), {values})
         FROM {source}
         WHERE s.site_id = given.site_id AND s.id = given.id AND s.version = given.version
             AND s.erased_at IS NULL"
    );
    Ok(transaction.execute(&sql, &batch.parameters()).await?)
}

/// With the columns of what people say of students.
fn people_say<'a>(batch: Batch<'a, StudentState>) -> Batch<'a, StudentState> {
    batch
        .column("number", |s| s.profile.number.as_str())
        .column("name", |s| s.profile.name.as_str())
        .column("email", |s| s.profile.email.as_str())
        .column("email_key", |s| s.profile.email_key())
        .column("department", |s| s.profile.department.as_str())
        .column("section", |s| s.profile.section.as_str())
        .column("external_id", |s| s.profile.external_id.as_str())
        .column("enrollment_date", |s| s.profile.enrollment_date)
        .column("photo_consent", |s| s.profile.photo_consent.as_str())
        .column("is_active", |s| s.is_active)
}

/// Parameters of a filter that are not in it as the database wants them.
#[derive(Default)]
struct LookedFor {
    words: Option<String>,
    number: Option<String>,
    photo_consent: Option<&'static str>,
}

impl LookedFor {
    fn of(filter: &StudentFilter) -> Self {
        let search = filter.search.as_ref();
        Self {
            words: search.and_then(|search| begins_words(&search.words)),
            number: search.and_then(|search| search.number.as_deref()).map(begins),
            photo_consent: filter.photo_consent.map(PhotoConsent::as_str),
        }
    }
}

fn conditions<'a>(site: &'a Uuid, filter: &'a StudentFilter, looked_for: &'a LookedFor) -> Conditions<'a> {
    let mut conditions = Conditions::default();
    conditions.with("s.site_id = ?", &[(site, Type::UUID)]);
    conditions.with_value("s.section = ?", &filter.section, Type::TEXT);
    conditions.with_value("s.department = ?", &filter.department, Type::TEXT);
    conditions.with_value("s.is_active = ?", &filter.active, Type::BOOL);
    conditions.with_value("s.photo_consent = ?", &looked_for.photo_consent, Type::TEXT);
    match filter.re_enroll {
        // As the index says it.
        Some(true) => conditions.also("s.re_enroll"),
        Some(false) => conditions.also("NOT s.re_enroll AND s.erased_at IS NULL"),
        None => {}
    }
    let begins = "lower(s.number) LIKE lower(?)";
    match (&looked_for.words, &looked_for.number) {
        (Some(words), Some(number)) => conditions.with(
            &format!("(s.name_words @@ ?::tsquery OR {begins})"),
            &[(words, Type::TEXT), (number, Type::TEXT)],
        ),
        (Some(words), None) => conditions.with("s.name_words @@ ?::tsquery", &[(words, Type::TEXT)]),
        (None, Some(number)) => conditions.with(begins, &[(number, Type::TEXT)]),
        (None, None) if filter.search.is_some() => conditions.also("false"),
        (None, None) => {}
    }
    if filter.active.is_some() || filter.enrolled.is_some() || filter.photo_consent.is_some() {
        // Nobody is left of whom that could be said.
        conditions.also("s.erased_at IS NULL");
    }
    if let Some(enrolled) = filter.enrolled {
        let not = if enrolled { "" } else { "NOT " };
        conditions.also(&format!("{not}{IS_ENROLLED}"));
    }
    conditions
}

/// The text of a `tsquery`: each of these begins a word; `None` where there is no word. They hold no punctuation that
/// would have to be quoted, as that ends a word.
fn begins_words(words: &[String]) -> Option<String> {
    let word = |word: &String| format!("'{word}':*");
    (!words.is_empty()).then(|| words.iter().map(word).collect::<Vec<_>>().join(" & "))
}

/// The pattern of what begins so.
fn begins(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "%"
}

fn state(row: &Row) -> Result<StudentState, DatabaseError> {
    Ok(StudentState {
        id: row.try_get::<_, Uuid>("id")?.into(),
        profile: StudentProfile {
            number: row.try_get("number")?,
            name: row.try_get("name")?,
            email: row.try_get("email")?,
            department: row.try_get("department")?,
            section: row.try_get("section")?,
            external_id: row.try_get("external_id")?,
            enrollment_date: row.try_get("enrollment_date")?,
            photo_consent: read_text(row, "students", "photo_consent")?,
        },
        is_active: row.try_get("is_active")?,
        version: StudentVersion(row.try_get("version")?),
    })
}

fn student(row: &Row) -> Result<Student, DatabaseError> {
    Ok(Student {
        state: state(row)?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        erased_at: row.try_get("erased_at")?,
        erasure: read_erasure(row)?,
        re_enroll: row.try_get("re_enroll")?,
        template_count: u32::try_from(row.try_get::<_, i64>("template_count")?).unwrap_or(u32::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_of_what_is_typed() {
        assert_eq!(begins("1_0%\\"), "1\\_0\\%\\\\%");
        assert_eq!(begins_words(&["a".into(), "b".into()]).as_deref(), Some("'a':* & 'b':*"));
        assert_eq!(begins_words(&[]), None);
    }
}
