use cavs_types::{SiteId, StudentId, TemplateId, UserId};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::{
    biometrics::{ERASURE, NewDataKey, TEMPLATE_COUNT, erase_faces, insert_key, read_erasure},
    db::{Conditions, Database, DatabaseError},
    page::{Page, PageRequest},
    people::{NewStudent, Student, StudentFilter, StudentKey, pseudonym},
};

fn select() -> String {
    format!(
        "SELECT s.id, s.number, s.name, s.section, s.created_at, s.erased_at,
             {TEMPLATE_COUNT}, {ERASURE}
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

/// Students in the database, each of one site.
#[derive(Clone)]
pub struct StudentStore {
    db: Database,
}

impl StudentStore {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// Adds a student together with the data key of their templates.
    ///
    /// # Errors
    /// `Taken`: the number.
    pub async fn create(
        &self,
        site: SiteId,
        id: StudentId,
        new: &NewStudent,
        key: &NewDataKey,
    ) -> Result<Student, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        transaction
            .execute(
                "INSERT INTO students (site_id, id, number, name, section, name_words)
                 VALUES ($1, $2, $3, $4, $5, array_to_tsvector($6))",
                &[&site.uuid(), &id.uuid(), &new.number, &new.name, &new.section, &new.name_words()],
            )
            .await?;
        insert_key(&transaction, key).await?;
        let sql = format!("{} WHERE s.site_id = $1 AND s.id = $2", select());
        let created = student(&transaction.query_one(&sql, &[&site.uuid(), &id.uuid()]).await?)?;
        transaction.commit().await?;
        Ok(created)
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
        let words = (!filter.words.is_empty()).then(|| begins_words(&filter.words));
        let mut chosen = conditions(&site, filter, &words);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "students s").await?),
            false => None,
        };
        chosen.with_value("s.number > ?", &request.after, Type::TEXT);
        let order =
            match filter.words.is_empty() || chosen.choose_more_than(&client, FEW, "students s").await? {
                true => BY_NUMBER,
                false => SORTED,
            };
        let rows = chosen.rows(&client, &select(), order, request.fetch()).await?;
        let items = rows.iter().map(student).collect::<Result<_, _>>()?;
        Ok(Page { total, ..request.page(items, |student| student.number.clone()) })
    }

    /// Destroys a student's face, number, name and section; the templates that there were.
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
                   section = '', name_words = '' WHERE site_id = $1 AND id = $2";
        if transaction.execute(sql, &[&site.uuid(), &id.uuid(), &pseudonym(id)]).await? == 0 {
            return Err(DatabaseError::NotFound);
        }
        let erased = erase_faces(&transaction, site, id, by).await?;
        transaction.commit().await?;
        Ok(erased)
    }
}

fn conditions<'a>(site: &'a Uuid, filter: &'a StudentFilter, words: &'a Option<String>) -> Conditions<'a> {
    let mut conditions = Conditions::default();
    conditions.with("s.site_id = ?", &[(site, Type::UUID)]);
    conditions.with_value("s.section = ?", &filter.section, Type::TEXT);
    conditions.with_value("s.name_words @@ ?::tsquery", words, Type::TEXT);
    conditions
}

/// The text of a `tsquery`: each of these begins a word. They hold no punctuation that would have to be
/// quoted, as that ends a word.
fn begins_words(words: &[String]) -> String {
    let word = |word: &String| format!("'{word}':*");
    words.iter().map(word).collect::<Vec<_>>().join(" & ")
}

fn student(row: &Row) -> Result<Student, DatabaseError> {
    Ok(Student {
        id: row.try_get::<_, Uuid>("id")?.into(),
        number: row.try_get("number")?,
        name: row.try_get("name")?,
        section: row.try_get("section")?,
        created_at: row.try_get("created_at")?,
        erased_at: row.try_get("erased_at")?,
        erasure: read_erasure(row)?,
        template_count: u32::try_from(row.try_get::<_, i64>("template_count")?).unwrap_or(u32::MAX),
    })
}
