use thiserror::Error;

/// Longest part of a text that an error repeats, in characters.
const MOST_REPEATED: usize = 64;

/// A text that is no word of a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is no {vocabulary}")]
pub struct UnknownWord {
    /// Of what the text should have been a word, as people call it.
    pub vocabulary: &'static str,
    /// The text, its first 64 characters at most.
    pub text: String,
}

impl UnknownWord {
    pub(crate) fn new(vocabulary: &'static str, text: &str) -> Self {
        Self { vocabulary, text: text.chars().take(MOST_REPEATED).collect() }
    }
}

/// An enum whose values have one text each, wherever they are written as text.
macro_rules! vocabulary {
    (
        $(#[$attribute:meta])* $name:ident, $people_say:literal;
        $($(#[$doc:meta])* $variant:ident = $text:literal,)*
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The text of the value: stable.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::UnknownWord;

            fn from_str(text: &str) -> Result<Self, crate::UnknownWord> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(crate::UnknownWord::new($people_say, text)),
                }
            }
        }
    };
}
pub(crate) use vocabulary;

vocabulary! {
    /// What follows from a prediction.
    Decision, "decision";
    /// The machine is sure enough.
    Accepted = "accepted",
    /// A person has to say.
    Pending = "pending",
    /// Nobody who is enrolled.
    Unknown = "unknown",
}

vocabulary! {
    /// Why a decision is what it is.
    PredictionReason, "reason of a prediction";
    /// Similar enough to one student, and to no other.
    Matched = "MATCHED",
    /// Not similar enough to anybody.
    LowSimilarity = "LOW_SIMILARITY",
    /// Nearly as similar to another student.
    NarrowMargin = "NARROW_MARGIN",
    /// The face is tilted by more than half a quarter turn, or its landmarks can't be a face's.
    FaceNotUpright = "FACE_NOT_UPRIGHT",
    /// The face looks like a print or a screen, or nobody said that it does not.
    LowLiveness = "LOW_LIVENESS",
    /// The face may be that of another student, with whom this one is confused.
    ConfusablePair = "CONFUSABLE_PAIR",
    /// The picture of the face is too poor to be sure.
    LowQuality = "LOW_QUALITY",
    /// Captured at a time that is far from the server's clock.
    TimeImplausible = "TIME_IMPLAUSIBLE",
    /// Seen by a device that was in maintenance.
    DeviceInMaintenance = "DEVICE_IN_MAINTENANCE",
    /// Nobody is enrolled.
    EmptyGallery = "EMPTY_GALLERY",
    /// The probe is of a model pack that the server has no templates of.
    PackNotServed = "PACK_NOT_SERVED",
}

vocabulary! {
    /// What somebody has to show who they are instead of their face.
    CredentialKind, "kind of credential";
    /// A card that a reader reads.
    Card = "card",
    /// A number that they know.
    Pin = "pin",
}

vocabulary! {
    /// Among whom a face's best candidate was judged.
    MatchScope, "scope of a match";
    /// Those expected in the room at the time.
    Roster = "roster",
    /// Everybody of the site.
    Site = "site",
}

vocabulary! {
    /// In which order the queue is looked at.
    QueueOrder, "order of the queue";
    /// What waits longest.
    OldestFirst = "oldest_first",
    /// What the machine was least sure of, by the similarity of the best candidate.
    LeastCertainFirst = "least_certain_first",
}

vocabulary! {
    /// Why two students are taken for one another.
    ConfusableKind, "kind of a confusable pair";
    /// A person said that they look alike.
    Twins = "twins",
    /// A reviewer has corrected one to the other.
    Confused = "confused",
}

vocabulary! {
    /// How strictly a face is looked at before it becomes a template.
    EnrollmentGate, "gate of enrollment";
    /// It is the only face of its picture, upright, and nobody else's.
    Off = "off",
    /// The picture is good enough to be recognised by, and not unlike the student's others.
    Standard = "standard",
    /// It is a good one, and surely of the person whom the student's others show.
    Strict = "strict",
}

