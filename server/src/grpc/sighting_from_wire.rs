use cavs_embedding::{PackDigest, UnitEmbedding};
use cavs_proto::{from_timestamp, v1};
use cavs_types::{ClockTrust, ProtocolError};
use jiff::Timestamp;

use super::{
    convert::{bounding_box_from_wire, optional_id},
    ingest::MAX_EVIDENCE,
};
use crate::{
    fleet::RunId,
    recognition::Probe,
    sightings::{CapturedSighting, Clock, EARLIEST, LATEST, SightingKey, Track},
    text::printable,
};

/// Why a sighting can never be accepted in this form.
#[derive(Debug)]
pub(super) struct Rejection {
    /// Stable.
    pub(super) reason: &'static str,
    /// What is wrong.
    pub(super) problem: ProtocolError,
}

impl From<ProtocolError> for Rejection {
    fn from(problem: ProtocolError) -> Self {
        Self { reason: "SIGHTING_INVALID", problem }
    }
}

/// Reads a sighting. Probes of the served pack must have its dimension.
pub(super) fn captured(
    wire: &v1::CapturedSighting,
    served: PackDigest,
    dimension: usize,
) -> Result<CapturedSighting, Rejection> {
    let pack: PackDigest =
        wire.pack_digest.parse().map_err(|error| ProtocolError::invalid("pack_digest", error))?;
    let captured_at = time("capture_time", wire.capture_time.as_ref())?;
    if wire.evidence.len() > MAX_EVIDENCE {
        let problem = format!("{} bytes, at most {MAX_EVIDENCE}", wire.evidence.len());
        return Err(Rejection {
            reason: "EVIDENCE_TOO_LARGE",
            problem: ProtocolError::invalid("evidence", problem),
        });
    }
    let run = match wire.run_id.is_empty() {
        true => None,
        false => Some(RunId::from_bytes(&wire.run_id).ok_or_else(|| {
            ProtocolError::invalid(
                "run_id",
                format_args!("{} bytes, not 16 that are not all 0", wire.run_id.len()),
            )
        })?),
    };
    Ok(CapturedSighting {
        run,
        key: SightingKey {
            boot_epoch: number("boot_epoch", wire.boot_epoch)?,
            sequence: number("sequence", wire.sequence)?,
        },
        captured_at,
        probe: Probe {
            embedding: embedding(&wire.embedding, (pack == served).then_some(dimension))?,
            pack,
            quality: wire.quality.ok_or(ProtocolError::Missing { field: "quality" })?.try_into()?,
            liveness: wire.liveness.map(|score| probability("liveness", score)).transpose()?,
        },
        bounding_box: bounding_box_from_wire(wire.bounding_box.as_ref())?,
        detection_score: probability("detection_score", wire.detection_score)?,
        evidence: wire.evidence.clone(),
        frame: printable(&wire.frame, 255),
        clock: clock(wire.clock.as_ref())?,
        track: wire.track.as_ref().map(track).transpose()?,
        camera: optional_id("camera_id", &wire.camera_id)?,
    })
}

fn time(field: &'static str, wire: Option<&prost_types::Timestamp>) -> Result<Timestamp, ProtocolError> {
    let time = from_timestamp(field, wire)?;
    if (EARLIEST..LATEST).contains(&time) {
        Ok(time)
    } else {
        Err(ProtocolError::invalid(field, "not between 1970 and 2200"))
    }
}

fn clock(wire: Option<&v1::CaptureClock>) -> Result<Clock, ProtocolError> {
    use v1::capture_clock::Trust;
    const FIELD: &str = "clock.trust";
    let Some(wire) = wire else { return Ok(Clock { trust: ClockTrust::Unknown, uncertainty_ms: None }) };
    let trust = match Trust::try_from(wire.trust) {
        Ok(Trust::Unspecified) => return Err(ProtocolError::Missing { field: FIELD }),
        Ok(trust) => trust.into(),
        Err(_) => {
            return Err(ProtocolError::invalid(FIELD, format_args!("{} is no known value", wire.trust)));
        }
    };
    Ok(Clock { trust, uncertainty_ms: wire.uncertainty_ms })
}

fn track(wire: &v1::SightingTrack) -> Result<Track, ProtocolError> {
    Ok(Track {
        id: number("track.id", wire.id)?,
        entered_at: time("track.enter_time", wire.enter_time.as_ref())?,
        last_seen_at: time("track.last_seen_time", wire.last_seen_time.as_ref())?,
        left: wire.left,
    })
}

