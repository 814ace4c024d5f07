//! Conversions that several services use.

use cavs_proto::{enum_from_wire, enum_to_wire, from_timestamp, to_timestamp, v1};
use cavs_types::{ErrorReason, ProtocolError, SightingId, StudentId};
use tonic::{Request, Status};
use v1::capture_clock::Trust;

use super::layer::{Account, Caller};

use crate::{
    page::{ListName, PageRequest, Total},
    people::StudentRef,
    sightings::{BoundingBox, Review, Sighting, SightingFilter},
    text::lookup_name,
};

/// Who is calling in which site, as the layer found out.
pub(super) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let found = request.extensions().get::<Caller>().copied();
    found.ok_or_else(|| cavs_proto::status(ErrorReason::Unauthenticated, "no user"))
}

/// Who is calling a method that is about no site, as the layer found out.
pub(super) fn account<T>(request: &Request<T>) -> Result<Account, Status> {
    let found = request.extensions().get::<Account>().cloned();
    found.ok_or_else(|| cavs_proto::status(ErrorReason::Unauthenticated, "no user"))
}

pub(super) fn page_request<K: std::str::FromStr + std::fmt::Display>(
    size: u32,
    token: &str,
    with_total: bool,
    list: ListName,
) -> Result<PageRequest<K>, Status> {
    PageRequest::new(size, token, with_total, list).map_err(|reason| {
        cavs_proto::status(reason, "page_token: not a token of this list with these filters")
    })
}

/// An id of the wire: empty is missing.
pub(super) fn required_id<I: std::str::FromStr<Err = cavs_types::IdError>>(
    field: &'static str,
    text: &str,
) -> Result<I, ProtocolError> {
    optional_id(field, text)?.ok_or(ProtocolError::Missing { field })
}

/// An id of the wire: empty is none.
pub(super) fn optional_id<I: std::str::FromStr<Err = cavs_types::IdError>>(
    field: &'static str,
    text: &str,
) -> Result<Option<I>, ProtocolError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| ProtocolError::invalid(field, error))
}

