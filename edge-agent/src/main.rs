//! `cavs-edge-agent`: parses, loads the configuration and calls the library.

use std::{
    convert::Infallible,
    ffi::OsString,
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::anyhow;
use cavs_certs::{Validity, examine};
use cavs_edge_agent::{
    agent::{self, StopCondition},
    analyze::{self, ImageList, ListError},
    backup,
    config::{Config, Override, VisionConfig},
    doctor, logging, proxy, spool,
    uplink::Endpoint,
    vision::{ComputeDevice, PHOTOGRAPH_PIXELS, PackVision},
};
use clap::{Args, Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The agent in the room: sees faces, keeps them safe, brings them to the server.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Watch a source and send what it shows to the server.
    Run(RunArgs),
    /// Take frames of cameras that run no networks, and speak for them.
    Proxy(ProxyArgs),
    /// Say what the networks see in image files, one JSON line each.
    Analyze(AnalyzeArgs),
    /// Try out everything that the agent needs, and say what to do about what fails.
    Doctor(DoctorArgs),
    /// Read back the pictures that [backup] has kept.
    Backup(BackupArgs),
}

#[derive(Args)]
struct ConfigArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "CAVS_AGENT_CONFIG")]
    config: PathBuf,
    /// A value that goes before environment and file; may be repeated.
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = Override::from_flag)]
    set: Vec<Override>,
}

#[derive(Args)]
struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// One JSON document for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct BackupArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// A folder to write the pictures into; without it, their names are listed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Check configuration, certificates and pack, and exit.
    #[arg(long)]
    check_config: bool,
    /// Exit when the source has ended and the server has acknowledged everything.
    #[arg(long)]
    until_drained: bool,
}

#[derive(Args)]
#[command(after_help = PROXY_HELP)]
struct ProxyArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Check configuration, certificates and pack, and exit.
    #[arg(long)]
    check_config: bool,
}

const PROXY_HELP: &str = "\
The section [proxy] of the configuration says where cameras send frames to (gRPC, gRPC-Web and \
POST /v1/capture, on one port) and which ones are asked for them. The server says which cameras \
this proxy may speak for:

  cavs devices add door-cam --kind esp32_cam --classroom B12
  cavs devices assign door-cam --proxy room-b12
  cavs devices token door-cam

docs/ESP32.md has all of it.";

#[derive(Args)]
struct AnalyzeArgs {
    /// Image files; `-` for a list of paths on standard input, one a line.
    #[arg(value_name = "IMAGE", required_unless_present = "files_from")]
    images: Vec<OsString>,
    /// A file with a path per line, after the others; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    files_from: Option<PathBuf>,
    /// Folder of the model pack; the built-in one without it.
    #[arg(long, value_name = "DIR")]
    pack: Option<PathBuf>,
    /// The form of the output.
    #[arg(long, value_enum, default_value = "jsonl")]
    output: Output,
    /// Include embeddings.
    #[arg(long)]
    embeddings: bool,
    /// The longer side to which an image is scaled for the detector, in pixels; without it, what the
    /// pack says.
    #[arg(long, value_name = "PIXELS")]
    detect_long_side: Option<u32>,
    /// Faces below this detector score are left out, 0 to 1.
    #[arg(long, value_name = "SCORE", default_value_t = 0.6)]
    min_score: f32,
    /// Threads that work on one image.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// One JSON object per image and line.
    Jsonl,
    /// The line for [vision] of the configuration that makes a camera's liveness scores comparable:
    /// the images must show live people only, at least 100 faces.
    LivenessCalibration,
}

/// How often certificates are looked at, so that nobody is surprised by their end.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(12 * 3600);

