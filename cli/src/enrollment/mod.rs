//! Images on disk, and their way to the server.

mod images;
mod stream;

pub(crate) use images::{Found, LeftOut, StudentFolder, find_folders, find_images, no_images};
pub(crate) use stream::{EnrollmentOutcome, enroll};
