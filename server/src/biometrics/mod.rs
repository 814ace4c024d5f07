//! Faces, and the keys that seal them: the only room that names the tables of keys, templates, probes and
//! evidence, and that seals and opens.

mod keyring;
mod maintenance;
mod model;
mod policies;
mod retention;
#[cfg(test)]
mod rotation_tests;
mod seal;
mod service;
mod store;

pub use keyring::{KeyError, Keyring};
pub use maintenance::Maintenance;
pub use model::{Erasure, Portrait, TemplateInfo};
pub use policies::RetentionPolicies;
pub use retention::{
    Deleted, Kept, OwnPolicy, PolicyChange, RetentionPolicy, RetentionReport, RetentionRun, Standing,
    WAITING_DAYS,
};
pub use seal::{KEY_LEN, Key, KeyName, Owner, SealError};
pub use service::{Keys, RotationDue};
pub use store::{
    BiometricStore, CHANGES, GalleryChange, KeyOf, NewDataKey, NewTemplate, SealedFace, SealedPortrait,
    StoredKey, StoredTemplate, TemplateOutcome, TemplateSource, TemplateState,
};
pub(crate) use store::{
    ERASURE, IS_ENROLLED, TEMPLATE_COUNT, erase_faces, has_evidence, insert_student_keys, read_erasure,
    sightings_with_evidence, store_faces,
};
