//! What is told of deliveries, read when they are sent: of who was erased since, nothing but that.

use std::collections::{BTreeMap, HashMap};

use cavs_types::{DeviceStatus, Mark, WebhookDeliveryId, WebhookEvent};
use deadpool_postgres::Object;
use serde::Deserialize;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Claimed, DueDelivery, WebhookStore};
use crate::{
    db::{DatabaseError, read_text},
    webhooks::{
        ClassSessionData, DeviceConnectionData, DeviceStatusData, EventData, EventMessage, MarkData,
        NamedData, PersonData, ReviewData, SightingData,
    },
};

/// Of a student `p`: what a person is told by.
const PERSON: &str = "p.id AS person_id, p.number AS person_number, p.name AS person_name,
    p.erased_at IS NOT NULL AS person_erased";

impl WebhookStore {
    /// The message of each delivery; none of what was deleted since.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`, `Damaged`.
    pub async fn messages(
        &self,
        of: &Claimed,
        due: &[DueDelivery],
    ) -> Result<HashMap<WebhookDeliveryId, EventMessage>, DatabaseError> {
        let client = self.db.client().await?;
        let mut messages = HashMap::with_capacity(due.len());
        for event in WebhookEvent::ALL.iter().copied() {
            let due: Vec<&DueDelivery> = due.iter().filter(|delivery| delivery.event == event).collect();
            if due.is_empty() {
                continue;
            }
            let told = match event {
                WebhookEvent::SightingRecorded => sightings(&client, of, &due).await?,
                WebhookEvent::ReviewRecorded => reviews(&client, of, &due).await?,
                WebhookEvent::DeviceStatusChanged | WebhookEvent::DeviceConnectionChanged => {
                    devices(&client, of, &due).await?
                }
                WebhookEvent::ClassSessionFinalised => sessions(&client, of, &due).await?,
                WebhookEvent::MarkFinalised | WebhookEvent::MarkChanged => marks(&client, of, &due).await?,
            };
            for delivery in due {
                let Some(data) = told.get(&delivery.id) else { continue };
                let message = EventMessage {
                    kind: event.as_str(),
                    timestamp: delivery.happened_at,
                    site_id: of.site,
                    data: data.clone(),
                };
                messages.insert(delivery.id, message);
            }
        }
        Ok(messages)
    }
}

type Told = HashMap<WebhookDeliveryId, EventData>;

fn subjects(due: &[&DueDelivery]) -> Vec<Uuid> {
    due.iter().map(|delivery| delivery.subject).collect()
}

/// Of each delivery, what was read of its subject.
fn by_subject(due: &[&DueDelivery], read: &HashMap<Uuid, EventData>) -> Told {
    due.iter().filter_map(|d| Some((d.id, read.get(&d.subject)?.clone()))).collect()
}

fn person(row: &Row, of: &Claimed) -> Result<Option<PersonData>, DatabaseError> {
    let Some(id) = row.try_get::<_, Option<Uuid>>("person_id")? else { return Ok(None) };
    let erased: bool = row.try_get("person_erased")?;
    let said = |text: String| (!erased).then_some(text);
    Ok(Some(PersonData {
        id: id.into(),
        number: said(row.try_get("person_number")?),
        name: if of.include_names { said(row.try_get("person_name")?) } else { None },
        erased,
    }))
}

fn named<I: From<Uuid>>(row: &Row, id: &str, name: &str) -> Result<NamedData<I>, DatabaseError> {
    Ok(NamedData { id: row.try_get::<_, Uuid>(id)?.into(), name: row.try_get(name)? })
}