vocabulary! {
    /// What somebody asks of a face.
    MatchKind, "kind of a match";
    /// Whom it shows.
    Identify = "identify",
    /// Whether it shows a student.
    Verify = "verify",
}

vocabulary! {
    /// Whether a student may be recognised by pictures.
    PhotoConsent, "state of a consent";
    /// Nobody has said.
    Unknown = "unknown",
    /// They, or who speaks for them, consented.
    Given = "given",
    /// They, or who speaks for them, refused: they are neither enrolled nor recognised.
    Refused = "refused",
}

vocabulary! {
    /// What people say of a student, and may change: the names of the fields on the wire, and of the columns of files.
    StudentField, "field of a student";
    /// The site's own number.
    Number = "number",
    /// As people call them.
    Name = "name",
    /// E-mail address.
    Email = "email",
    /// Department, as the school or company has them.
    Department = "department",
    /// Class, course or group.
    Section = "section",
    /// What another system calls the student.
    ExternalId = "external_id",
    /// Since when the student belongs to the site.
    EnrollmentDate = "enrollment_date",
    /// Whether they may be recognised.
    PhotoConsent = "photo_consent",
}

vocabulary! {
    /// Of which form a file of students is.
    ImportFormat, "format of a file of students";
    /// Comma-separated values with a header, as spreadsheets write them.
    Csv = "csv",
    /// A OneRoster 1.1 or 1.2 bundle: a ZIP archive of CSV files.
    Oneroster = "oneroster",
}

vocabulary! {
    /// Of which form a file of rosters is.
    RosterFormat, "format of a file of rosters";
    /// Comma-separated values with a header, as spreadsheets write them.
    Csv = "csv",
    /// A OneRoster 1.1 or 1.2 bundle: a ZIP archive of CSV files.
    Oneroster = "oneroster",
}

vocabulary! {
    /// Of which form a file of class sessions is.
    SessionFormat, "format of a file of sessions";
    /// Comma-separated values with a header, as spreadsheets write them.
    Csv = "csv",
    /// RFC 5545, as calendars export it.
    Icalendar = "icalendar",
}

vocabulary! {
    /// What being seen by a device says of where somebody is.
    #[derive(Hash, PartialOrd, Ord)]
    DeviceRole, "role of a device";
    /// They come in.
    Entry = "entry",
    /// They go out.
    Exit = "exit",
    /// They are there.
    Inside = "inside",
}

vocabulary! {
    /// What webhooks are told of.
    #[derive(Hash, PartialOrd, Ord)]
    WebhookEvent, "event of a webhook";
    /// A device has sent a sighting, and the machine has decided.
    SightingRecorded = "sighting.recorded",
    /// A person has said something of a sighting, or taken it back.
    ReviewRecorded = "review.recorded",
    /// A device was set active, inactive, in maintenance, or was revoked.
    DeviceStatusChanged = "device.status_changed",
    /// A device has fallen silent, or is heard again.
    DeviceConnectionChanged = "device.connection_changed",
    /// The attendance of a class session is final.
    ClassSessionFinalised = "class_session.finalised",
    /// The same, for each mark of the session.
    MarkFinalised = "mark.finalised",
    /// A person has changed a mark that was final.
    MarkChanged = "mark.changed",
}

vocabulary! {
    /// What became of an event for a webhook.
    DeliveryState, "state of a delivery";
    /// It is to be sent, for the first time or again.
    Pending = "pending",
    /// The receiver has taken it.
    Delivered = "delivered",
    /// The receiver has refused it for days while it took others.
    Failed = "failed",
    /// What it is of was deleted before it was told.
    Obsolete = "obsolete",
}

