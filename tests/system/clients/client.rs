{
let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(std::fs::read(ca)?));
let channel = Endpoint::try_from(format!("https://{server}"))?.tls_config(tls)?.connect().await?;
let login = AuthServiceClient::new(channel.clone()).login(v1::LoginRequest { username, password }).await?;
let bearer: MetadataValue<_> = format!("Bearer {}", login.get_ref().access_token).parse()?;
let me = move |mut call: Request<()>| { call.metadata_mut().insert("authorization", bearer.clone()); Ok(call) };
let mut students = StudentServiceClient::with_interceptor(channel.clone(), me.clone());
for s in students.list_students(v1::ListStudentsRequest::default()).await?.into_inner().students { println!("{} {}", s.number, s.name); }
let get = |number: &str| v1::GetStudentRequest { key: Some(Key::Number(number.to_owned())) };
let id = students.get_student(get(&number)).await?.into_inner().student.unwrap_or_default().id;
let image = v1::EnrollmentImage { data: std::fs::read(&picture)?.into(), name: picture, ..Default::default() };
let messages = [Message::StudentId(id), Message::Image(image)].map(|message| v1::EnrollFromImagesRequest { message: Some(message) });
let mut verdicts = EnrollmentServiceClient::with_interceptor(channel, me).enroll_from_images(tokio_stream::iter(messages)).await?.into_inner();
while let Some(verdict) = verdicts.message().await? { println!("{}", if verdict.reason.is_empty() { "enrolled" } else { &verdict.reason }); }
if let Err(refused) = students.get_student(get("nobody")).await { println!("{}", error_reason(&refused).map_or("?", |reason| reason.as_str())); }
Ok(())
}
