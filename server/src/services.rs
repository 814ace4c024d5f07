//! What the server does, put together: a small service for each part of each capability.

use std::{num::NonZeroU32, sync::Arc};

use crate::{
    attendance::{
        Appeals, AttendanceStore, CheckIns, Corrections, Excuses, MarkFeed, MarksKeeper, Policies, Reports,
        Sheets,
    },
    biometrics::{Keys, Maintenance, RetentionPolicies, RetentionPolicy},
    db::{Connections, Database},
    fleet::{DeviceStreams, DeviceWatches, Devices},
    mail::{MailSender, SmtpTransport, WarningMails},
    matching::Matching,
    monitoring::Metrics,
    people::{Accounts, Enrollment, EnrollmentLimits, Pairs, Sites, Students},
    recognition::{Galleries, Vision},
    requests::Answers,
    schedule::{Expected, Groups, Rooms, Sessions, Terms},
    sightings::{
        CandidateTemplates, EvidencePolicy, Ingest, LateMatches, ReEnrollment, Reviews, SightingFeed,
        Statistics,
    },
    webhooks::{Deliverer, ReceiverClient, Webhooks},
};

/// The services of a running server. The listeners take those that they need.
#[derive(Clone)]
pub struct Services {
    pub(crate) accounts: Accounts,
    pub(crate) sites: Sites,
    pub(crate) students: Students,
    pub(crate) enrollment: Enrollment,
    pub(crate) pairs: Pairs,
    pub(crate) devices: Devices,
    pub(crate) device_streams: DeviceStreams,
    /// What devices say of what they watched.
    pub(crate) watch_reports: DeviceWatches,
    /// The same, as people ask for it.
    pub(crate) watches: DeviceWatches,
    pub(crate) terms: Terms,
    pub(crate) groups: Groups,
    pub(crate) rooms: Rooms,
    pub(crate) class_sessions: Sessions,
    pub(crate) sheets: Sheets,
    pub(crate) check_ins: CheckIns,
    pub(crate) corrections: Corrections,
    pub(crate) excuses: Excuses,
    pub(crate) appeals: Appeals,
    pub(crate) policies: Policies,
    pub(crate) reports: Reports,
    pub(crate) warning_mails: WarningMails,
    /// `None`: there is no mail server.
    pub(crate) mail_sender: Option<MailSender>,
    pub(crate) mark_feed: MarkFeed,
    pub(crate) marks: MarksKeeper,
    pub(crate) expected: Expected,
    pub(crate) ingest: Ingest,
    pub(crate) reviews: Reviews,
    pub(crate) feed: SightingFeed,
    pub(crate) candidates: CandidateTemplates,
    pub(crate) statistics: Statistics,
    pub(crate) re_enrollment: ReEnrollment,
    pub(crate) late_matches: LateMatches,
    pub(crate) matching: Matching,
    pub(crate) answers: Answers,
    pub(crate) webhooks: Webhooks,
    pub(crate) deliverer: Deliverer,
    pub(crate) galleries: Arc<Galleries>,
    pub(crate) vision: Vision,
    pub(crate) keys: Arc<Keys>,
    pub(crate) maintenance: Arc<Maintenance>,
    pub(crate) retention: RetentionPolicies,
    pub(crate) metrics: Arc<Metrics>,
    people: Database,
    of_devices: Database,
}

