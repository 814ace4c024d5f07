use cavs_proto::StudentId;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::{NewStudent, Page, PageRequest, Student, StudentKey};

const COLUMNS: &str = "s.id, s.number, s.name, s.section, s.created_at, s.erased_at,
    (SELECT count(*) FROM templates t WHERE t.student_id = s.id) AS template_count";

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
                "INSERT INTO students (id, number, name, section) VALUES ($1, $2, $3, $4)",
                &[&id.uuid(), &new.number, &new.name, &new.section],
            )
            .await?;
        transaction
            .execute(
                "INSERT INTO student_keys (student_id, wrapped) VALUES ($1, $2)",
                &[&id.uuid(), &wrapped_key],
            )
            .await?;
        let sql = format!("SELECT {COLUMNS} FROM students s WHERE s.id = $1");
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
                let sql = format!("SELECT {COLUMNS} FROM students s WHERE s.id = $1");
                client.query_opt(&sql, &[&id.uuid()]).await?
            }
            StudentKey::Number(number) => {
                let sql = format!("SELECT {COLUMNS} FROM students s WHERE s.number = $1");
                client.query_opt(&sql, &[number]).await?
            }
        };
        row.as_ref().map(student).transpose()
    }

    /// Students by number, all or those of a section.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn students(
        &self,
        section: Option<&str>,
        request: &PageRequest<String>,
    ) -> Result<Page<Student>, StoreError> {
        let client = self.client().await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM students s
             WHERE ($1::text IS NULL OR section = $1) AND ($2::text IS NULL OR number > $2)
             ORDER BY number LIMIT $3"
        );
        let rows = client.query(&sql, &[&section, &request.after, &request.fetch()]).await?;
        let items = rows.iter().map(student).collect::<Result<_, _>>()?;
        let sql = "SELECT count(*) FROM students WHERE $1::text IS NULL OR section = $1";
        let total: i64 = client.query_one(sql, &[&section]).await?.try_get(0)?;
        Ok(request.page(items, total.unsigned_abs(), |student| student.number.clone()))
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
