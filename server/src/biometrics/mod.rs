//! Faces, and the keys that seal them: the only room that names the tables of keys, templates, probes and
//! evidence, and that seals and opens.

mod keyring;
mod model;
#[cfg(test)]
mod rotation_tests;
mod seal;
mod service;
mod store;

pub use keyring::{KeyError, Keyring};
pub use model::TemplateInfo;
pub use seal::{KEY_LEN, Key, KeyName, Owner, SealError};
pub use service::Keys;
pub use store::{
    BiometricStore, CHANGES, GALLERY_CHANGES, GalleryChange, KeyOf, NewDataKey, NewTemplate, StoredKey,
    StoredTemplate, TemplateState,
};
pub(crate) use store::{ErasedFaces, erase_faces, insert_key};
