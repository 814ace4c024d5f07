//! `cavs enroll STUDENT --from-device DEVICE`

use std::{path::PathBuf, time::Duration};

use cavs_proto::{enum_to_wire, v1};
use cavs_types::{PhotoConsent, Verdict};
use jiff::SignedDuration;
use tokio::time::timeout;

use crate::{
    client::Api,
    commands::pairs::note_twins,
    config::Config,
    enrollment::EnrollmentTerms,
    error::CliError,
    files::write_new_private,
    lookup,
    printer::Printer,
    text::sanitised,
    view::{SightingView, StudentView, TemplateAdded},
};

/// What was seen so long before it arrived has lain in the device's spool: whoever it was has left.
const LATE: SignedDuration = SignedDuration::from_secs(30);

/// Who is to be enrolled from the next face of a device.
pub(super) struct NextFace {
    /// Number or id.
    pub(super) student: String,
    /// Name or id.
    pub(super) device: String,
    /// How long it is waited for.
    pub(super) wait: Duration,
    /// Where its picture is written to.
    pub(super) picture: Option<PathBuf>,
    /// Somebody has said already that it is the student's.
    pub(super) is_theirs: bool,
    /// Number or id of somebody who looks the same.
    pub(super) twin_of: Option<String>,
    pub(super) terms: EnrollmentTerms,
}

pub(super) async fn enroll(face: NextFace, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    let student = StudentView::from(lookup::student(&api, &face.student).await?);
    let label = format!("{} {}", student.number, student.name);
    if student.photo_consent != PhotoConsent::Given.as_str() {
        let message = format!(
            "{label}: the student's consent to photographs is not on record (cavs students update {} --photo-consent \
             given)",
            student.number
        );
        return Err(CliError::failure("PHOTO_CONSENT_MISSING", message));
    }
    let device = lookup::device(&api, &face.device).await?;
    if let Some(twin) = &face.twin_of {
        let twin = lookup::student(&api, twin).await?;
        note_twins(&api, student.id.clone(), twin.id).await?;
    }
    let said = format!("waiting for the next face that {} sees, for {} s", device.name, face.wait.as_secs());
    let waiting = next_sighting(&api, device.id, || printer.note(&said));
    let Ok(seen) = timeout(face.wait, waiting).await else {
        let message = format!("{} saw nobody in {} s", device.name, face.wait.as_secs());
        return Err(CliError::failure("NO_FACE_SEEN", message));
    };
    let seen = seen?;
    let id = seen.id.clone();
    show(&api, seen, face.picture, printer).await?;
    if !face.is_theirs {
        let warning = "the face is enrolled as theirs";
        printer.agree(&format!("Is this the face of {}?", sanitised(&label)), warning)?;
    }
    let request = v1::ReviewSightingRequest {
        sighting_id: id.clone(),
        verdict: enum_to_wire(Verdict::Approved),
        notes: "enrolled from the device".to_owned(),
        corrected_student_id: student.id,
        replace: false,
        whole_visit: false,
    };
    api.call(api.reviews().review_sighting(request)).await?;
    let EnrollmentTerms { accept_unlike, gate } = face.terms;
    let gate = gate.map(enum_to_wire).unwrap_or_default();
    let request = v1::EnrollFromSightingRequest { sighting_id: id, accept_unlike, gate };
    let verdict = api.call(api.enrollment().enroll_from_sighting(request)).await?.verdict;
    let verdict = verdict.ok_or_else(|| CliError::protocol("the server's answer has no verdict"))?;
    let added = TemplateAdded::from(verdict);
    printer.report(&added)?;
    if added.template_id.is_some() { Ok(()) } else { Err(CliError::Reported) }
}

/// The next sighting of a device that arrives as it is captured; `watching` is called once none is missed.
async fn next_sighting(
    api: &Api,
    device_id: String,
    watching: impl FnOnce(),
) -> Result<v1::Sighting, CliError> {
    let filter = v1::SightingFilter { device_id, ..v1::SightingFilter::default() };
    let request = v1::WatchSightingsRequest { filter: Some(filter), after_sighting_id: String::new() };
    let mut stream = api.call(api.sightings().watch_sightings(request)).await?;
    watching();
    while let Some(message) = stream.message().await.map_err(|status| api.status_error(&status))? {
        let fresh = message.sightings.into_iter().find(|sighting| {
            let view = SightingView::from(sighting.clone());
            view.captured_at
                .zip(view.received_at)
                .is_some_and(|(captured, received)| received.duration_since(captured) < LATE)
        });
        if let Some(sighting) = fresh {
            return Ok(sighting);
        }
    }
    Err(CliError::protocol("the server ended the watch"))
}

/// Says what was seen, so that somebody can say whether it is the student.
async fn show(
    api: &Api,
    seen: v1::Sighting,
    picture: Option<PathBuf>,
    printer: &Printer,
) -> Result<(), CliError> {
    let taken_for = seen.prediction.as_ref().and_then(|prediction| {
        let best = prediction.candidates.first()?;
        let student = best.student.as_ref()?;
        Some(format!("most like {} {} (similarity {:.2})", student.number, student.name, best.similarity))
    });
    let taken_for = taken_for.unwrap_or_else(|| "like nobody who is enrolled".to_owned());
    let quality = seen.quality.map(|quality| quality.unified_score).unwrap_or_default();
    let (id, has_evidence) = (seen.id.clone(), seen.has_evidence);
    let view = SightingView::from(seen);
    let at = view.captured_at.map(|time| time.to_string()).unwrap_or_default();
    printer.note(&format!("seen at {at} in {:?}: {taken_for}; quality {quality} of 100", view.classroom));
    let Some(path) = picture else { return Ok(()) };
    if !has_evidence {
        printer.note("no picture of the face was kept, as the site's evidence policy says");
        return Ok(());
    }
    let request = v1::GetReviewItemRequest { sighting_id: id };
    let item = api.call(api.reviews().get_review_item(request)).await?;
    write_new_private(&path, &item.evidence)?;
    printer.note(&format!("its picture is in {}", path.display()));
    Ok(())
}
