//! Behaves as an ESP32-CAM does, well and badly, over every path that the proxy offers: gRPC, gRPC-Web over HTTP/1.1,
//! plain `POST`, and as a web server that the proxy pulls from. docs/ESP32.md describes the wire.
//!
//! [`Camera`] is an honest one, with the [`Behaviour`] of a slow radio, small buffers and a wrong clock where wanted;
//! [`WebCamera`] is pulled; [`flood`] sends mutated requests, and [`stall`] never finishes any.

mod behaviour;
mod camera;
mod firmware;
mod frames;
mod hostile;
mod http1;
mod path;
mod report;
mod serve;
mod target;

pub use behaviour::Behaviour;
pub use camera::Camera;
pub use firmware::{check_board_part, firmware_on_host};
pub use frames::{FrameLoop, FrameLoopError, FrameLoopOptions};
pub use hostile::{Flood, FloodReport, STALLS, SeededRandom, Stall, StallReport, flood, mutate, stall};
pub use path::Path;
pub use report::{Answer, Outcome, Report, percentile};
pub use serve::{Counts, WebCamera};
pub use target::{Target, TargetError, Tls};
