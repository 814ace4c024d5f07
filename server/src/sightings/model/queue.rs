use std::{fmt, str::FromStr};

use cavs_embedding::Similarity;
use cavs_types::{PredictionReason, ProtocolError, QueueOrder, SightingId, StudentId};

use super::{Sighting, SightingFilter, SightingPosition, sighting::text};
use crate::page::ListName;

/// Which sightings of the queue: all that is set must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueFilter {
    /// Of which sightings.
    pub sightings: SightingFilter,
    /// Pending for this reason.
    pub reason: Option<PredictionReason>,
    /// The best candidate is at least so similar.
    pub least_similarity: Option<f32>,
    /// The best candidate is less similar.
    pub similarity_below: Option<f32>,
    /// The predicted student is of this section.
    pub section: Option<String>,
    /// The predicted student.
    pub predicted: Option<StudentId>,
    /// Flagged by somebody, or looked at by nobody.
    pub flagged: Option<bool>,
    /// Claimed by, or assigned to.
    pub claimed: Option<ClaimedBy>,
}

/// Whose sightings of the queue are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimedBy {
    /// Anybody may decide them.
    Nobody,
    /// This person's alone, by user name.
    Reviewer(String),
}

/// A list of the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueRequest {
    /// Which sightings.
    pub filter: QueueFilter,
    /// Which first.
    pub order: QueueOrder,
    /// Of each visit the first sighting alone: those of one device with one predicted student, each no more than five
    /// minutes after the one before it.
    pub by_visit: bool,
}

impl QueueRequest {
    /// Every sighting of a filter.
    #[must_use]
    pub const fn each(filter: QueueFilter, order: QueueOrder) -> Self {
        Self { filter, order, by_visit: false }
    }

    /// The list that page tokens are of.
    #[must_use]
    pub fn list_name(&self) -> ListName {
        self.filter.list_name(self.order).with("by_visit", self.by_visit.then_some("visit"))
    }
}

impl QueueFilter {
    #[must_use]
    fn list_name(&self, order: QueueOrder) -> ListName {
        let Self {
            sightings,
            reason,
            least_similarity,
            similarity_below,
            section,
            predicted,
            flagged,
            claimed,
        } = self;
        let claimed = claimed.as_ref().map(|claimed| match claimed {
            ClaimedBy::Nobody => "nobody".to_owned(),
            ClaimedBy::Reviewer(name) => format!("by {name}"),
        });
        sightings
            .list_name("queue")
            .with("order", Some(order.as_str()))
            .with("reason", reason.map(PredictionReason::as_str))
            .with("least_similarity", text(least_similarity).as_deref())
            .with("similarity_below", text(similarity_below).as_deref())
            .with("section", section.as_deref())
            .with("predicted", text(predicted).as_deref())
            .with("flagged", text(flagged).as_deref())
            .with("claimed", claimed.as_deref())
    }
}

/// Where a sighting stands in the queue, in either order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum QueuePosition {
    /// The oldest first.
    Time(SightingPosition),
    /// The least certain first.
    Similarity {
        /// Of the best candidate; -1 where there is none.
        similarity: f32,
        /// Among those that are as certain.
        id: SightingId,
    },
}

impl QueuePosition {
    /// Of a sighting.
    #[must_use]
    pub fn of(sighting: &Sighting, order: QueueOrder) -> Self {
        match order {
            QueueOrder::OldestFirst => Self::Time(sighting.position()),
            QueueOrder::LeastCertainFirst => Self::Similarity {
                similarity: sighting.best_similarity.map_or(-1.0, Similarity::get),
                id: sighting.id,
            },
        }
    }
}

impl fmt::Display for QueuePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(position) => position.fmt(f),
            Self::Similarity { similarity, id } => write!(f, "similarity {similarity} {id}"),
        }
    }
}

impl FromStr for QueuePosition {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let Some(certainty) = text.strip_prefix("similarity ") else { return Ok(Self::Time(text.parse()?)) };
        let wrong = || ProtocolError::invalid("page_token", "is no position in the queue");
        let (similarity, id) = certainty.split_once(' ').ok_or_else(wrong)?;
        let similarity: f32 = similarity.parse().map_err(|_| wrong())?;
        if !(-1.0..=1.0).contains(&similarity) {
            return Err(wrong());
        }
        Ok(Self::Similarity { similarity, id: id.parse().map_err(|_| wrong())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_in_the_queue_read_what_they_write() {
        let id = SightingId::generate();
        let time = SightingPosition { listed_at: "2026-03-02T08:00:00Z".parse().unwrap(), id };
        for position in [
            QueuePosition::Time(time),
            QueuePosition::Similarity { similarity: 0.123_456_79, id },
            QueuePosition::Similarity { similarity: -1.0, id },
        ] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for wrong in ["", "similarity", "similarity 2 x", "similarity NaN x", "similarity 0.5 x"] {
            assert!(wrong.parse::<QueuePosition>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_filter_of_the_queue_makes_another_list() {
        use QueueOrder::{LeastCertainFirst, OldestFirst};
        let all = QueueFilter::default;
        let lists = [
            (all(), OldestFirst),
            (all(), LeastCertainFirst),
            (QueueFilter { reason: Some(PredictionReason::LowSimilarity), ..all() }, OldestFirst),
            (QueueFilter { least_similarity: Some(0.5), ..all() }, OldestFirst),
            (QueueFilter { similarity_below: Some(0.5), ..all() }, OldestFirst),
            (QueueFilter { section: Some("0.5".into()), ..all() }, OldestFirst),
            (QueueFilter { predicted: Some(StudentId::generate()), ..all() }, OldestFirst),
            (QueueFilter { flagged: Some(true), ..all() }, OldestFirst),
            (QueueFilter { flagged: Some(false), ..all() }, OldestFirst),
            (QueueFilter { claimed: Some(ClaimedBy::Nobody), ..all() }, OldestFirst),
            (QueueFilter { claimed: Some(ClaimedBy::Reviewer("nobody".into())), ..all() }, OldestFirst),
        ];
        let mut lists = lists.map(|(filter, order)| QueueRequest::each(filter, order)).to_vec();
        lists.push(QueueRequest { by_visit: true, ..lists[0].clone() });
        let request = |list: &QueueRequest, token: &str| {
            crate::page::PageRequest::<QueuePosition>::new(1, token, false, list.list_name())
        };
        let position = QueuePosition::Similarity { similarity: 0.5, id: SightingId::generate() };
        for (index, list) in lists.iter().enumerate() {
            let token = request(list, "").unwrap().page(vec![position; 2], |item| *item).next;
            for (other_index, other) in lists.iter().enumerate() {
                assert_eq!(request(other, &token).is_ok(), index == other_index, "{list:?} {other:?}");
            }
        }
    }
}
