use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use cavs_esp32_emulator::{
    Behaviour, Camera, Flood, FrameLoop, FrameLoopOptions, Path, Report, STALLS, Target, Tls, WebCamera,
    flood, stall,
};
use clap::{Args, Parser, Subcommand};
use jiff::{SignedDuration, Timestamp};
use tokio::{net::TcpListener, signal::ctrl_c, task::JoinSet};

/// Plays ESP32-CAMs to a proxy. Ends with 1 where a picture was lost, a request hung or was answered wrongly
#[derive(Debug, Parser)]
#[command(name = "esp32-emulator", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sends pictures, and prints a line of JSON for each answer and a summary
    Send(Send),
    /// Serves /stream and /capture, as the board's stock web server does, until interrupted
    Serve(Serve),
    /// Sends mutated requests
    Flood(FloodCommand),
    /// Opens connections that never finish a request
    Stall(StallCommand),
}

#[derive(Debug, Args)]
struct TargetArgs {
    /// Address and port of the proxy
    #[arg(long, value_name = "ADDRESS:PORT")]
    proxy: SocketAddr,
    /// Name in the proxy's certificate
    #[arg(long, default_value = "localhost")]
    host: String,
    /// The site's authority (PEM); without it, the connection is plain
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The camera's certificate (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key"])]
    certificate: Option<PathBuf>,
    /// The key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Id or name of the camera
    #[arg(long, default_value = "")]
    device: String,
    /// The camera's token
    #[arg(long, env = "CAVS_DEVICE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl TargetArgs {
    fn target(&self) -> anyhow::Result<Target> {
        let tls = self.ca.as_deref().map(Tls::trusting).transpose()?;
        let tls = match (tls, &self.certificate, &self.key) {
            (Some(tls), Some(certificate), Some(key)) => Some(tls.showing(certificate, key)?),
            (tls, _, _) => tls,
        };
        let (host, device_id, token) = (self.host.clone(), self.device.clone(), self.token.clone());
        Ok(Target { address: self.proxy, host, tls, device_id, token })
    }
}

#[derive(Debug, Args)]
struct FrameArgs {
    /// Seed of the people, as of `synthface roster`
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Students in the room
    #[arg(long, default_value_t = 4)]
    students: usize,
    /// Width and height of pictures
    #[arg(long, default_value = "800x600", value_parser = size)]
    size: [u32; 2],
    /// Different pictures
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pictures: u32,
}

impl FrameArgs {
    fn frame_loop(&self) -> anyhow::Result<FrameLoop> {
        let Self { seed, students, size, pictures } = *self;
        let options =
            FrameLoopOptions { seed, students, size, frames: pictures, ..FrameLoopOptions::default() };
        Ok(FrameLoop::render(&options)?)
    }
}

fn size(text: &str) -> Result<[u32; 2], String> {
    let (width, height) = text.split_once('x').ok_or("must be WIDTHxHEIGHT")?;
    let edge = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
    Ok([edge(width)?, edge(height)?])
}

#[derive(Debug, Args)]
struct BehaviourArgs {
    /// Pictures a second
    #[arg(long, default_value_t = 1.0, value_parser = rate)]
    fps: f64,
    /// Bytes a second that the radio carries
    #[arg(long, value_name = "BYTES")]
    rate: Option<u32>,
    /// Most bytes in a TCP segment
    #[arg(long, default_value_t = 1440)]
    segment: usize,
    /// Most bytes in a TLS record, from 32
    #[arg(long, value_name = "BYTES")]
    tls_record: Option<usize>,
    /// Send bodies in chunks
    #[arg(long)]
    chunked: bool,
    /// Seconds that the camera's clock is ahead
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    clock_error: i64,
    /// Say nothing about the time
    #[arg(long, conflicts_with = "clock_error")]
    no_clock: bool,
    /// Cut one picture in N off in the middle, and the connection with it
    #[arg(long, value_name = "N")]
    cut_one_in: Option<u32>,
    /// Send one picture in N without its second half
    #[arg(long, value_name = "N")]
    truncate_one_in: Option<u32>,
    /// Act as if one answer in N was lost
    #[arg(long, value_name = "N")]
    lose_answer_one_in: Option<u32>,
}