vocabulary! {
    /// How far a class session is.
    SessionState, "state of a session";
    /// It has not begun.
    Planned = "planned",
    /// People are expected: from somewhat before the start on.
    Open = "open",
    /// It is over, and what was seen may still come.
    Closing = "closing",
    /// Its attendance is final.
    Finalised = "finalised",
    /// It does not take place.
    Cancelled = "cancelled",
}

vocabulary! {
    /// From where a class session is known.
    SessionSource, "source of a session";
    /// A person.
    Manual = "manual",
    /// A table.
    Csv = "csv",
    /// A OneRoster bundle.
    Oneroster = "oneroster",
    /// An iCalendar file.
    Icalendar = "icalendar",
    /// A weekly pattern.
    Pattern = "pattern",
}

vocabulary! {
    /// What a person said of a sighting.
    Verdict, "verdict";
    /// It is the predicted student, or the corrected one.
    Approved = "approved",
    /// It is not the predicted student.
    Rejected = "rejected",
    /// Somebody else should look.
    Flagged = "flagged",
}

vocabulary! {
    /// How a gallery searches.
    GalleryMode, "mode of a gallery";
    /// Exact, and with the graph from as many templates on as it pays.
    Auto = "auto",
    /// Always exact.
    Exact = "exact",
    /// With the graph as soon as there can be one.
    Hnsw = "hnsw",
}

vocabulary! {
    /// How the similarities of a student's templates become one.
    Grouping, "grouping";
    /// The best of them.
    Best = "best",
    /// Their mean: steadier where every student has several good templates.
    Mean = "mean",
}

vocabulary! {
    /// From what the accept threshold for a wanted rate of false matches was concluded.
    RateBasis, "basis of a rate";
    /// The gallery's own faces.
    Gallery = "gallery",
    /// The model pack's table, for the gallery's size.
    Pack = "pack",
    /// Neither asks for more than the lowest threshold that may be, or nothing is known.
    Floor = "floor",
}

vocabulary! {
    /// What a stretch of time of a device proves: only while it was watching does it mean anything that
    /// somebody was not seen. Of two states of one moment the later one of this list holds.
    #[derive(Hash, PartialOrd, Ord)]
    WatchState, "state of a watch";
    /// The camera gave pictures that could be judged.
    Watching = "watching",
    /// The camera gave no pictures, or none that could be decoded.
    CameraFailed = "camera_failed",
    /// The camera gave one and the same picture again and again.
    CameraFrozen = "camera_frozen",
    /// The pictures were dark or without any structure: the lens is covered, or the light is off.
    CameraCovered = "camera_covered",
    /// Pictures came, but the device was too busy to look at them.
    Overloaded = "overloaded",
    /// What was seen could not be stored on the device.
    DiskFull = "disk_full",
    /// Sightings were given up before the server had them.
    SightingsLost = "sightings_lost",
    /// Nobody knows when it was: the device's clock was wrong.
    ClockWrong = "clock_wrong",
    /// The device used a model pack that the server does not serve.
    PackNotServed = "pack_not_served",
    /// The device was in maintenance.
    Maintenance = "maintenance",
}

/// Most days that something may be kept, unless it is for ever: a century.
pub const MOST_RETENTION_DAYS: u32 = 36_500;

vocabulary! {
    /// How far it is with deleting what is kept no longer.
    RetentionState, "state of retention";
    /// It is under way.
    Running = "running",
    /// It has come to its end.
    Done = "done",
    /// It has not; it is tried again.
    Failed = "failed",
}

vocabulary! {
    /// How far an erasure is.
    ErasureState, "state of an erasure";
    /// Faces, keys and names are gone from the database's rows; its files are still to be rewritten.
    Pending = "pending",
    /// The files are being rewritten, or wait for somebody who still reads what was there before.
    Purging = "purging",
    /// Nothing is left in the database's tables and files.
    Purged = "purged",
}

vocabulary! {
    /// What somebody who logs in may do.
    Role, "role";
    /// Everything.
    Admin = "admin",
    /// Give verdicts, and whatever a viewer may.
    Reviewer = "reviewer",
    /// Look.
    Viewer = "viewer",
    /// Send frames, as a program does that brings a camera of its own, and nothing else.
    Capture = "capture",
}

