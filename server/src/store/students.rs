use cavs_proto::StudentId;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{Store, StoreError, lists::Conditions};
use crate::domain::{NewStudent, Page, PageRequest, Student, StudentFilter, StudentKey};

const SELECT: &str = "SELECT s.id, s.number, s.name, s.section, s.created_at, s.erased_at,
    (SELECT count(*) FROM templates t WHERE t.student_id = s.id) AS template_count FROM students s";

impl Store {
    /// Adds a student together with the data key of their templates.
    ///
    /// # Errors
    /// `Taken`: the number.
    pub async fn create_student(
        &self,
        id: StudentId,
        new: &NewStudent,
        wrapped_key: &[u8],
    ) -> Result<Student, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        transaction
            .execute(
                "INSERT INTO students (id, number, name, section, name_words)
                 VALUES ($1, $2, $3, $4, array_to_tsvector($5))",
                &[&id.uuid(), &new.number, &new.name, &new.section, &new.name_words()],
            )
            .await?;
        transaction
            .execute(
                "INSERT INTO student_keys (student_id, wrapped) VALUES ($1, $2)",
                &[&id.uuid(), &wrapped_key],
            )
            .await?;
        let sql = format!("{SELECT} WHERE s.id = $1");
        let created = student(&transaction.query_one(&sql, &[&id.uuid()]).await?)?;
        transaction.commit().await?;
        Ok(created)
    }

    /// One student.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn student(&self, key: &StudentKey) -> Result<Option<Student>, StoreError> {
        let client = self.client().await?;
        let row = match key {
            StudentKey::Id(id) => {
                let sql = format!("{SELECT} WHERE s.id = $1");
                client.query_opt(&sql, &[&id.uuid()]).await?
            }
            StudentKey::Number(number) => {
                let sql = format!("{SELECT} WHERE s.number = $1");
                client.query_opt(&sql, &[number]).await?
            }
        };
        row.as_ref().map(student).transpose()
    }

    /// Students by number, those of a filter.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn students(
        &self,
        filter: &StudentFilter,
        request: &PageRequest<String>,
    ) -> Result<Page<Student>, StoreError> {
        let client = self.client().await?;
        let words = (!filter.words.is_empty()).then(|| begins_words(&filter.words));
        let mut chosen = conditions(filter, &words);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "students s").await?),
            false => None,
        };
        chosen.with_value("s.number > ?", &request.after, Type::TEXT);
        let rows = chosen.rows(&client, SELECT, "s.number", request.fetch()).await?;
        let items = rows.iter().map(student).collect::<Result<_, _>>()?;
        Ok(Page { total, ..request.page(items, |student| student.number.clone()) })
    }

    /// The wrapped data key of a student's templates.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn student_key(&self, id: StudentId) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT wrapped FROM student_keys WHERE student_id = $1";
        let row = self.client().await?.query_opt(sql, &[&id.uuid()]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }
}

fn conditions<'a>(filter: &'a StudentFilter, words: &'a Option<String>) -> Conditions<'a> {
    let mut conditions = Conditions::default();
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

fn student(row: &Row) -> Result<Student, StoreError> {
    Ok(Student {
        id: row.try_get::<_, Uuid>("id")?.into(),
        number: row.try_get("number")?,
        name: row.try_get("name")?,
        section: row.try_get("section")?,
        created_at: row.try_get("created_at")?,
        erased_at: row.try_get("erased_at")?,
        template_count: u32::try_from(row.try_get::<_, i64>("template_count")?).unwrap_or(u32::MAX),
    })
}
