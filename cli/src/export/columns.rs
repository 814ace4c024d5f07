//! What of a sighting is exported. Names and kinds are stable: programs depend on them.

use cavs_proto::{enum_from_wire, from_timestamp, v1};
use cavs_reports::{Cell, Kind};
use cavs_types::{ClockTrust, Decision, MatchScope, Verdict};
use jiff::Timestamp;

/// A column.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) value: fn(&v1::Sighting) -> Cell,
}

macro_rules! columns {
    ($($name:ident: $kind:ident = $value:expr;)*) => {
        /// All columns, in their order.
        pub(crate) const COLUMNS: &[Column] = &[$(
            Column { name: stringify!($name), kind: Kind::$kind, value: |sighting| Cell::$kind($value(sighting)) },
        )*];
    };
}

columns! {
    sighting_id: Text = |s: &v1::Sighting| text(&s.id);
    capture_time: Time = |s: &v1::Sighting| time(s.capture_time.as_ref());
    receive_time: Time = |s: &v1::Sighting| time(s.receive_time.as_ref());
    time_implausible: Flag = |s: &v1::Sighting| s.time_implausible;
    clock_trust: Text = |s: &v1::Sighting| text(ClockTrust::from(s.clock_trust()).as_str());
    device_id: Text = |s: &v1::Sighting| text(&s.device_id);
    device_name: Text = |s: &v1::Sighting| text(&s.device_name);
    classroom: Text = |s: &v1::Sighting| text(&s.classroom);
    student_id: Text = |s: &v1::Sighting| s.student.as_ref().and_then(|student| text(&student.id));
    student_number: Text = |s: &v1::Sighting| s.student.as_ref().and_then(|student| text(&student.number));
    student_name: Text = |s: &v1::Sighting| s.student.as_ref().and_then(|student| text(&student.name));
    decision: Text = |s: &v1::Sighting| {
        s.prediction.as_ref().and_then(|p| enum_from_wire::<Decision>("", p.decision).ok()).map(|d| d.as_str().to_owned())
    };
    reason: Text = |s: &v1::Sighting| s.prediction.as_ref().and_then(|p| text(&p.reason));
    similarity: Real = |s: &v1::Sighting| {
        s.prediction.as_ref().and_then(|p| p.candidates.first()).map(|best| real(best.similarity))
    };
    margin: Real = |s: &v1::Sighting| s.prediction.as_ref().and_then(|p| p.margin).map(real);
    threshold: Real = |s: &v1::Sighting| s.prediction.as_ref().map(|p| real(p.threshold));
    threshold_version: Integer = |s: &v1::Sighting| s.prediction.as_ref().map(|p| i64::from(p.threshold_version));
    scope: Text = |s: &v1::Sighting| {
        let scope = s.prediction.as_ref().map(|p| enum_from_wire::<MatchScope>("", p.scope));
        scope.and_then(Result::ok).map(|scope| scope.as_str().to_owned())
    };
    scope_templates: Integer = |s: &v1::Sighting| s.prediction.as_ref().and_then(|p| p.scope_templates).map(i64::from);
    pack_digest: Text = |s: &v1::Sighting| s.prediction.as_ref().and_then(|p| text(&p.pack_digest));
    verdict: Text = |s: &v1::Sighting| {
        s.review.as_ref().and_then(|r| enum_from_wire::<Verdict>("", r.verdict).ok()).map(|v| v.as_str().to_owned())
    };
    reviewer: Text = |s: &v1::Sighting| s.review.as_ref().and_then(|review| text(&review.reviewer));
    review_time: Time = |s: &v1::Sighting| s.review.as_ref().and_then(|review| time(review.review_time.as_ref()));
    review_notes: Text = |s: &v1::Sighting| s.review.as_ref().and_then(|review| text(&review.notes));
    quality: Integer = |s: &v1::Sighting| s.quality.as_ref().map(|quality| i64::from(quality.unified_score));
    liveness: Real = |s: &v1::Sighting| s.liveness.map(real);
    has_evidence: Flag = |s: &v1::Sighting| s.has_evidence;
    boot_epoch: Integer = |s: &v1::Sighting| i64::try_from(s.boot_epoch).ok();
    sequence: Integer = |s: &v1::Sighting| i64::try_from(s.sequence).ok();
    frame: Text = |s: &v1::Sighting| text(&s.frame);
}

/// Empty on the wire is none.
fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn time(time: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    from_timestamp("time", time).ok()
}

/// With no more digits than it has as a single.
fn real(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}