fn main() -> ExitCode {
    cavs_secrets::forbid_core_dumps();
    // Fails only where a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (result, on_error) = match Command::parse() {
        Command::Run(args) => (run(args), 1),
        Command::Proxy(args) => (run_proxy(args), 1),
        Command::Analyze(args) => (analyze(args), 2),
        Command::Doctor(args) => (doctor(args), 2),
        Command::Backup(args) => (read_backup(args), 1),
    };
    result.unwrap_or_else(|error| {
        // Not the chain: every error says its cause itself.
        let _ = writeln!(io::stderr(), "cavs-edge-agent: {error}");
        ExitCode::from(on_error)
    })
}

fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    let file = args.config.config.display();
    for warning in &config.warnings {
        // Before there is a log, and for --check-config, which has none.
        writeln!(io::stderr(), "{file}: warning: {warning}")?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _hang_ups = take_hang_ups(&runtime)?;
    if !args.check_config {
        config.server.check().map_err(|error| anyhow!("{file}: {error}"))?;
    }
    let vision =
        PackVision::load(&config.vision, config.evidence).map_err(|error| anyhow!("{file}: {error}"))?;
    if args.check_config {
        return report(&file, &runtime.block_on(doctor::check_files(&config)));
    }
    logging::init(&config.logging)?;
    let until = if args.until_drained { StopCondition::Drained } else { StopCondition::Shutdown };
    let shutdown = CancellationToken::new();
    let result = runtime.block_on(async {
        tokio::select! {
            summary = agent::run(&config, vision, until, shutdown.clone()) => summary.map_err(Into::into),
            error = signals(shutdown.clone()) => Err(error),
            never = warn_of_ends(&config.server) => match never {},
        }
    });
    // A thread that hangs in a system call must not keep the process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    let summary = result?;
    Ok(if summary.drained || until == StopCondition::Shutdown {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_proxy(ProxyArgs { config, check_config }: ProxyArgs) -> anyhow::Result<ExitCode> {
    let (file, config) = (config.config.clone(), config.load()?);
    let file = file.display();
    for warning in &config.warnings {
        writeln!(io::stderr(), "{file}: warning: {warning}")?;
    }
    let wrong = |error: &dyn std::fmt::Display| anyhow!("{file}: {error}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _hang_ups = take_hang_ups(&runtime)?;
    let workers = proxy::check(&config).map_err(|error| wrong(&error))?.intake.workers;
    let load = |_| PackVision::load(&config.vision, config.evidence).map_err(|error| wrong(&error));
    let visions = (0..workers).map(load).collect::<Result<Vec<_>, _>>()?;
    if check_config {
        return report(&file, &runtime.block_on(doctor::check_files(&config)));
    }
    logging::init(&config.logging)?;
    let shutdown = CancellationToken::new();
    let result = runtime.block_on(async {
        tokio::select! {
            done = proxy::run(&config, visions, shutdown.clone()) => done.map_err(Into::into),
            error = signals(shutdown.clone()) => Err(error),
            never = warn_of_ends(&config.server) => match never {},
        }
    });
    // A thread that hangs in a system call must not keep the process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result.map(|()| ExitCode::SUCCESS)
}

impl ConfigArgs {
    /// All that goes before the file, in increasing precedence.
    fn overrides(&self) -> Vec<Override> {
        Override::from_environment().into_iter().chain(self.set.clone()).collect()
    }

    fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(&self.config, &self.overrides())?)
    }
}

fn doctor(DoctorArgs { config, json }: DoctorArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let diagnosis = runtime.block_on(doctor::examine(&config.config, &config.overrides()));
    runtime.shutdown_timeout(Duration::from_secs(1));
    let text = if json { serde_json::to_string_pretty(&diagnosis)? } else { diagnosis.to_string() };
    writeln!(io::stdout(), "{}", text.trim_end())?;
    Ok(if diagnosis.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_backup(BackupArgs { config, out }: BackupArgs) -> anyhow::Result<ExitCode> {
    let config = config.load()?;
    let Some(backup) = &config.backup else {
        anyhow::bail!("backup.enabled is false; --set backup.enabled=true reads what was kept before");
    };
    let names = backup::names(&backup.path).map_err(|e| anyhow!("{}: {e}", backup.path.display()))?;
    let Some(out) = out else {
        names.iter().try_for_each(|name| writeln!(io::stdout(), "{name}"))?;
        return Ok(ExitCode::SUCCESS);
    };
    let seal = spool::existing_seal(&config.spool)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&out)?;
    let mut unreadable = 0;
    for name in &names {
        let Some(picture) = backup::read(&backup.path, name, &seal)? else {
            writeln!(io::stderr(), "{name}: damaged, or sealed with another key")?;
            unreadable += 1;
            continue;
        };
        let path = out.join(&picture.name);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let written = file.as_mut().map(|file| file.write_all(&picture.data));
        written.map_err(|e| anyhow!("{}: {e}", path.display()))??;
    }
    writeln!(io::stderr(), "{} of {} pictures were read back", names.len() - unreadable, names.len())?;
    Ok(if unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what is wrong with what a configuration names.
fn report(file: &impl std::fmt::Display, diagnosis: &doctor::Diagnosis) -> anyhow::Result<ExitCode> {
    write!(io::stdout(), "{diagnosis}")?;
    if !diagnosis.healthy {
        anyhow::bail!("{file}: not everything is as it should be");
    }
    writeln!(io::stdout(), "{file}: ok")?;
    Ok(ExitCode::SUCCESS)
}

/// A terminal that goes away ends nothing: from here on the signal does not end the process. Certificates are
/// read at every connection, so there is nothing to read again.
fn take_hang_ups(runtime: &tokio::runtime::Runtime) -> io::Result<tokio::signal::unix::Signal> {
    let _inside = runtime.enter();
    signal(SignalKind::hangup())
}

/// Warns in time of certificates that end, twice a day.
async fn warn_of_ends(endpoint: &Endpoint) -> Infallible {
    loop {
        let now = jiff::Timestamp::now();
        for examined in [&endpoint.certificate, &endpoint.ca].into_iter().flat_map(|path| examine(path)) {
            let problem = examined.in_words(now);
            match examined.validity(now) {
                Validity::Holds => {}
                Validity::EndsSoon => tracing::warn!(problem, "a certificate has to be renewed"),
                Validity::NotYet | Validity::Expired => {
                    tracing::error!(problem, "the server will not believe a certificate");
                }
            }
        }
        tokio::time::sleep(CERTIFICATE_CHECK).await;
    }
}

/// The first signal asks for an orderly end, the second one for an end.
async fn signals(shutdown: CancellationToken) -> anyhow::Error {
    let wait = async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        for _ in 0..2 {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            tracing::info!("stopping");
            shutdown.cancel();
        }
        anyhow::bail!("stopped by a second signal")
    };
    match wait.await {
        Ok(()) => anyhow!("the signals ended"),
        Err(error) => error,
    }
}

fn analyze(args: AnalyzeArgs) -> anyhow::Result<ExitCode> {
    let AnalyzeArgs { images, files_from, pack, output, embeddings, .. } = args;
    let (detect_long_side, min_score, threads) = (args.detect_long_side, args.min_score, args.threads);
    let config = VisionConfig {
        pack,
        detect_long_side,
        min_score,
        threads,
        device: ComputeDevice::Cpu,
        // Photographs, not a camera's frames: what the server takes at enrollment.
        max_pixels: PHOTOGRAPH_PIXELS,
        liveness_calibration: None,
    };
    let mut vision = PackVision::load(&config, None)?;
    let images = ImageList::new(images, files_from);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let result = match output {
        Output::Jsonl => analyze::run(&mut vision, images, embeddings, &mut out),
        Output::LivenessCalibration => analyze::calibrate(&mut vision, images, &mut out),
    };
    match result {
        Ok(tally) if tally.failed == 0 => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::FAILURE),
        // Whoever read the output has seen enough.
        Err(ListError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::FAILURE),
        Err(error) => Err(error.into()),
    }
}
