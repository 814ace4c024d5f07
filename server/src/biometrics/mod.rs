//! Faces, and the keys that seal them: the only room that names the tables of keys, templates, probes and
//! evidence, and that seals and opens.

mod keyring;
mod model;
mod seal;
mod service;
mod store;

pub use keyring::{KeyError, generate_key, load_key};
pub use model::TemplateInfo;
pub use seal::{KEY_LEN, Key, Owner, SealError};
pub use service::Keys;
pub use store::{
    BiometricStore, CHANGES, GALLERY_CHANGES, GalleryChange, NewTemplate, StoredTemplate, TemplateState,
};
pub(crate) use store::{ErasedFaces, erase_faces};