/// Which fields a change is of: those of the mask, or without one those that hold something. `fields` are all that
/// can be changed, and whether each holds something.
pub(super) fn masked(
    mask: Option<prost_types::FieldMask>,
    fields: &[(&'static str, bool)],
) -> Result<Vec<&'static str>, ProtocolError> {
    match mask {
        Some(mask) if !mask.paths.is_empty() => {
            let field = |path: &String| {
                let known = fields.iter().find(|(name, _)| name == path);
                known.map(|(name, _)| *name).ok_or_else(|| {
                    let shown: String = path.chars().take(64).collect();
                    ProtocolError::invalid("update_mask", format_args!("{shown:?} can't be changed"))
                })
            };
            mask.paths.iter().map(field).collect()
        }
        _ => Ok(fields.iter().filter(|(_, holds)| *holds).map(|(name, _)| *name).collect()),
    }
}

/// A name of the wire to look something up by: empty is none.
pub(super) fn optional_name(field: &'static str, text: &str) -> Result<Option<String>, ProtocolError> {
    if text.is_empty() { Ok(None) } else { lookup_name(field, text).map(Some) }
}

/// `total_size` and `total_size_exact`.
pub(super) fn total_to_wire(total: Option<Total>) -> (u64, bool) {
    total.map_or((0, false), |total| (total.items, total.exact))
}

pub(super) fn bounding_box_from_wire(found: Option<&v1::BoundingBox>) -> Result<BoundingBox, ProtocolError> {
    const FIELD: &str = "bounding_box";
    let v1::BoundingBox { x, y, width, height } = *found.ok_or(ProtocolError::Missing { field: FIELD })?;
    if ![x, y, width, height].into_iter().all(f32::is_finite) || width <= 0.0 || height <= 0.0 {
        return Err(ProtocolError::invalid(FIELD, "must be finite, with a positive width and height"));
    }
    Ok(BoundingBox { x, y, width, height })
}

fn bounding_box_to_wire(BoundingBox { x, y, width, height }: BoundingBox) -> v1::BoundingBox {
    v1::BoundingBox { x, y, width, height }
}

pub(super) fn filter_from_wire(filter: Option<&v1::SightingFilter>) -> Result<SightingFilter, ProtocolError> {
    let Some(filter) = filter else { return Ok(SightingFilter::default()) };
    let time =
        |field, timestamp: &Option<_>| timestamp.as_ref().map(|t| from_timestamp(field, Some(t))).transpose();
    Ok(SightingFilter {
        device: optional_id("filter.device_id", &filter.device_id)?,
        classroom: optional_name("filter.classroom", &filter.classroom)?,
        student: optional_id::<StudentId>("filter.student_id", &filter.student_id)?,
        decision: match filter.decision {
            0 => None,
            number => Some(enum_from_wire("filter.decision", number)?),
        },
        from: time("filter.start_time", &filter.start_time)?,
        until: time("filter.end_time", &filter.end_time)?,
    })
}

pub(super) fn student_ref(student: StudentRef) -> v1::StudentRef {
    v1::StudentRef { id: student.id.to_string(), number: student.number, name: student.name }
}

pub(super) fn sighting_id(text: &str) -> Result<SightingId, ProtocolError> {
    required_id("sighting_id", text)
}

impl From<Review> for v1::Review {
    fn from(review: Review) -> Self {
        Self {
            verdict: enum_to_wire(review.verdict),
            reviewer: review.reviewer,
            review_time: Some(to_timestamp(review.reviewed_at)),
            notes: review.notes,
            corrected_student: review.corrected.map(student_ref),
            withdrawal: review.withdrawal.map(|withdrawal| v1::Withdrawal {
                reviewer: withdrawal.reviewer,
                withdraw_time: Some(to_timestamp(withdrawal.withdrawn_at)),
                notes: withdrawal.notes,
            }),
        }
    }
}

impl From<Sighting> for v1::Sighting {
    fn from(sighting: Sighting) -> Self {
        let prediction = sighting.prediction;
        Self {
            id: sighting.id.to_string(),
            device_id: sighting.device.to_string(),
            device_name: sighting.device_name,
            classroom: sighting.classroom,
            boot_epoch: sighting.key.boot_epoch,
            sequence: sighting.key.sequence,
            capture_time: Some(to_timestamp(sighting.captured_at)),
            receive_time: Some(to_timestamp(sighting.received_at)),
            bounding_box: Some(bounding_box_to_wire(sighting.bounding_box)),
            detection_score: sighting.detection_score,
            quality: Some(sighting.quality.into()),
            liveness: sighting.liveness,
            frame: sighting.frame,
            prediction: Some(v1::Prediction {
                decision: enum_to_wire(prediction.decision),
                reason: prediction.reason.as_str().to_owned(),
                candidates: prediction
                    .candidates
                    .into_iter()
                    .map(|c| v1::Candidate {
                        student: Some(student_ref(c.student)),
                        similarity: c.similarity.get(),
                    })
                    .collect(),
                margin: prediction.margin,
                threshold: prediction.threshold,
                threshold_version: prediction.threshold_version,
                scope: enum_to_wire(prediction.scope),
                scope_templates: prediction.scope_templates,
                pack_digest: sighting.pack.to_string(),
            }),
            review: sighting.review.map(Into::into),
            reviews: sighting.reviews.into_iter().map(Into::into).collect(),
            student: sighting.student.map(student_ref),
            has_evidence: sighting.has_evidence,
            claim: sighting.claim.map(|claim| v1::ReviewClaim {
                reviewer: claim.reviewer,
                expire_time: claim.until.map(to_timestamp),
                assigned_by: claim.assigned_by.unwrap_or_default(),
            }),
            visit_size: sighting.visit_size,
            clock_trust: Trust::from(sighting.clock.trust).into(),
            clock_uncertainty_ms: sighting.clock.uncertainty_ms,
            track: sighting.track.map(|track| v1::TrackSpan {
                id: track.id,
                enter_time: Some(to_timestamp(track.entered_at)),
                last_seen_time: Some(to_timestamp(track.last_seen_at)),
                left: track.left,
            }),
            time_implausible: sighting.time_implausible,
        }
    }
}
