//! The synthetic classroom: people who do not exist.
//!
//! A face product cannot ship photographs of people, and a test without faces proves nothing. So this
//! crate draws its own: parametric heads whose surface is a signed distance function, ray-marched under
//! plausible light, that face detectors and recognisers take for faces.

mod classroom;
mod head;
mod identity;
mod math;
mod names;
pub mod output;
mod render;
mod roster;
mod shade;
mod view;

pub use classroom::{Attendance, Classroom, Frame, PresentFace, Preset, Settings, SettingsError, Spoof};
pub use head::Material;
pub use identity::{
    Beard, BeardCut, Glasses, Hair, HairCut, Identity, LensShape, PARAMETERS, Parameter, Shape,
};
pub use math::Vec3;
pub use render::{FaceTruth, HeadMesh, Rendering, SIZES, render, render_head};
pub use roster::{MOST_PEOPLE, Roster, RosterError, RosterLine, Student};
pub use view::{Backdrop, Expression, Finish, Framing, Light, Outfit, OutfitKind, Pose, View};