impl Role {
    /// Whether this role may do what `needed` may.
    #[must_use]
    pub const fn includes(self, needed: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Reviewer => matches!(needed, Self::Reviewer | Self::Viewer),
            Self::Viewer => matches!(needed, Self::Viewer),
            Self::Capture => matches!(needed, Self::Capture),
        }
    }
}

vocabulary! {
    /// What a device is.
    DeviceKind, "kind of device";
    /// An agent that runs the networks itself.
    Agent = "agent",
    /// A camera that sends frames through an agent.
    Esp32Cam = "esp32_cam",
}

vocabulary! {
    /// Whether a device may speak.
    DeviceStatus, "status of a device";
    /// It may.
    Active = "active",
    /// Not for now: it keeps what it sees until it may again.
    Inactive = "inactive",
    /// It may, but is being worked on: what it sees is left to people, and what it does not see proves nothing.
    Maintenance = "maintenance",
    /// Never again.
    Revoked = "revoked",
}

vocabulary! {
    /// How far a mail is.
    MailState, "state of a mail";
    /// It is sent when it is due.
    Waiting = "waiting",
    /// It is being sent.
    Sending = "sending",
    /// The mail server has taken it.
    Sent = "sent",
    /// The mail server does not take it, or was away for days.
    Failed = "failed",
    /// Nobody knows whether it came.
    Unsure = "unsure",
    /// The student was erased before it was sent.
    Dropped = "dropped",
}

vocabulary! {
    /// What a class session says of a person.
    #[derive(Hash, PartialOrd, Ord)]
    Mark, "mark";
    /// There, and in time.
    Present = "present",
    /// There, and not in time.
    Late = "late",
    /// There, and gone before the end.
    LeftEarly = "left_early",
    /// Not there.
    Absent = "absent",
    /// Not there, for a reason that was accepted.
    Excused = "excused",
    /// Nobody can say.
    Undetermined = "undetermined",
}

vocabulary! {
    /// By what else than their face somebody shows that they are there.
    #[derive(Hash, PartialOrd, Ord)]
    CheckInKind, "kind of a check-in";
    /// They have scanned a code that is shown in the room.
    Qr = "qr",
    /// They have a card.
    Card = "card",
    /// They know a number.
    Pin = "pin",
}

vocabulary! {
    /// On what occasion a person has said what a mark is.
    CorrectionSource, "source of a correction";
    /// Somebody knew better.
    Correction = "correction",
    /// The names were called.
    RollCall = "roll_call",
    /// Whose mark it is has appealed.
    Appeal = "appeal",
    /// What was known after the marks were final.
    LateData = "late_data",
}

vocabulary! {
    /// How far an appeal is.
    AppealState, "state of an appeal";
    /// Nobody has decided on it.
    Open = "open",
    /// The mark became what it should be.
    Accepted = "accepted",
    /// It stays.
    Rejected = "rejected",
    /// Who appealed has taken it back.
    Withdrawn = "withdrawn",
}

vocabulary! {
    /// How far the proposal of another mark is.
    ProposalState, "state of a proposal";
    /// Nobody has decided on it.
    Open = "open",
    /// The mark became what it says.
    Accepted = "accepted",
    /// It stays.
    Dismissed = "dismissed",
}

vocabulary! {
    /// What a sighting counts as that waits for a person.
    PendingCounts, "meaning of pending sightings";
    /// Nobody is absent for whom one waits.
    Undetermined = "undetermined",
    /// They are there.
    Present = "present",
    /// Nothing.
    Nothing = "nothing",
}

