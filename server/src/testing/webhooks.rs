//! Webhooks against a real database and a receiver on this machine: what is committed is told, once noticed under one id,
//! by one server at a time, until it is taken.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use cavs_types::{DeliveryState, ErrorReason, Mark, Verdict, WebhookEvent, WebhookId};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{MAIN, TestDatabase, attendance::Lesson, faces::verdict};
use crate::{
    biometrics::BiometricStore,
    page::{ListName, PageRequest},
    services::Services,
    webhooks::{
        Claimed, Delivery, NewWebhook, ReceiverPolicy, SigningSecret, WebhookChange, WebhookStore, WebhookUrl,
    },
};

const POLICY: ReceiverPolicy = ReceiverPolicy { private_addresses: true, plain_http: false };
const LEASE: Duration = Duration::from_secs(30);

/// What a receiver was sent.
#[derive(Debug, Clone)]
struct Heard {
    id: String,
    timestamp: i64,
    signatures: String,
    body: Vec<u8>,
}

impl Heard {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A receiver that answers what it is told to.
struct Receiver {
    url: WebhookUrl,
    answers: Arc<Answers>,
}

/// What a receiver answers, and what it has heard.
struct Answers {
    status: AtomicU16,
    /// Which it answers 400; empty for none.
    refused: Mutex<&'static str>,
    /// Whoever holds it has answers wait.
    held: tokio::sync::Mutex<()>,
    heard: Mutex<Vec<Heard>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://127.0.0.1:{}/hook", listener.local_addr().unwrap().port());
        let answers = Arc::new(Answers {
            status: AtomicU16::new(200),
            refused: Mutex::default(),
            held: tokio::sync::Mutex::default(),
            heard: Mutex::default(),
        });
        let of_all = Arc::clone(&answers);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answers = Arc::clone(&of_all);
                tokio::spawn(async move { receive(stream, &answers).await });
            }
        });
        Self { url: WebhookUrl::new("url", &url, POLICY).unwrap(), answers }
    }

    fn answers(&self, status: u16) {
        self.answers.status.store(status, Ordering::SeqCst);
    }

    fn refuses(&self, event: WebhookEvent) {
        *self.answers.refused.lock().unwrap() = event.as_str();
    }

    fn count(&self) -> usize {
        self.answers.heard.lock().unwrap().len()
    }

    fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.answers.heard.lock().unwrap())
    }
}