fn embedding(bytes: &[u8], dimension: Option<usize>) -> Result<UnitEmbedding, Rejection> {
    let invalid = |problem: String| Rejection {
        reason: "EMBEDDING_INVALID",
        problem: ProtocolError::invalid("embedding", problem),
    };
    let embedding = UnitEmbedding::from_le_bytes(bytes).map_err(|error| invalid(error.to_string()))?;
    match dimension {
        Some(dimension) if embedding.dimension() != dimension => {
            Err(invalid(format!("{} components, the pack has {dimension}", embedding.dimension())))
        }
        _ => Ok(embedding),
    }
}

/// The database numbers in 63 bits.
fn number(field: &'static str, number: u64) -> Result<u64, ProtocolError> {
    if i64::try_from(number).is_ok() {
        Ok(number)
    } else {
        Err(ProtocolError::invalid(field, "at most 2^63 - 1"))
    }
}

fn probability(field: &'static str, value: f32) -> Result<f32, ProtocolError> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(ProtocolError::invalid(field, format_args!("{value} is not 0 to 1")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACK: PackDigest = PackDigest::from_bytes([1; 32]);

    fn good() -> v1::CapturedSighting {
        v1::CapturedSighting {
            capture_time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
            embedding: UnitEmbedding::new(vec![0.6, 0.8]).unwrap().to_le_bytes().into(),
            pack_digest: PACK.to_string(),
            bounding_box: Some(v1::BoundingBox { x: -1.0, y: 0.0, width: 9.0, height: 9.0 }),
            detection_score: 0.9,
            quality: Some(v1::FaceQuality::default()),
            frame: "a\0b".into(),
            ..Default::default()
        }
    }

    fn reason(change: impl FnOnce(&mut v1::CapturedSighting)) -> String {
        let mut wire = good();
        change(&mut wire);
        let rejection = captured(&wire, PACK, 2).unwrap_err();
        format!("{} {}", rejection.reason, rejection.problem)
    }

    #[test]
    fn a_strange_frame_name_costs_no_sighting() {
        assert_eq!(captured(&good(), PACK, 2).unwrap().frame, "a\u{fffd}b");
    }

    #[test]
    fn each_wrong_field_is_named() {
        let nan = [f32::NAN.to_le_bytes(), 1f32.to_le_bytes()].concat();
        assert_eq!(
            reason(|w| w.embedding = nan.into()),
            "EMBEDDING_INVALID embedding: component 0 is not a finite number"
        );
        let three = UnitEmbedding::normalize(vec![1.0; 3]).unwrap().to_le_bytes();
        assert_eq!(
            reason(|w| w.embedding = three.into()),
            "EMBEDDING_INVALID embedding: 3 components, the pack has 2"
        );
        assert_eq!(reason(|w| w.boot_epoch = u64::MAX), "SIGHTING_INVALID boot_epoch: at most 2^63 - 1");
        assert_eq!(
            reason(|w| w.detection_score = f32::NAN),
            "SIGHTING_INVALID detection_score: NaN is not 0 to 1"
        );
        assert_eq!(reason(|w| w.capture_time = None), "SIGHTING_INVALID capture_time: is required");
        assert!(reason(|w| w.run_id = vec![1; 15].into()).starts_with("SIGHTING_INVALID run_id: 15 bytes"));
        assert!(reason(|w| w.run_id = vec![0; 16].into()).starts_with("SIGHTING_INVALID run_id"));
        assert!(reason(|w| w.pack_digest = "x".into()).starts_with("SIGHTING_INVALID pack_digest"));
        assert!(reason(|w| w.evidence = vec![0; MAX_EVIDENCE + 1].into()).starts_with("EVIDENCE_TOO_LARGE"));
    }

    proptest! {
        #[test]
        fn no_numbers_panic(epoch: u64, seconds: i64, nanos: i32, x: f32, score: f32, quality: u32, embedding: Vec<u8>) {
            let mut wire = good();
            wire.boot_epoch = epoch;
            wire.capture_time = Some(prost_types::Timestamp { seconds, nanos });
            wire.bounding_box = Some(v1::BoundingBox { x, y: x, width: x, height: x });
            wire.detection_score = score;
            wire.quality = Some(v1::FaceQuality { sharpness: quality, ..Default::default() });
            wire.embedding = embedding.into();
            let _ = captured(&wire, PACK, 2);
        }
    }
}
