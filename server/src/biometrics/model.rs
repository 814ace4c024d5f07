use cavs_embedding::PackDigest;
use cavs_types::{Quality, StudentId, TemplateId};
use jiff::Timestamp;

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
}
