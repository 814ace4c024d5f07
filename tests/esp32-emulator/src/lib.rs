//! Behaves as an ESP32-CAM does, well and badly, over every path that the proxy offers: gRPC, gRPC-Web over HTTP/1.1,
//! plain `POST`, and as a web server that the proxy pulls from. docs/ESP32.md describes the wire.
//!
//! [`Camera`] is an honest one, with the [`Manners`] of a slow radio, small buffers and a wrong clock where wanted;
//! [`WebCamera`] is pulled; [`flood`] sends mutated requests, and [`stall`] never finishes any.

mod camera;
mod film;
mod firmware;
mod hostile;
mod http1;
mod link;
mod manners;
mod path;
mod report;
mod serve;

pub use camera::Camera;
pub use film::{Film, FilmError, FilmOptions};
pub use firmware::{check_board_part, firmware_on_host};
pub use hostile::{Dice, Flood, FloodReport, STALLS, Stall, StallReport, flood, mutate, stall};
pub use link::{Target, TargetError, Tls};
pub use manners::Manners;
pub use path::Path;
pub use report::{Answer, Outcome, Report, percentile};
pub use serve::{Counts, WebCamera};