vocabulary! {
    /// Whether a device's clock was right at a sighting.
    ClockTrust, "trust in a clock";
    /// The device does not say.
    Unknown = "unknown",
    /// It was.
    Synchronised = "synchronised",
    /// It was not, but the time was corrected by the server's.
    Corrected = "corrected",
    /// It was not.
    Unsynchronised = "unsynchronised",
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        fmt::{Debug, Display},
        str::FromStr,
    };

    use serde::{Serialize, de::DeserializeOwned};

    use super::*;
    use crate::ErrorReason;

    /// The texts are what databases, configurations and scripts hold: each is its value's and no other's.
    fn texts_of<T>(all: &[T]) -> Vec<String>
    where
        T: Copy + PartialEq + Display + FromStr<Err = UnknownWord> + Serialize + DeserializeOwned + Debug,
    {
        for &value in all {
            let text = value.to_string();
            assert_eq!(text.parse(), Ok(value));
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<T>(&json).unwrap(), value);
            assert!(format!(" {text}").parse::<T>().is_err() && format!("{text}x").parse::<T>().is_err());
        }
        let texts: Vec<_> = all.iter().map(T::to_string).collect();
        assert_eq!(texts.iter().collect::<HashSet<_>>().len(), texts.len(), "{texts:?}");
        texts
    }

    #[test]
    fn every_vocabulary_round_trips() {
        assert_eq!(texts_of(Decision::ALL), ["accepted", "pending", "unknown"]);
        assert_eq!(texts_of(QueueOrder::ALL), ["oldest_first", "least_certain_first"]);
        assert_eq!(texts_of(ConfusableKind::ALL), ["twins", "confused"]);
        assert_eq!(texts_of(MatchKind::ALL), ["identify", "verify"]);
        assert_eq!(texts_of(EnrollmentGate::ALL), ["off", "standard", "strict"]);
        assert_eq!(texts_of(PhotoConsent::ALL), ["unknown", "given", "refused"]);
        let fields = "number name email department section external_id enrollment_date photo_consent";
        assert_eq!(texts_of(StudentField::ALL).join(" "), fields);
        assert_eq!(texts_of(ImportFormat::ALL), ["csv", "oneroster"]);
        assert_eq!(texts_of(Verdict::ALL), ["approved", "rejected", "flagged"]);
        assert_eq!(texts_of(ErasureState::ALL), ["pending", "purging", "purged"]);
        assert_eq!(texts_of(Role::ALL), ["admin", "reviewer", "viewer", "capture"]);
        assert_eq!(texts_of(DeviceKind::ALL), ["agent", "esp32_cam"]);
        assert_eq!(texts_of(DeviceStatus::ALL), ["active", "inactive", "maintenance", "revoked"]);
        assert_eq!(texts_of(ClockTrust::ALL), ["unknown", "synchronised", "corrected", "unsynchronised"]);
        let is_constant = |text: &String| text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        assert!(texts_of(PredictionReason::ALL).iter().all(is_constant));
        assert!(texts_of(ErrorReason::ALL).iter().all(is_constant));
    }

    #[test]
    fn an_unknown_word_is_told_with_its_vocabulary_and_not_at_any_length() {
        let error = "perhaps".parse::<Decision>().unwrap_err();
        assert_eq!(error.to_string(), "\"perhaps\" is no decision");
        assert_eq!("é".repeat(10_000).parse::<Role>().unwrap_err().text, "é".repeat(64));
    }

    #[test]
    fn texts_can_be_padded() {
        assert_eq!(format!("{:<9}|", Decision::Pending), "pending  |");
    }

    #[test]
    fn roles_include_the_lesser_ones_and_cameras_are_nobodys_viewers() {
        let included = |role: Role| {
            let lesser = Role::ALL.iter().filter(|needed| role.includes(**needed));
            lesser.map(|needed| needed.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(included(Role::Admin), ["admin", "reviewer", "viewer", "capture"]);
        assert_eq!(included(Role::Reviewer), ["reviewer", "viewer"]);
        assert_eq!(included(Role::Viewer), ["viewer"]);
        assert_eq!(included(Role::Capture), ["capture"]);
    }
}
