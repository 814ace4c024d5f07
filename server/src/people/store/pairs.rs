use cavs_types::{ConfusableKind, SiteId, StudentId, UserId};
use deadpool_postgres::Transaction;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::{
    db::{Conditions, Database, DatabaseError, read_text},
    page::{Page, PageRequest},
    people::{ConfusablePair, PairPosition, StudentRef},
    recognition::ordered,
};

const SELECT: &str = "SELECT p.first_id, a.number AS first_number, a.name AS first_name,
        p.second_id, b.number AS second_number, b.name AS second_name, p.kind, p.noted_at, u.username
    FROM confusable_pairs p JOIN students a ON a.site_id = p.site_id AND a.id = p.first_id
        JOIN students b ON b.site_id = p.site_id AND b.id = p.second_id JOIN users u ON u.id = p.noted_by";

/// Confusable pairs in the database.
#[derive(Clone)]
pub struct PairStore {
    db: Database,
}

impl PairStore {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// Notes that two students look alike, whatever was noted of them before.
    ///
    /// # Errors
    /// `NotFound`: one of the students, or they are erased.
    pub async fn note_twins(
        &self,
        site: SiteId,
        one: StudentId,
        other: StudentId,
        by: UserId,
    ) -> Result<ConfusablePair, DatabaseError> {
        let (first, second) = ordered(one, other);
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        // Shared until the commit, so that no erasure comes between.
        let there = "SELECT FROM students WHERE site_id = $1 AND id IN ($2, $3) AND erased_at IS NULL
                     ORDER BY id FOR KEY SHARE";
        let (site, first, second) = (site.uuid(), first.uuid(), second.uuid());
        if transaction.query(there, &[&site, &first, &second]).await?.len() != 2 {
            return Err(DatabaseError::NotFound);
        }
        let sql = "INSERT INTO confusable_pairs (site_id, first_id, second_id, kind, noted_by)
                   VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (site_id, first_id, second_id) DO UPDATE SET kind = excluded.kind,
                       noted_by = excluded.noted_by, noted_at = now()
                   WHERE confusable_pairs.kind <> excluded.kind";
        let kind = ConfusableKind::Twins.as_str();
        transaction.execute(sql, &[&site, &first, &second, &kind, &by.uuid()]).await?;
        let sql = format!("{SELECT} WHERE p.site_id = $1 AND p.first_id = $2 AND p.second_id = $3");
        let noted = pair(&transaction.query_one(&sql, &[&site, &first, &second]).await?)?;
        transaction.commit().await?;
        Ok(noted)
    }

    /// Forgets a pair; whether there was one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn delete(
        &self,
        site: SiteId,
        one: StudentId,
        other: StudentId,
    ) -> Result<bool, DatabaseError> {
        let (first, second) = ordered(one, other);
        let sql = "DELETE FROM confusable_pairs WHERE site_id = $1 AND first_id = $2 AND second_id = $3";
        let client = self.db.client().await?;
        Ok(client.execute(sql, &[&site.uuid(), &first.uuid(), &second.uuid()]).await? > 0)
    }

    /// Pairs of a site, or of one of its students, in the order of their ids.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn list(
        &self,
        site: SiteId,
        student: Option<StudentId>,
        request: &PageRequest<PairPosition>,
    ) -> Result<Page<ConfusablePair>, DatabaseError> {
        let (client, site, student) = (self.db.client().await?, site.uuid(), student.map(StudentId::uuid));
        let mut chosen = Conditions::default();
        chosen.with("p.site_id = ?", &[(&site, Type::UUID)]);
        if let Some(student) = &student {
            chosen
                .with("(p.first_id = ? OR p.second_id = ?)", &[(student, Type::UUID), (student, Type::UUID)]);
        }
        let total = match request.with_total {
            true => Some(chosen.count(&client, "confusable_pairs p").await?),
            false => None,
        };
        let after = request.after.map(|PairPosition(first, second)| (first.uuid(), second.uuid()));
        if let Some((first, second)) = &after {
            let follows = "(p.first_id, p.second_id) > (?, ?)";
            chosen.with(follows, &[(first, Type::UUID), (second, Type::UUID)]);
        }
        let rows = chosen.rows(&client, SELECT, "p.first_id, p.second_id", request.fetch()).await?;
        let items = rows.iter().map(pair).collect::<Result<_, _>>()?;
        Ok(Page { total, ..request.page(items, ConfusablePair::position) })
    }
}

/// Forgets all pairs of a student, with the commit.
pub(super) async fn forget_pairs(
    transaction: &Transaction<'_>,
    site: SiteId,
    student: StudentId,
) -> Result<(), DatabaseError> {
    let sql = "DELETE FROM confusable_pairs WHERE site_id = $1 AND (first_id = $2 OR second_id = $2)";
    transaction.execute(sql, &[&site.uuid(), &student.uuid()]).await?;
    Ok(())
}

fn pair(row: &Row) -> Result<ConfusablePair, DatabaseError> {
    let student = |id, number, name| {
        Ok::<_, DatabaseError>(StudentRef {
            id: row.try_get::<_, Uuid>(id)?.into(),
            number: row.try_get(number)?,
            name: row.try_get(name)?,
        })
    };
    Ok(ConfusablePair {
        first: student("first_id", "first_number", "first_name")?,
        second: student("second_id", "second_number", "second_name")?,
        kind: read_text(row, "confusable_pairs", "kind")?,
        noted_by: row.try_get("username")?,
        noted_at: row.try_get("noted_at")?,
    })
}
