//! People's verdicts on sightings.

use cavs_types::{StudentId, UserId};
use tokio_postgres::types::ToSql;

use super::{SightingStore, queries::read_one};
use crate::{
    db::DatabaseError,
    sightings::{NewReview, Sighting},
};

/// An approval or a rejection stands unless it is to be replaced, and nobody can approve where nobody is named.
const UPDATE: &str = "
    UPDATE sightings SET verdict = $2, reviewer_id = $3, reviewed_at = now(), review_notes = $4,
        corrected_student_id = $5
    WHERE id = $1 AND ($6 OR verdict IS NULL OR verdict = 'flagged')
        AND ($2 <> 'approved' OR $5::uuid IS NOT NULL OR decision <> 'unknown')";

impl SightingStore {
    /// Records a verdict: whether it was recorded, and the sighting as it is then, where there is one. The
    /// statements go out together, so that a reviewer waits for one answer of the database.
    ///
    /// # Errors
    /// `NotFound`: the corrected student.
    pub async fn review(
        &self,
        review: &NewReview,
        reviewer: UserId,
    ) -> Result<(bool, Option<Sighting>), DatabaseError> {
        let client = self.db.client().await?;
        let update = client.prepare_cached(UPDATE).await?;
        let (sighting, verdict, reviewer) =
            (review.sighting.uuid(), review.verdict.as_str(), reviewer.uuid());
        let corrected = review.corrected.map(StudentId::uuid);
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&sighting, &verdict, &reviewer, &review.notes, &corrected, &review.replace];
        // In this order on the connection: what is read is what the update has left.
        let (updated, read) =
            tokio::join!(client.execute(&update, &parameters), read_one(&client, review.sighting));
        Ok((updated? > 0, read?))
    }
}