/// What services are made of.
pub struct Parts {
    /// The database, for what people ask.
    pub people: Database,
    /// The database, for the server's own work.
    pub background: Database,
    /// The database, for what devices send: neither can take the other's connections.
    pub devices: Database,
    /// Data keys.
    pub keys: Arc<Keys>,
    /// Matching and policy, by site.
    pub galleries: Arc<Galleries>,
    /// The networks that enrollment runs on.
    pub vision: Vision,
    /// What of the evidence that devices send is kept.
    pub evidence: EvidencePolicy,
    /// Limits of enrollment.
    pub enrollment: EnrollmentLimits,
    /// How long faces and sightings are kept, unless the site has set something else.
    pub retention: RetentionPolicy,
    /// How often a minute each user may ask whose face it is.
    pub match_calls: NonZeroU32,
    /// Calls those who are told of what happens.
    pub receivers: ReceiverClient,
    /// How mails are sent; `None`: none are.
    pub mail: Option<SmtpTransport>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Services {
    /// Puts them together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            people,
            background,
            devices,
            keys,
            galleries,
            vision,
            evidence,
            enrollment,
            retention,
            match_calls,
            receivers,
            mail,
            metrics,
        } = parts;
        let maintenance = Arc::new(Maintenance::new(&people, &keys, retention));
        let students = Students::new(&people, &keys, &galleries, &maintenance);
        let devices_of_site = Devices::new(&people);
        let marks = AttendanceStore::new(&people, retention.sightings);
        let sheets = Sheets::new(&marks, &galleries);
        let corrections = Corrections::new(&marks, &sheets);
        let reviews = Reviews::new(&people, &keys);
        let late_matches = LateMatches::new(&background, &keys, &galleries, &reviews);
        let feed = SightingFeed::new(&people);
        let expected = Expected::new(&devices);
        let matching = Matching::new(&people, &students, &galleries, &vision, match_calls);
        let enrollment = Enrollment::new(&people, &students, &keys, &galleries, &vision, enrollment);
        Self {
            accounts: Accounts::new(&people),
            candidates: CandidateTemplates::new(&reviews, &students, &enrollment),
            enrollment,
            pairs: Pairs::new(&people, &students, &galleries),
            terms: Terms::new(&people),
            groups: Groups::new(&people, &students),
            rooms: Rooms::new(&people, &devices_of_site),
            class_sessions: Sessions::new(&people),
            students,
            devices: devices_of_site,
            device_streams: DeviceStreams::new(&devices, &galleries, &metrics),
            watch_reports: DeviceWatches::new(&devices),
            watches: DeviceWatches::new(&people),
            ingest: Ingest::new(&devices, &keys, &galleries, &expected, evidence, &metrics, &feed),
            expected,
            check_ins: CheckIns::new(&people, &marks, &corrections, &sheets, &keys),
            corrections,
            excuses: Excuses::new(&marks),
            appeals: Appeals::new(&marks, &sheets),
            policies: Policies::new(&marks),
            warning_mails: WarningMails::new(&people, mail.is_some()),
            mail_sender: mail.map(|transport| {
                MailSender::new(
                    &background,
                    &AttendanceStore::new(&background, retention.sightings),
                    transport,
                )
            }),
            reports: Reports::new(&people, &marks, &sheets),
            mark_feed: MarkFeed::new(&people, &sheets),
            marks: MarksKeeper::new(&AttendanceStore::new(&background, retention.sightings)),
            sheets,
            reviews,
            feed,
            statistics: Statistics::new(&people),
            late_matches,
            re_enrollment: ReEnrollment::new(&people, &galleries),
            matching,
            answers: Answers::new(&people, &keys),
            webhooks: Webhooks::new(&people, &keys, &receivers),
            deliverer: Deliverer::new(&background, &keys, &receivers, &metrics),
            sites: Sites::new(&people, &galleries),
            retention: RetentionPolicies::new(&people, &maintenance),
            galleries,
            vision,
            keys,
            maintenance,
            metrics,
            people,
            of_devices: devices,
        }
    }

    /// The database as people's calls reach it.
    pub(crate) const fn database(&self) -> &Database {
        &self.people
    }

    /// How the connections to the database are used, by whom they are for.
    #[must_use]
    pub fn connections(&self) -> [(&'static str, Connections); 3] {
        [
            ("people", self.people.connections()),
            ("devices", self.of_devices.connections()),
            ("background", self.galleries.connections()),
        ]
    }
}