async fn sightings(client: &Object, of: &Claimed, due: &[&DueDelivery]) -> Result<Told, DatabaseError> {
    let sql = format!(
        "SELECT s.id, s.device_id, d.name AS device_name, s.classroom, s.captured_at, s.received_at, s.decision,
             s.reason, {PERSON}
         FROM sightings s JOIN devices d ON d.site_id = s.site_id AND d.id = s.device_id
             LEFT JOIN students p ON p.site_id = s.site_id AND p.id = s.student_id
         WHERE s.site_id = $1 AND s.id = ANY($2)"
    );
    let statement = client.prepare_cached(&sql).await?;
    let mut read = HashMap::new();
    for row in client.query(&statement, &[&of.site.uuid(), &subjects(due)]).await? {
        let id: Uuid = row.try_get("id")?;
        let data = SightingData {
            id: id.into(),
            device: named(&row, "device_id", "device_name")?,
            classroom: row.try_get("classroom")?,
            capture_time: row.try_get("captured_at")?,
            receive_time: row.try_get("received_at")?,
            decision: read_text(&row, "sightings", "decision")?,
            reason: row.try_get("reason")?,
            student: person(&row, of)?,
        };
        read.insert(id, EventData::Sighting(data));
    }
    Ok(by_subject(due, &read))
}

async fn reviews(client: &Object, of: &Claimed, due: &[&DueDelivery]) -> Result<Told, DatabaseError> {
    let sql = format!(
        "SELECT r.id, r.sighting_id, r.number, r.verdict, r.reviewer_id, r.reviewed_at, {PERSON}
         FROM reviews r JOIN sightings s ON s.site_id = r.site_id AND s.id = r.sighting_id
             LEFT JOIN students p ON p.site_id = s.site_id AND p.id = s.student_id
         WHERE r.site_id = $1 AND r.id = ANY($2)"
    );
    let statement = client.prepare_cached(&sql).await?;
    let mut read = HashMap::new();
    for row in client.query(&statement, &[&of.site.uuid(), &subjects(due)]).await? {
        let id: Uuid = row.try_get("id")?;
        let data = ReviewData {
            id: id.into(),
            sighting_id: row.try_get::<_, Uuid>("sighting_id")?.into(),
            number: row.try_get("number")?,
            verdict: row.try_get("verdict")?,
            reviewer_id: row.try_get::<_, Uuid>("reviewer_id")?.into(),
            review_time: row.try_get("reviewed_at")?,
            student: person(&row, of)?,
        };
        read.insert(id, EventData::Review(data));
    }
    Ok(by_subject(due, &read))
}

/// What the outbox keeps of a device's status.
#[derive(Deserialize)]
struct StatusDetails {
    previous_status: DeviceStatus,
    status: DeviceStatus,
}

/// What the outbox keeps of a device's connection.
#[derive(Deserialize)]
struct ConnectionDetails {
    online: bool,
}

fn details<'a, T: Deserialize<'a>>(delivery: &'a DueDelivery) -> Result<T, DatabaseError> {
    let details = delivery.details.as_ref().unwrap_or(&serde_json::Value::Null);
    T::deserialize(details).map_err(|error| DatabaseError::Damaged {
        table: "webhook_deliveries",
        column: "details",
        value: error.to_string(),
    })
}

async fn devices(client: &Object, of: &Claimed, due: &[&DueDelivery]) -> Result<Told, DatabaseError> {
    let sql = "SELECT id, name, classroom, last_seen_at FROM devices WHERE site_id = $1 AND id = ANY($2)";
    let rows = client.query(sql, &[&of.site.uuid(), &subjects(due)]).await?;
    let mut found = HashMap::new();
    for row in &rows {
        found.insert(row.try_get::<_, Uuid>("id")?, row);
    }
    let mut told = Told::new();
    for delivery in due {
        let Some(row) = found.get(&delivery.subject) else { continue };
        let (device, classroom) = (named(row, "id", "name")?, row.try_get("classroom")?);
        let data = if delivery.event == WebhookEvent::DeviceStatusChanged {
            let StatusDetails { previous_status, status } = details(delivery)?;
            EventData::DeviceStatus(DeviceStatusData { device, classroom, previous_status, status })
        } else {
            let ConnectionDetails { online } = details(delivery)?;
            let last_seen_time = row.try_get("last_seen_at")?;
            EventData::DeviceConnection(DeviceConnectionData { device, classroom, online, last_seen_time })
        };
        told.insert(delivery.id, data);
    }
    Ok(told)
}

