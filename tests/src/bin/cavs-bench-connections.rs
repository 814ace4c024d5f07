//! Measures what honest connections notice of silent ones: `scripts/bench-connections` builds everything
//! and runs this.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "this is what a benchmark does")]

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use cavs_tests::{
    Camera, Device, Process, Proxy, ProxyOptions, Site, SiteOptions,
    flood::{Silent, channel, client_tls, greet, log_in, p99, post, who_am_i},
};
use clap::Parser;
use rustls::ClientConfig;
use tokio::runtime::Runtime;
use tonic::transport::Channel;

/// Silent connections on each listener of server and proxy: one line per bar, `name figure bar ok|SHORT`;
/// ends with 1 if any is short
#[derive(Debug, Parser)]
#[command(name = "scripts/bench-connections")]
struct Arguments {
    /// Silent connections
    #[arg(long, default_value_t = 1100)]
    silent: usize,
    /// Honest connections and calls before and beside them
    #[arg(long, default_value_t = 500)]
    honest: usize,
    /// Rounds on each listener: medians of their ratios, and the worst of the rest
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
}

/// Where silent connections are opened, and what honest ones do there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listener {
    Api,
    Devices,
    Proxy,
    PlainProxy,
}

struct Bench {
    arguments: Arguments,
    runtime: Runtime,
    site: Site,
    device: Device,
    proxy: Proxy,
    plain: Proxy,
    camera: Camera,
    plain_camera: Camera,
    token: String,
    anybody: Arc<ClientConfig>,
    known: Arc<ClientConfig>,
    short: bool,
}

impl Bench {
    fn start(arguments: Arguments, directory: &std::path::Path) -> Self {
        let runtime = Runtime::new().unwrap();
        let site = Site::create(directory, None, &SiteOptions::default());
        let [device, gateway, other] = ["room", "gateway", "other"].map(|name| site.add_device(name));
        let camera = site.add_camera("door", &gateway);
        let plain_camera = site.add_camera("hall", &other);
        let toml = "camera_rate = 1000.0".to_owned();
        let proxy = site.start_proxy(&gateway, &ProxyOptions { plaintext: false, toml: toml.clone() });
        let plain = site.start_proxy(&other, &ProxyOptions { plaintext: true, toml });
        let token = runtime.block_on(log_in(&site));
        let authority = site.path("certs/ca.pem");
        let (anybody, known) = (client_tls(&authority, None), client_tls(&authority, Some(&device)));
        Self {
            arguments,
            runtime,
            site,
            device,
            proxy,
            plain,
            camera,
            plain_camera,
            token,
            anybody,
            known,
            short: false,
        }
    }

    fn bar(&mut self, name: &str, figure: u128, bar: u128) {
        let met = figure <= bar;
        self.short |= !met;
        println!("{name} {figure} {bar} {}", if met { "ok" } else { "SHORT" });
    }

    fn address(&self, listener: Listener) -> SocketAddr {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        match listener {
            Listener::Api => local(self.site.api_port()),
            Listener::Devices => local(self.site.device_port()),
            Listener::Proxy => self.proxy.address,
            Listener::PlainProxy => self.plain.address,
        }
    }

    fn process(&mut self, listener: Listener) -> &Process {
        match listener {
            Listener::Api | Listener::Devices => self.site.server(),
            Listener::Proxy => &self.proxy.process,
            Listener::PlainProxy => &self.plain.process,
        }
    }

    /// Somebody honest who comes now.
    fn connect(&self, listener: Listener) {
        match listener {
            Listener::Api => self.runtime.block_on(async {
                who_am_i(&channel(&self.site, self.site.api_port(), None).await, &self.token).await;
            }),
            Listener::Devices => self.runtime.block_on(greet(&self.site, &self.device)),
            Listener::Proxy => {
                assert_eq!(post(self.proxy.address, Some(&self.anybody), &self.camera.token), 400);
            }
            Listener::PlainProxy => assert_eq!(post(self.plain.address, None, &self.plain_camera.token), 400),
        }
    }

    /// The 99th percentile of new connections with their first call, and of calls on one that was there.
    fn honest(&self, listener: Listener, there: &Channel) -> [Duration; 2] {
        let measure = |work: &dyn Fn()| {
            let timed = (0..self.arguments.honest).map(|_| {
                let begun = Instant::now();
                work();
                begun.elapsed()
            });
            p99(timed.collect())
        };
        let connections = measure(&|| self.connect(listener));
        [connections, measure(&|| self.runtime.block_on(who_am_i(there, &self.token)))]
    }

    /// One flood of silent connections.
    fn round(&mut self, listener: Listener, tls: Option<&Arc<ClientConfig>>, name: &str) -> Round {
        let there = self.runtime.block_on(channel(&self.site, self.site.api_port(), None));
        // Once for nothing, so that everything is warm.
        self.honest(listener, &there);
        let before = self.honest(listener, &there);
        let process = self.process(listener);
        process.forget_peak();
        let (memory, _) = process.memory();
        let mut silent = Silent::open(self.address(listener), self.arguments.silent, tls);
        let during = self.honest(listener, &there);
        let open = silent.still_open();
        let closed = silent.wait_closed(Duration::from_secs(60));
        let peak = self.process(listener).memory().1;
        println!(
            "# {name}: before {before:?}, during {during:?}; {open} silent ones were open at the end of that"
        );
        let percent = |i: usize| during[i].as_micros() * 100 / before[i].as_micros().max(1);
        Round {
            percents: [percent(0), percent(1)],
            closed_ms: closed.as_millis(),
            memory_mib: u128::from(peak.saturating_sub(memory) >> 20),
        }
    }

    fn measure(&mut self, listener: Listener, tls: Option<&Arc<ClientConfig>>, name: &str) {
        let rounds: Vec<Round> =
            (0..self.arguments.rounds).map(|_| self.round(listener, tls, name)).collect();
        let sorted = |of: fn(&Round) -> u128| {
            let mut figures: Vec<u128> = rounds.iter().map(of).collect();
            figures.sort_unstable();
            figures
        };
        let median = |of| sorted(of)[rounds.len() / 2];
        let worst = |of| sorted(of)[rounds.len() - 1];
        self.bar(&format!("{name}-connections-p99-percent"), median(|r| r.percents[0]), 200);
        self.bar(&format!("{name}-calls-p99-percent"), median(|r| r.percents[1]), 200);
        self.bar(&format!("{name}-closed-ms"), worst(|r| r.closed_ms), 15_000);
        self.bar(&format!("{name}-memory-mib"), worst(|r| r.memory_mib), 64);
    }
}

/// What one flood showed.
struct Round {
    /// The 99th percentiles of connections and of calls, of what they were before.
    percents: [u128; 2],
    closed_ms: u128,
    memory_mib: u128,
}

fn main() -> ExitCode {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::start(Arguments::parse(), directory.path());
    let (anybody, known) = (Arc::clone(&bench.anybody), Arc::clone(&bench.known));
    for (listener, tls, name) in [
        (Listener::Api, None, "api-tcp"),
        (Listener::Api, Some(&anybody), "api-tls"),
        (Listener::Devices, None, "devices-tcp"),
        (Listener::Devices, Some(&known), "devices-tls"),
        (Listener::Proxy, None, "proxy-tcp"),
        (Listener::Proxy, Some(&anybody), "proxy-tls"),
        (Listener::PlainProxy, None, "proxy-plain"),
    ] {
        bench.measure(listener, tls, name);
    }
    if bench.short { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
