//! Images on disk, and their way to the server.

mod archive;
mod images;
mod stream;

pub(crate) use archive::{Unpacked, is_archive, unpack};
pub(crate) use images::{
    Found, LeftOut, Photographs, StudentFolder, find_images, find_photographs, no_images, numbers_of,
};
pub(crate) use stream::{EnrollmentOutcome, EnrollmentTerms, enroll};