async fn sessions(client: &Object, of: &Claimed, due: &[&DueDelivery]) -> Result<Told, DatabaseError> {
    let sql = "SELECT c.id, c.name, c.group_id, g.name AS group_name, c.starts_at, c.ends_at
               FROM class_sessions c JOIN groups g ON g.site_id = c.site_id AND g.id = c.group_id
               WHERE c.site_id = $1 AND c.id = ANY($2)";
    let ids = subjects(due);
    let rows = client.query(sql, &[&of.site.uuid(), &ids]).await?;
    let sql = "SELECT session_id, mark, count(*) AS people FROM marks
               WHERE site_id = $1 AND session_id = ANY($2) AND is_listed GROUP BY session_id, mark";
    let mut counts: HashMap<Uuid, BTreeMap<&'static str, u64>> = HashMap::new();
    for row in client.query(sql, &[&of.site.uuid(), &ids]).await? {
        let mark: Mark = read_text(&row, "marks", "mark")?;
        let people: i64 = row.try_get("people")?;
        counts.entry(row.try_get("session_id")?).or_default().insert(mark.as_str(), people.unsigned_abs());
    }
    let mut read = HashMap::new();
    for row in &rows {
        let id: Uuid = row.try_get("id")?;
        let data = ClassSessionData {
            id: id.into(),
            name: row.try_get("name")?,
            group: named(row, "group_id", "group_name")?,
            start_time: row.try_get("starts_at")?,
            end_time: row.try_get("ends_at")?,
            marks: counts.remove(&id).unwrap_or_default(),
        };
        read.insert(id, EventData::ClassSession(data));
    }
    Ok(by_subject(due, &read))
}

async fn marks(client: &Object, of: &Claimed, due: &[&DueDelivery]) -> Result<Told, DatabaseError> {
    let sql = format!(
        "SELECT m.session_id, c.group_id, g.name AS group_name, c.starts_at, c.ends_at, m.mark, m.is_listed,
             m.number, m.changed_at, m.minutes_late, m.minutes_left_early, {PERSON}
         FROM unnest($2::uuid[], $3::uuid[]) AS wanted (session_id, student_id)
             JOIN marks m ON m.site_id = $1 AND m.session_id = wanted.session_id
                 AND m.student_id = wanted.student_id
             JOIN class_sessions c ON c.site_id = m.site_id AND c.id = m.session_id
             JOIN groups g ON g.site_id = c.site_id AND g.id = c.group_id
             JOIN students p ON p.site_id = m.site_id AND p.id = m.student_id"
    );
    let students: Vec<Option<Uuid>> = due.iter().map(|delivery| delivery.student).collect();
    let statement = client.prepare_cached(&sql).await?;
    let mut read = HashMap::new();
    for row in client.query(&statement, &[&of.site.uuid(), &subjects(due), &students]).await? {
        let session: Uuid = row.try_get("session_id")?;
        let Some(student) = person(&row, of)? else { continue };
        let key = (session, student.id.uuid());
        let data = MarkData {
            session_id: session.into(),
            group: named(&row, "group_id", "group_name")?,
            start_time: row.try_get("starts_at")?,
            end_time: row.try_get("ends_at")?,
            student,
            mark: read_text(&row, "marks", "mark")?,
            listed: row.try_get("is_listed")?,
            number: row.try_get("number")?,
            change_time: row.try_get("changed_at")?,
            minutes_late: row.try_get("minutes_late")?,
            minutes_left_early: row.try_get("minutes_left_early")?,
        };
        read.insert(key, EventData::Mark(data));
    }
    let of_delivery = |d: &&DueDelivery| Some((d.id, read.get(&(d.subject, d.student?))?.clone()));
    Ok(due.iter().filter_map(of_delivery).collect())
}
