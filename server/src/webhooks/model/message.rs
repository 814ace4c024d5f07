//! What receivers are told. Names of fields are stable: programs depend on them; docs/WEBHOOKS.md shows each.

use cavs_types::{
    ClassSessionId, Decision, DeviceId, DeviceStatus, GroupId, Mark, ReviewId, SightingId, SiteId, StudentId,
    UserId,
};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The body of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventMessage {
    /// What has happened, as `sighting.recorded`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When it happened.
    pub timestamp: Timestamp,
    /// Where.
    pub site_id: SiteId,
    /// What is told of it.
    pub data: EventData,
}

/// What is told of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum EventData {
    /// `sighting.recorded`
    Sighting(SightingData),
    /// `review.recorded`
    Review(ReviewData),
    /// `device.status_changed`
    DeviceStatus(DeviceStatusData),
    /// `device.connection_changed`
    DeviceConnection(DeviceConnectionData),
    /// `class_session.finalised`
    ClassSession(ClassSessionData),
    /// `mark.finalised` and `mark.changed`
    Mark(MarkData),
    /// `webhook.test`
    Test(TestData),
}

/// Somebody who is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PersonData {
    /// Stays after an erasure, too.
    pub id: StudentId,
    /// `null` where they were erased.
    pub number: Option<String>,
    /// Only where the webhook is told names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether they were erased since.
    pub erased: bool,
}

/// A device, a room or a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedData<I> {
    /// UUID.
    pub id: I,
    /// As people call it.
    pub name: String,
}

/// What a device has seen, and who it was; nothing of the face.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SightingData {
    /// UUID.
    pub id: SightingId,
    /// What saw it.
    pub device: NamedData<DeviceId>,
    /// Where it was then; may be empty.
    pub classroom: String,
    /// When the face was captured, by the device's clock.
    pub capture_time: Timestamp,
    /// When the server was told.
    pub receive_time: Timestamp,
    /// What the machine has decided.
    pub decision: Decision,
    /// Why, as `MATCHED`.
    pub reason: String,
    /// Who it is, by what is known when this is sent; `null` where nobody knows, or it waits for a person.
    pub student: Option<PersonData>,
}

/// What a person has said of a sighting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReviewData {
    /// UUID.
    pub id: ReviewId,
    /// Of which.
    pub sighting_id: SightingId,
    /// Counts those of the sighting from 1: what comes late is known by it.
    pub number: i32,
    /// `approved`, `rejected`, `flagged`, or `withdrawn` for one that takes the one before back.
    pub verdict: String,
    /// Who has said it.
    pub reviewer_id: UserId,
    /// When.
    pub review_time: Timestamp,
    /// Who it is, by what is known when this is sent.
    pub student: Option<PersonData>,
}

/// What people have done with a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceStatusData {
    /// Which.
    pub device: NamedData<DeviceId>,
    /// Where it is; may be empty.
    pub classroom: String,
    /// Before.
    pub previous_status: DeviceStatus,
    /// Since.
    pub status: DeviceStatus,
}

/// Whether a device is heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceConnectionData {
    /// Which.
    pub device: NamedData<DeviceId>,
    /// Where it is; may be empty.
    pub classroom: String,
    /// Whether it is heard since then.
    pub online: bool,
    /// When it was heard last; `null` for never.
    pub last_seen_time: Option<Timestamp>,
}

/// A class session whose attendance is final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassSessionData {
    /// UUID.
    pub id: ClassSessionId,
    /// May be empty.
    pub name: String,
    /// Who was expected.
    pub group: NamedData<GroupId>,
    /// When it began.
    pub start_time: Timestamp,
    /// When it was over.
    pub end_time: Timestamp,
    /// How many have which mark.
    pub marks: FinalMarks,
}

/// How many people have which mark, as `present`; those that nobody has are left out.
pub type FinalMarks = BTreeMap<&'static str, u64>;

/// What a class session says of somebody. Not how it came to be known: by their face or by another way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MarkData {
    /// Of which.
    pub session_id: ClassSessionId,
    /// Who was expected.
    pub group: NamedData<GroupId>,
    /// When the session began.
    pub start_time: Timestamp,
    /// When it was over.
    pub end_time: Timestamp,
    /// Who.
    pub student: PersonData,
    /// As it is when this is sent.
    pub mark: Mark,
    /// Whether they are on the roster: a mark of somebody who was taken off it counts no more.
    pub listed: bool,
    /// Counts the changes of the mark from 1: what comes late is known by it.
    pub number: i32,
    /// When it became what it is.
    pub change_time: Timestamp,
    /// How late they came.
    pub minutes_late: i32,
    /// How early they left.
    pub minutes_left_early: i32,
}

/// Nothing has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestData {
    /// Which is tested.
    pub webhook_id: Uuid,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_who_was_erased_has_neither_number_nor_name() {
        let id = StudentId::from_uuid(Uuid::from_u128(7));
        let known = PersonData { id, number: Some("0042".into()), name: None, erased: false };
        let text = serde_json::to_string(&known).unwrap();
        assert_eq!(text, format!(r#"{{"id":"{id}","number":"0042","erased":false}}"#));
        let gone = PersonData { id, number: None, name: None, erased: true };
        assert_eq!(
            serde_json::to_string(&gone).unwrap(),
            format!(r#"{{"id":"{id}","number":null,"erased":true}}"#)
        );
    }
}