async fn receive(mut stream: TcpStream, answers: &Answers) {
    let mut text = Vec::new();
    let head = loop {
        assert!(stream.read_buf(&mut text).await.unwrap() > 0);
        if let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let headers = String::from_utf8(text[..head].to_vec()).unwrap();
    let header = |name: &str| {
        let line = headers.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:"))).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    let length: usize = header("content-length").parse().unwrap();
    while text.len() < head + length {
        assert!(stream.read_buf(&mut text).await.unwrap() > 0);
    }
    let heard = Heard {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp").parse().unwrap(),
        signatures: header("webhook-signature"),
        body: text[head..].to_vec(),
    };
    let is_refused = heard.json()["type"] == *answers.refused.lock().unwrap();
    let status = if is_refused { 400 } else { answers.status.load(Ordering::SeqCst) };
    // Whoever has its answer finds it heard.
    answers.heard.lock().unwrap().push(heard);
    drop(answers.held.lock().await);
    let answer = format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

fn new(receiver: &Receiver, events: &[WebhookEvent]) -> NewWebhook {
    NewWebhook {
        url: receiver.url.clone(),
        description: "a test".into(),
        events: NewWebhook::events(events.to_vec()),
        include_names: false,
    }
}

async fn add(app: &Services, new: &NewWebhook) -> (WebhookId, SigningSecret) {
    let (webhook, secret) = app.webhooks.create(MAIN, new).await.unwrap();
    (webhook.id, secret)
}

async fn note(store: &WebhookStore) {
    while store.note_events(200).await.unwrap() {}
}

async fn claim(store: &WebhookStore) -> Option<Claimed> {
    store.claim(Uuid::new_v4(), LEASE, 16).await.unwrap().pop()
}

/// A round of whatever is due, as a server makes it; whether there was one.
async fn round(app: &Services, store: &WebhookStore) -> bool {
    note(store).await;
    let Some(claimed) = claim(store).await else { return false };
    app.deliverer.round(&claimed, &CancellationToken::new()).await.unwrap();
    true
}

async fn deliveries(app: &Services, id: WebhookId) -> Vec<Delivery> {
    let page = PageRequest::new(1000, "", false, ListName::new("x")).unwrap();
    app.webhooks.deliveries(MAIN, id, None, &page).await.unwrap().items
}

fn states(deliveries: &[Delivery]) -> Vec<DeliveryState> {
    deliveries.iter().map(|delivery| delivery.state).collect()
}

/// As if time had passed.
async fn wake(lesson: &Lesson) {
    let sql = "UPDATE webhooks SET rests_until = NULL; UPDATE webhook_deliveries SET due_at = now()";
    lesson.owner.batch_execute(sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_once_and_signed() {
    let lesson = Lesson::start().await;
    let (app, store) = (&lesson.app, WebhookStore::new(&lesson.database.store));
    // Before anybody wants to hear of it, nothing is noted.
    lesson.see(1, 0, &[5]).await;
    let noted = "SELECT count(*) FROM webhook_outbox";
    assert_eq!(lesson.owner.query_one(noted, &[]).await.unwrap().get::<_, i64>(0), 0);

    let receiver = Receiver::start().await;
    let (id, secret) = add(app, &new(&receiver, &[])).await;
    lesson.see(2, 0, &[6, 7, 8]).await;
    lesson.see(5, 7, &[9]).await;
    // A row of the outbox a batch, whatever the number of webhooks and sightings.
    assert_eq!(lesson.owner.query_one(noted, &[]).await.unwrap().get::<_, i64>(0), 2);
    let of_stranger = lesson.sighting(5).await;
    let said = verdict(of_stranger, Verdict::Approved, Some(lesson.students[1]));
    app.reviews.review(MAIN, &said, lesson.teacher).await.unwrap();
    let set = "UPDATE devices SET status = 'maintenance'";
    lesson.owner.batch_execute(set).await.unwrap();
    // Two servers make deliveries of it side by side: each is made once.
    let (one, other) = (store.clone(), WebhookStore::new(&lesson.database.store));
    tokio::join!(note(&one), note(&other));
    assert_eq!(deliveries(app, id).await.len(), 6);
    while round(app, &store).await {}

    let heard = receiver.take();
    assert_eq!(heard.len(), 6);
    let ids: BTreeSet<&str> = heard.iter().map(|heard| heard.id.as_str()).collect();
    let listed = deliveries(app, id).await;
    let known: BTreeSet<String> = listed.iter().map(|delivery| delivery.id.to_string()).collect();
    assert_eq!(ids, known.iter().map(String::as_str).collect());
    assert_eq!(states(&listed), [DeliveryState::Delivered; 6]);
    for heard in &heard {
        assert_eq!(heard.signatures, secret.sign(&heard.id, heard.timestamp, &heard.body));
    }
    let told = |kind: &str| -> Vec<Value> {
        let of_kind = heard.iter().map(Heard::json).filter(|told| told["type"] == kind);
        of_kind.map(|mut told| told["data"].take()).collect()
    };
    let sightings = told("sighting.recorded");
    assert_eq!(sightings.len(), 4);
    let first = sightings.iter().find(|told| told["decision"] == "accepted").unwrap();
    assert_eq!(
        first["student"],
        json!({"id": lesson.students[0], "number": "1", "erased": false}),
        "no name without leave"
    );
    assert_eq!((&first["device"]["name"], &first["classroom"]), (&"door".into(), &"R1".into()));
    let review = told("review.recorded").remove(0);
    assert_eq!(
        (&review["verdict"], &review["number"], &review["student"]["number"]),
        (&"approved".into(), &1.into(), &"2".into())
    );
    let device = told("device.status_changed").remove(0);
    assert_eq!((&device["previous_status"], &device["status"]), (&"active".into(), &"maintenance".into()));
    let whole: String = heard.iter().map(|heard| String::from_utf8_lossy(&heard.body).into_owned()).collect();
    for hidden in ["similarity", "embedding", "candidates", "bounding_box", "quality"] {
        assert!(!whole.contains(hidden), "{hidden}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn final_marks_are_told_and_later_words_on_them() {
    let lesson = Lesson::start().await;
    let (app, store) = (&lesson.app, WebhookStore::new(&lesson.database.store));
    let receiver = Receiver::start().await;
    let of_marks =
        [WebhookEvent::ClassSessionFinalised, WebhookEvent::MarkFinalised, WebhookEvent::MarkChanged];
    let id = add(app, &NewWebhook { include_names: true, ..new(&receiver, &of_marks) }).await.0;
    lesson.see(1, 0, &[1, 2, 30, 55]).await;
    lesson.deliver().await;
    lesson.keep().await;
    note(&store).await;
    assert!(deliveries(app, id).await.is_empty(), "what is not final is told to nobody");
    assert!(app.sheets.finalise(MAIN, lesson.session, lesson.teacher).await.is_ok());
    lesson.keep().await;
    while round(app, &store).await {}
    let heard: Vec<Value> = receiver.take().iter().map(Heard::json).collect();
    let session = heard.iter().find(|told| told["type"] == "class_session.finalised").unwrap();
    assert_eq!(
        (&session["data"]["group"]["name"], &session["data"]["marks"]),
        (&"7B".into(), &json!({"present": 1, "absent": 2}))
    );
    let mut marks: Vec<(String, String)> = heard
        .iter()
        .filter(|told| told["type"] == "mark.finalised")
        .map(|told| (told["data"]["student"]["name"].to_string(), told["data"]["mark"].to_string()))
        .collect();
    marks.sort();
    let expected = [("\"1\"", "\"present\""), ("\"2\"", "\"absent\""), ("\"3\"", "\"absent\"")];
    assert_eq!(marks, expected.map(|(name, mark)| (name.to_owned(), mark.to_owned())));
    assert_eq!(heard.len(), 4);

    lesson.correct(1, Mark::Present).await;
    lesson.keep().await;
    // Erased before it is told: neither number nor name, and the mark stays.
    app.students.erase(MAIN, lesson.students[1], lesson.teacher).await.unwrap();
    while round(app, &store).await {}
    let heard: Vec<Value> = receiver.take().iter().map(Heard::json).collect();
    assert_eq!(heard.len(), 1, "{heard:#?}");
    assert_eq!((&heard[0]["type"], &heard[0]["data"]["mark"]), (&"mark.changed".into(), &"present".into()));
    let nobody = json!({"id": lesson.students[1], "number": null, "erased": true});
    assert_eq!(heard[0]["data"]["student"], nobody);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_away_is_told_everything_under_the_same_ids() {
    let lesson = Lesson::start().await;
    let (app, store) = (&lesson.app, WebhookStore::new(&lesson.database.store));
    let receiver = Receiver::start().await;
    let (id, _) = add(app, &new(&receiver, &[WebhookEvent::SightingRecorded])).await;
    receiver.answers(503);
    lesson.see(1, 0, &(0..40).collect::<Vec<_>>()).await;
    assert!(round(app, &store).await);
    let first: BTreeSet<String> = receiver.take().into_iter().map(|heard| heard.id).collect();
    assert!((1..=8).contains(&first.len()), "whoever is away is not asked for all of it: {}", first.len());
    let shown = app.webhooks.get(MAIN, id).await.unwrap();
    assert_eq!((shown.health.pending, shown.health.last_error.as_str()), (40, "answered 503"));
    assert!(shown.health.failing_since.is_some() && shown.health.rests_until.is_some());
    // It rests; then it is asked for one at a time.
    assert!(!round(app, &store).await);
    for _ in 0..4 {
        let rested = "UPDATE webhooks SET rests_until = NULL";
        lesson.owner.batch_execute(rested).await.unwrap();
        assert!(round(app, &store).await);
        assert_eq!(receiver.take().len(), 1);
    }
    // Back again: all of it at once, also what was tried in vain.
    receiver.answers(204);
    lesson.owner.batch_execute("UPDATE webhooks SET rests_until = NULL").await.unwrap();
    while round(app, &store).await {}
    let heard: BTreeSet<String> = receiver.take().into_iter().map(|heard| heard.id).collect();
    assert_eq!(heard.len(), 40);
    assert!(first.is_subset(&heard));
    let listed = deliveries(app, id).await;
    assert_eq!(states(&listed), [DeliveryState::Delivered; 40]);
    let health = app.webhooks.get(MAIN, id).await.unwrap().health;
    assert!(health.failing_since.is_none() && health.rests_until.is_none() && health.pending == 0);

    // Again, as somebody asks for it.
    let one = listed[0].id;
    assert_eq!(app.webhooks.redeliver(MAIN, id, &[one]).await.unwrap(), 1);
    assert!(round(app, &store).await);
    assert_eq!(receiver.take()[0].id, one.to_string());
    let unknown = app.webhooks.redeliver(MAIN, id, &[one, Uuid::new_v4().into()]).await.unwrap_err();
    assert_eq!(unknown.reason(), ErrorReason::DeliveryNotFound);
    assert!(!round(app, &store).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_at_a_time_sends_and_another_goes_on_for_one_that_is_gone() {
    let lesson = Lesson::start().await;
    let (app, store) = (&lesson.app, WebhookStore::new(&lesson.database.store));
    let receiver = Receiver::start().await;
    let (id, _) = add(app, &new(&receiver, &[WebhookEvent::SightingRecorded])).await;
    lesson.see(1, 0, &[1, 2, 3]).await;
    note(&store).await;
    let (one, other) = tokio::join!(claim(&store), claim(&store));
    let held = one.or(other).unwrap();
    assert!(claim(&store).await.is_none(), "two servers send");
    // It has sent, and is gone before it notes it.
    let due = store.due(&held, 64, 64).await.unwrap();
    assert_eq!(due.len(), 3);
    let expired = "UPDATE webhooks SET leased_until = now() - interval '1 second'";
    lesson.owner.batch_execute(expired).await.unwrap();
    assert!(round(app, &store).await);
    let heard: BTreeSet<String> = receiver.take().into_iter().map(|heard| heard.id).collect();
    assert_eq!(heard, due.iter().map(|delivery| delivery.id.to_string()).collect());
    // It comes back after all, late: what is settled stays so.
    app.deliverer.round(&held, &CancellationToken::new()).await.unwrap();
    assert!(receiver.take().is_empty());
    assert_eq!(states(&deliveries(app, id).await), [DeliveryState::Delivered; 3]);

    // What an address answers after the webhook has another one says nothing of that.
    lesson.see(4, 0, &[4]).await;
    note(&store).await;
    let held = claim(&store).await.unwrap();
    let elsewhere = WebhookChange { url: Some(receiver.url.clone()), ..WebhookChange::default() };
    app.webhooks.update(MAIN, id, None, &elsewhere).await.unwrap();
    receiver.answers(410);
    app.deliverer.round(&held, &CancellationToken::new()).await.unwrap();
    assert_eq!(receiver.take().len(), 1);
    let shown = app.webhooks.get(MAIN, id).await.unwrap();
    assert!(shown.is_active && shown.health.failing_since.is_none());

    // Of one site a few at a time; what this server can't read rests, and says so.
    for _ in 0..5 {
        add(app, &new(&receiver, &[WebhookEvent::SightingRecorded])).await;
    }
    lesson.see(5, 0, &[5]).await;
    note(&store).await;
    let some = store.claim(Uuid::new_v4(), LEASE, 16).await.unwrap();
    let others = store.claim(Uuid::new_v4(), LEASE, 16).await.unwrap();
    assert_eq!((some.len(), others.len()), (4, 2));
    store.let_go(&some[0]).await.unwrap();
    assert!(claim(&store).await.is_none());
    let health = app.webhooks.get(MAIN, some[0].id).await.unwrap().health;
    assert!(health.rests_until.is_some() && health.last_error.contains("could not read"), "{health:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_is_refused_keeps_no_other_waiting() {
    let lesson = Lesson::start().await;
    let (app, store) = (&lesson.app, WebhookStore::new(&lesson.database.store));
    let receiver = Receiver::start().await;
    let both = [WebhookEvent::SightingRecorded, WebhookEvent::DeviceStatusChanged];
    let (id, _) = add(app, &new(&receiver, &both)).await;
    receiver.refuses(WebhookEvent::SightingRecorded);
    lesson.see(1, 0, &(0..30).collect::<Vec<_>>()).await;
    assert!(round(app, &store).await);
    assert!(app.webhooks.get(MAIN, id).await.unwrap().health.failing_since.is_some());
    receiver.take();
    // All of them were there before.
    let set = "UPDATE devices SET status = 'maintenance'; UPDATE webhooks SET rests_until = NULL";
    lesson.owner.batch_execute(set).await.unwrap();
    assert!(round(app, &store).await);
    let kinds = |heard: Vec<Heard>| -> Vec<String> {
        heard.iter().map(|heard| heard.json()["type"].as_str().unwrap().to_owned()).collect()
    };
    let mut heard = kinds(receiver.take());
    heard.sort();
    assert_eq!(heard, ["device.status_changed", "sighting.recorded"], "one of each");
    let health = app.webhooks.get(MAIN, id).await.unwrap().health;
    assert!(health.failing_since.is_none() && health.rests_until.is_none(), "{health:?}");
    // And where it is not known to fail, what it takes is among the first.
    lesson.owner.batch_execute("UPDATE devices SET status = 'active'").await.unwrap();
    assert!(round(app, &store).await);
    assert!(kinds(receiver.take()).contains(&"device.status_changed".to_owned()));
    assert!(app.webhooks.get(MAIN, id).await.unwrap().health.failing_since.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_in_the_middle_of_a_round_is_told_no_more() {
    let lesson = Lesson::start().await;
    let (app, store) = (&lesson.app, WebhookStore::new(&lesson.database.store));
    let receiver = Receiver::start().await;
    add(app, &new(&receiver, &[WebhookEvent::SightingRecorded])).await;
    lesson.see(1, 0, &(0..16).collect::<Vec<_>>()).await;
    let held = receiver.answers.held.lock().await;
    let erasing = async {
        while receiver.count() < 8 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        app.students.erase(MAIN, lesson.students[0], lesson.teacher).await.unwrap();
        drop(held);
    };
    let (told, ()) = tokio::join!(round(app, &store), erasing);
    assert!(told);
    let told: Vec<Value> =
        receiver.take().iter().map(|heard| heard.json()["data"]["student"].take()).collect();
    assert_eq!(told.len(), 16);
    for (place, student) in told.iter().enumerate() {
        let number = if place < 8 { json!("1") } else { Value::Null };
        assert_eq!(student["number"], number, "{place}: {student}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_taken_ends() {
    let lesson = Lesson::start().await;
    let (app, store) = (&lesson.app, WebhookStore::new(&lesson.database.store));
    let receiver = Receiver::start().await;
    let (id, _) = add(app, &new(&receiver, &[WebhookEvent::SightingRecorded])).await;
    receiver.answers(400);
    lesson.see(1, 0, &[1]).await;
    for _ in 0..15 {
        assert!(round(app, &store).await, "given up though nothing was taken meanwhile");
        wake(&lesson).await;
    }
    assert_eq!(states(&deliveries(app, id).await), [DeliveryState::Pending]);
    // It takes others: the one alone is given up.
    lesson.owner.batch_execute("UPDATE webhooks SET last_success_at = now()").await.unwrap();
    assert!(round(app, &store).await);
    let failed = deliveries(app, id).await;
    assert_eq!((failed[0].state, failed[0].last_status), (DeliveryState::Failed, Some(400)));
    assert_eq!(app.webhooks.redeliver(MAIN, id, &[]).await.unwrap(), 1);

    // For days nothing at all: it is switched off, and says why.
    let days = "UPDATE webhooks SET failures = 99, failing_since = now() - interval '121 hours'";
    lesson.owner.batch_execute(days).await.unwrap();
    wake(&lesson).await;
    assert!(round(app, &store).await);
    let shown = app.webhooks.get(MAIN, id).await.unwrap();
    let reason = shown.disabled.unwrap().1;
    assert!(
        !shown.is_active && reason.contains("nothing was taken since") && reason.contains("400"),
        "{reason}"
    );
    wake(&lesson).await;
    assert!(!round(app, &store).await);
    // On again, it goes on with what waits.
    receiver.answers(200);
    let on = WebhookChange { is_active: Some(true), ..WebhookChange::default() };
    let seen = Some(shown.version);
    let shown = app.webhooks.update(MAIN, id, seen, &on).await.unwrap();
    assert!(shown.is_active && shown.disabled.is_none());
    let outdated = app.webhooks.update(MAIN, id, seen, &on).await.unwrap_err();
    assert_eq!(outdated.reason(), ErrorReason::WebhookChanged);
    receiver.take();
    assert!(round(app, &store).await);
    assert_eq!(receiver.take().len(), 1);

    // Who wants nothing more is believed.
    receiver.answers(410);
    lesson.see(2, 0, &[2]).await;
    assert!(round(app, &store).await);
    assert!(app.webhooks.get(MAIN, id).await.unwrap().disabled.unwrap().1.contains("410"));
    // What it is of may go before it is told.
    app.webhooks.update(MAIN, id, None, &on).await.unwrap();
    lesson.see(3, 0, &[3]).await;
    note(&store).await;
    lesson
        .owner
        .batch_execute("DELETE FROM sightings; UPDATE webhook_deliveries SET due_at = now()")
        .await
        .unwrap();
    assert!(round(app, &store).await);
    let ended = states(&deliveries(app, id).await);
    assert_eq!(ended.iter().filter(|state| **state == DeliveryState::Obsolete).count(), 2, "{ended:?}");
    app.webhooks.delete(MAIN, id).await.unwrap();
    assert_eq!(app.webhooks.get(MAIN, id).await.unwrap_err().reason(), ErrorReason::WebhookNotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_sealed_rotate_and_outlive_keyrings() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let receiver = Receiver::start().await;
    let (id, first) = add(&app, &new(&receiver, &[])).await;
    let owner = database.connect().await;
    let sealed: Vec<u8> = owner.query_one("SELECT secret FROM webhooks", &[]).await.unwrap().get(0);
    assert!(!sealed.windows(first.bytes().len()).any(|window| window == first.bytes()));
    let second = app.webhooks.rotate(MAIN, id, Duration::from_secs(3600)).await.unwrap().1;
    database.keys.rotate(&BiometricStore::new(&database.store)).await.unwrap();
    assert!(app.webhooks.test(MAIN, id).await.unwrap().delivered);
    let heard = receiver.take().remove(0);
    let signatures: Vec<&str> = heard.signatures.split(' ').collect();
    let expected = [&second, &first].map(|secret| secret.sign(&heard.id, heard.timestamp, &heard.body));
    assert_eq!(signatures, expected);
    assert_eq!(heard.json()["type"], "webhook.test");
    // The one before is kept until it is over.
    assert_eq!(WebhookStore::new(&database.store).forget_secrets().await.unwrap(), 0);
    let over = "UPDATE webhooks SET previous_until = now()";
    owner.batch_execute(over).await.unwrap();
    assert_eq!(WebhookStore::new(&database.store).forget_secrets().await.unwrap(), 1);
    app.webhooks.rotate(MAIN, id, Duration::ZERO).await.unwrap();
    app.webhooks.test(MAIN, id).await.unwrap();
    assert_eq!(receiver.take()[0].signatures.split(' ').count(), 1);
    receiver.answers(500);
    let failed = app.webhooks.test(MAIN, id).await.unwrap();
    assert_eq!((failed.delivered, failed.status, failed.error.as_str()), (false, Some(500), "answered 500"));
    // A row that was moved to another webhook opens nothing.
    let (other, _) = add(&app, &new(&receiver, &[])).await;
    owner.execute("UPDATE webhooks SET secret = $1 WHERE id = $2", &[&sealed, &other.uuid()]).await.unwrap();
    assert_eq!(app.webhooks.test(MAIN, other).await.unwrap_err().reason(), ErrorReason::DataDamaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_devices_are_noticed_by_one_server_once() {
    let lesson = Lesson::start().await;
    let store = WebhookStore::new(&lesson.database.store);
    let receiver = Receiver::start().await;
    let online = Duration::from_secs(45);
    assert_eq!(store.note_connections(online).await.unwrap(), 0);
    let (id, _) = add(&lesson.app, &new(&receiver, &[WebhookEvent::DeviceConnectionChanged])).await;
    assert_eq!(store.note_connections(online).await.unwrap(), 0, "it was not looked at before");
    lesson.owner.batch_execute("UPDATE devices SET last_seen_at = now()").await.unwrap();
    let (one, other) = tokio::join!(store.note_connections(online), store.note_connections(online));
    assert_eq!(one.unwrap() + other.unwrap(), 1);
    lesson
        .owner
        .batch_execute("UPDATE devices SET last_seen_at = now() - interval '1 minute'")
        .await
        .unwrap();
    assert_eq!(store.note_connections(online).await.unwrap(), 1);
    assert_eq!(store.note_connections(online).await.unwrap(), 0);
    while round(&lesson.app, &store).await {}
    let mut told: Vec<bool> =
        receiver.take().iter().map(|heard| heard.json()["data"]["online"].as_bool().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, [false, true]);
    assert_eq!(deliveries(&lesson.app, id).await.len(), 2);
    // Kept for a while, and no longer.
    assert_eq!(store.delete_old().await.unwrap(), 0);
    let old = "UPDATE webhook_deliveries SET created_at = now() - interval '8 days'";
    lesson.owner.batch_execute(old).await.unwrap();
    assert_eq!(store.delete_old().await.unwrap(), 0, "they were taken just now");
    let old = "UPDATE webhook_deliveries SET delivered_at = now() - interval '8 days'";
    lesson.owner.batch_execute(old).await.unwrap();
    assert_eq!(store.delete_old().await.unwrap(), 2);
}
