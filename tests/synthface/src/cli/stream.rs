//! `synthface stream`

use std::net::{SocketAddr, TcpListener};

use anyhow::Context;
use synthface::output::MjpegServer;

use super::parse::{self, ClassroomArgs};
use super::progress::say;

/// Play a lesson as a network camera: MJPEG over HTTP, over and over.
///
/// / is the stream, /frame.jpg one picture, /truth.json who is in the newest one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    lesson: ClassroomArgs,
    /// Frames a second; fewer when rendering takes longer.
    #[arg(long, default_value = "2", value_parser = parse::rate)]
    fps: f64,
    /// Address to listen on; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let classroom = args.lesson.classroom()?;
    let listener =
        TcpListener::bind(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    let server = MjpegServer::start(listener, classroom, args.fps)?;
    say(&format!("streaming on http://{}/", server.address()))?;
    server.wait();
    Ok(())
}
