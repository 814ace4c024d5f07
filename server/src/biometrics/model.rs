use bytes::Bytes;
use cavs_embedding::PackDigest;
use cavs_types::{EnrollmentGate, ErasureState, Quality, StudentId, TemplateId};
use jiff::Timestamp;
use uuid::Uuid;

/// What is known of a template beside the face itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateInfo {
    /// Ours.
    pub id: TemplateId,
    /// Whose face it is.
    pub student: StudentId,
    /// What made it.
    pub pack: PackDigest,
    /// How good the picture was.
    pub quality: Quality,
    /// When it was enrolled.
    pub created_at: Timestamp,
    /// How strictly the face was looked at, since that is noted.
    pub gate: Option<EnrollmentGate>,
    /// User name of whoever enrolled it, since that is noted.
    pub enrolled_by: Option<String>,
    /// Whether a picture is kept with it.
    pub has_portrait: bool,
}

/// The picture that a student is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portrait {
    /// Whose face it is.
    pub student: StudentId,
    /// As it was kept at enrollment.
    pub jpeg: Bytes,
}

/// The erasure of a student.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Its own id, for those who ask about it.
    pub id: Uuid,
    /// How far it is.
    pub state: ErasureState,
    /// Templates that were destroyed.
    pub templates: u64,
    /// Sightings whose probe or picture is gone.
    pub sightings: u64,
    /// When it was asked for, and everything was taken from the database's rows.
    pub requested_at: Timestamp,
    /// Since when nothing is left in the database's files.
    pub purged_at: Option<Timestamp>,
    /// What it waits for, in words; empty where it waits for nobody.
    pub waits_for: String,
}