impl BehaviourArgs {
    fn to_behaviour(&self) -> Behaviour {
        Behaviour {
            interval: Duration::from_secs_f64(1.0 / self.fps),
            rate: self.rate,
            segment: self.segment,
            tls_record: self.tls_record,
            chunked: self.chunked,
            clock_error: (!self.no_clock).then(|| SignedDuration::from_secs(self.clock_error)),
            cut_one_in: self.cut_one_in,
            truncate_one_in: self.truncate_one_in,
            lose_answer_one_in: self.lose_answer_one_in,
            ..Behaviour::default()
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate| (0.01..=100.0).contains(rate)).ok_or_else(|| "must be 0.01 to 100".into())
}

#[derive(Debug, Args)]
struct Send {
    #[command(flatten)]
    to: TargetArgs,
    /// grpc, grpc-stream, grpc-web, post or form
    #[arg(long, default_value = "grpc-web")]
    path: Path,
    /// Pictures of each camera
    #[arg(long, default_value_t = 10)]
    count: u64,
    /// Cameras at a time, all of them this device
    #[arg(long, default_value_t = 1)]
    cameras: u64,
    #[command(flatten)]
    show: FrameArgs,
    #[command(flatten)]
    behaviour: BehaviourArgs,
}

#[derive(Debug, Args)]
struct Serve {
    /// Where to listen; the stock camera streams on port 81
    #[arg(long, default_value = "127.0.0.1:8181")]
    listen: SocketAddr,
    /// Mutate everything that is served, with this seed
    #[arg(long, value_name = "SEED")]
    mutate: Option<u64>,
    #[command(flatten)]
    show: FrameArgs,
    #[command(flatten)]
    behaviour: BehaviourArgs,
}

#[derive(Debug, Args)]
struct FloodCommand {
    #[command(flatten)]
    to: TargetArgs,
    /// grpc, grpc-web, post or form
    #[arg(long, default_value = "grpc-web")]
    path: Path,
    /// How many requests
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// The same seed makes the same mutations
    #[arg(long, default_value_t = 1)]
    mutation_seed: u64,
    /// Connections at a time
    #[arg(long, default_value_t = 8)]
    connections: u64,
    #[command(flatten)]
    show: FrameArgs,
}

#[derive(Debug, Args)]
struct StallCommand {
    #[command(flatten)]
    to: TargetArgs,
    /// How many connections, all kinds in turn
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// Seconds that the proxy has to close them
    #[arg(long, default_value_t = 15)]
    within: u64,
}

impl Cli {
    /// Whether everything went as it should.
    pub(crate) async fn run(self) -> anyhow::Result<bool> {
        match self.command {
            Command::Send(command) => command.run().await,
            Command::Serve(command) => command.run().await,
            Command::Flood(command) => command.run().await,
            Command::Stall(command) => command.run().await,
        }
    }
}

impl Send {
    async fn run(self) -> anyhow::Result<bool> {
        let (target, frame_loop, behaviour) =
            (self.to.target()?, self.show.frame_loop()?, self.behaviour.to_behaviour());
        let started = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        let mut cameras = JoinSet::new();
        for number in 0..self.cameras {
            let (target, frame_loop) = (target.clone(), frame_loop.clone());
            let camera = Camera { target, path: self.path, behaviour, frame_loop, boot: started + number };
            cameras.spawn(camera.run(self.count, |answer| {
                println!("{}", serde_json::to_string(answer).unwrap_or_default());
            }));
        }
        let mut report = Report::default();
        while let Some(camera) = cameras.join_next().await {
            report.add(camera.context("a camera failed")?);
        }
        println!("{report}");
        Ok(report.lost == 0 && report.damaged_and_matched() == 0)
    }
}

impl Serve {
    async fn run(self) -> anyhow::Result<bool> {
        let listener = TcpListener::bind(self.listen).await.with_context(|| self.listen.to_string())?;
        let camera =
            WebCamera::start(listener, self.show.frame_loop()?, self.behaviour.to_behaviour(), self.mutate)?;
        println!("http://{}/stream", camera.address());
        ctrl_c().await?;
        Ok(true)
    }
}

impl FloodCommand {
    async fn run(self) -> anyhow::Result<bool> {
        let frame_loop = self.show.frame_loop()?;
        let report = flood(Flood {
            target: self.to.target()?,
            path: self.path,
            images: (0..u64::from(self.show.pictures)).map(|number| frame_loop.frame(number)).collect(),
            count: self.count,
            seed: self.mutation_seed,
            connections: self.connections,
            patience: Duration::from_secs(20),
        })
        .await;
        println!("{report}");
        Ok(report.hangs == 0 && report.wrong == 0)
    }
}

impl StallCommand {
    async fn run(self) -> anyhow::Result<bool> {
        let patience = Duration::from_secs(self.within);
        let report = stall(&self.to.target()?, &STALLS, self.count, patience).await;
        println!("{report}");
        Ok(report.open == 0)
    }
}
