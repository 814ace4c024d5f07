//! Connections that say nothing shut nobody out, on any listener.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use cavs_tests::{
    ProxyOptions, Site, SiteOptions,
    flood::{Silent, channel, client_tls, greet, log_in, post, who_am_i},
};

/// Enough to take every handshake, and every place of an address.
const SILENT: usize = 300;
/// A call of somebody honest. A busy machine takes its time; somebody who is shut out takes longer.
const HONEST: Duration = Duration::from_secs(5);
/// Until when the last silent one is closed.
const CLOSED: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_closed_and_shut_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut site = Site::create(directory.path(), None, &SiteOptions::default());
    let (device, gateway) = (site.add_device("room"), site.add_device("gateway"));
    let camera = site.add_camera("door", &gateway);
    let proxy = site.start_proxy(&gateway, &ProxyOptions::default());
    let token = log_in(&site).await;
    let before = channel(&site, site.api_port(), None).await;
    who_am_i(&before, &token).await;
    let (memory, _) = site.server().memory();

    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let authority = site.path("certs/ca.pem");
    let (anybody, known) = (client_tls(&authority, None), client_tls(&authority, Some(&device)));
    let [api, devices] = [local(site.api_port()), local(site.device_port())];
    let mut floods = Vec::new();
    for (listener, tls) in [(api, &anybody), (devices, &known), (proxy.address, &anybody)] {
        for tls in [None, Some(tls)] {
            floods.push(Silent::open(listener, SILENT, tls));
            // Whoever is there already, and whoever comes now.
            let begun = Instant::now();
            who_am_i(&before, &token).await;
            who_am_i(&channel(&site, site.api_port(), None).await, &token).await;
            greet(&site, &device).await;
            assert_eq!(post(proxy.address, Some(&anybody), &camera.token), 400, "known, but no picture");
            let took = begun.elapsed();
            assert!(took < 4 * HONEST, "{took:?} beside silent connections");
        }
    }
    let grown = site.server().memory().0.saturating_sub(memory);
    assert!(grown <= 64 << 20, "{} MiB more", grown >> 20);
    let closed = floods.iter_mut().map(|flood| flood.wait_closed(CLOSED)).max();
    assert!(closed.is_some_and(|closed| closed <= CLOSED));
    // Who was at work before stays.
    who_am_i(&before, &token).await;
}
