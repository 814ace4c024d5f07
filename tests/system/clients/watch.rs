{
let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(std::fs::read(ca)?));
let channel = Endpoint::try_from(format!("https://{server}"))?.tls_config(tls)?.connect().await?;
let login = AuthServiceClient::new(channel.clone()).login(v1::LoginRequest { username, password }).await?;
let bearer: MetadataValue<_> = format!("Bearer {}", login.get_ref().access_token).parse()?;
let me = move |mut call: Request<()>| { call.metadata_mut().insert("authorization", bearer.clone()); Ok(call) };
let request = v1::WatchSightingsRequest { after_sighting_id: after, ..Default::default() };
let mut stream = SightingServiceClient::with_interceptor(channel, me).watch_sightings(request).await?.into_inner();
while let Some(message) = stream.message().await? {
    for s in message.sightings { println!("{} {} {}", s.id, s.device_name, s.student.map_or("?".to_owned(), |student| student.number)); }
}
Ok(())
}
