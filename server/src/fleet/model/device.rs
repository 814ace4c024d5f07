use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr, time::Duration};

use cavs_embedding::PackDigest;
use cavs_types::{DeviceId, DeviceKind, DeviceStatus, ProtocolError, SiteId, setting};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{fleet::ProxyRef, text};

/// How long a device may be silent and still count as online: agents send a heartbeat every ten
/// seconds.
pub const ONLINE_FOR: Duration = Duration::from_secs(45);

/// An agent or a camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// The site that it belongs to, for ever.
    pub site: SiteId,
    /// Ours; its certificate carries it.
    pub id: DeviceId,
    /// Unique among the devices of the site that are not revoked.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// The room it watches.
    pub classroom: String,
    /// What people note of it.
    pub notes: DeviceNotes,
    /// The IP address from which it connected last; empty until it did.
    pub seen_address: String,
    /// Counts what people change.
    pub version: DeviceVersion,
    /// Whether it may speak.
    pub status: DeviceStatus,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it spoke last.
    pub last_seen_at: Option<Timestamp>,
    /// What it said of itself.
    pub report: DeviceReport,
    /// The settings that it is to run with, where somebody has ever pushed any.
    pub wanted: Option<PushedSettings>,
    /// Who speaks for this camera.
    pub proxy: Option<ProxyRef>,
    /// Tokens that are good.
    pub tokens: u32,
    /// Where two starts of its agent were ever found alive at once.
    pub twice: Option<ConnectedTwice>,
}

/// What people note of a device; nothing follows from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceNotes {
    /// At most 500 characters.
    pub description: String,
    /// An IP address, or empty.
    pub address: String,
    /// Six bytes in hexadecimal with colons, or empty.
    pub mac_address: String,
}

/// A state of what people say of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceVersion(pub i64);

impl DeviceVersion {
    /// As an etag.
    #[must_use]
    pub fn etag(self) -> String {
        self.0.to_string()
    }

    /// Reads an etag; empty is none.
    ///
    /// # Errors
    /// `Invalid`: no etag of a device.
    pub fn from_etag(etag: &str) -> Result<Option<Self>, ProtocolError> {
        if etag.is_empty() {
            return Ok(None);
        }
        let wrong = |_| ProtocolError::invalid("etag", "is none of a device");
        etag.parse().map(|version| Some(Self(version))).map_err(wrong)
    }
}

/// Why a device may not speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// It is not registered.
    Unknown,
    /// It was revoked.
    Revoked,
    /// Somebody has set it inactive.
    Inactive,
    /// Its site was archived.
    SiteArchived,
}

impl NotAdmitted {
    /// Whether a device of this status may speak.
    ///
    /// # Errors
    /// Why not.
    pub const fn judge(status: DeviceStatus, site_is_archived: bool) -> Result<(), Self> {
        match status {
            DeviceStatus::Revoked => Err(Self::Revoked),
            DeviceStatus::Inactive => Err(Self::Inactive),
            DeviceStatus::Active | DeviceStatus::Maintenance if site_is_archived => Err(Self::SiteArchived),
            DeviceStatus::Active | DeviceStatus::Maintenance => Ok(()),
        }
    }
}

/// A device's certificate is, or was, in use in two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectedTwice {
    /// When that was noticed last.
    pub last_at: Timestamp,
    /// How often.
    pub count: u64,
}

impl ConnectedTwice {
    /// Whether it is still so, as far as anybody knows: while both live, it is noticed every minute.
    #[must_use]
    pub fn is_now(&self, now: Timestamp) -> bool {
        now.duration_since(self.last_at) < jiff::SignedDuration::from_mins(10)
    }
}

impl Device {
    /// Where it stands in lists.
    #[must_use]
    pub fn position(&self) -> DevicePosition {
        DevicePosition { name: self.name.clone(), id: self.id }
    }

    /// Whether it has spoken lately.
    #[must_use]
    pub fn is_online(&self, now: Timestamp) -> bool {
        self.last_seen_at.is_some_and(|seen| now.duration_since(seen).unsigned_abs() <= ONLINE_FOR)
    }
}

/// What a device says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceReport {
    /// Version of its software.
    pub agent_version: String,
    /// The model pack it embeds with.
    pub pack: Option<PackDigest>,
    /// Sightings that wait in its spool.
    pub spooled: u64,
    /// Sightings it lost.
    pub lost: u64,
    /// Its last heartbeat, where there was one.
    pub heartbeat: Option<Heartbeat>,
    /// What became of the settings that were pushed to it.
    pub settings: SettingsReport,
}

/// A device's sign of life: what its spool holds and has lost, and how it is. Counters of losses are
/// since the spool was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// By the device's clock.
    pub sent_at: Option<Timestamp>,
    /// Sightings that wait in the spool.
    pub spooled: u64,
    /// When the oldest of them was stored, where that is known.
    pub oldest_spooled_at: Option<Timestamp>,
    /// Sightings lost, for whatever reason.
    pub lost: u64,
    /// Those of `lost` that repeated an earlier one of their track.
    pub lost_repeats: u64,
    /// Those of `lost` that became too old.
    pub lost_expired: u64,
    /// Those of `lost` that could not be recovered from a damaged spool.
    pub lost_damaged: u64,
    /// Face crops lost.
    pub lost_evidence: u64,
    /// Sightings that the server rejected.
    pub rejected: u64,
    /// How the machine and the agent on it are.
    pub health: Option<Health>,
}

/// How a device is. What it can't measure is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Of the processor, in degrees Celsius.
    pub temperature: Option<f32>,
    /// Share of all processors that were busy, 0 to 100.
    pub cpu_percent: Option<f32>,
    /// Memory of the agent, in bytes.
    pub memory_resident: Option<u64>,
    /// Memory that the machine has left, in bytes.
    pub memory_available: Option<u64>,
    /// Space that the spool's file system has left, in bytes.
    pub disk_free: Option<u64>,
    /// Frames a second that went through the agent.
    pub frames_per_second: Option<f32>,
    /// Faces a second that were found.
    pub faces_per_second: Option<f32>,
    /// Frames since the agent's start.
    pub frames: u64,
    /// Those of `frames` that could not be analysed.
    pub frames_bad: u64,
    /// Frames that came while the agent was busy.
    pub frames_dropped: u64,
    /// Failures of the camera.
    pub source_failures: u64,
    /// Since the agent's start, in seconds.
    pub uptime_seconds: u64,
    /// The device's clock followed a time server or agreed with the server's.
    pub clock_synchronised: bool,
    /// Messages of a server that the agent does not know.
    pub unknown_messages: u64,
    /// The disk is full: nothing can be stored, and nothing taken out of the spool.
    pub disk_full: bool,
}

/// What became of pushed settings on a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsReport {
    /// The version in use; 0 for the device's own configuration.
    pub running: u64,
    /// It has yet to prove itself.
    pub on_trial: bool,
    /// The last version that was refused or gone back from; 0 where there is none.
    pub rejected: u64,
    /// Why, in words.
    pub rejection: String,
}

/// Settings that are pushed to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedSettings {
    /// Counts up with every change.
    pub version: u64,
    /// By `SECTION.KEY`, all that is pushed.
    pub settings: BTreeMap<String, String>,
    /// When they were pushed.
    pub pushed_at: Timestamp,
    /// User name of who did it.
    pub pushed_by: String,
}

/// A change of what is pushed to a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsChange {
    reset: bool,
    unset: Vec<String>,
    set: BTreeMap<String, String>,
}

impl SettingsChange {
    /// Checks what a person typed.
    ///
    /// # Errors
    /// `Invalid`: not a setting that may be pushed, or not a value that it may have.
    pub fn new(
        reset: bool,
        unset: Vec<String>,
        set: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ProtocolError> {
        for key in &unset {
            setting(key).map_err(|problem| ProtocolError::invalid("unset", format!("{key} {problem}")))?;
        }
        let set = set.into_iter().map(|(key, value)| {
            let normal = setting(&key).and_then(|setting| setting.normalise(&value));
            match normal {
                Ok(value) => Ok((key, value)),
                Err(problem) => Err(ProtocolError::invalid("set", format!("{key} {problem}"))),
            }
        });
        Ok(Self { reset, unset, set: set.collect::<Result<_, _>>()? })
    }

    /// The settings that follow from earlier ones.
    #[must_use]
    pub fn apply(&self, mut settings: BTreeMap<String, String>) -> BTreeMap<String, String> {
        if self.reset {
            settings.clear();
        }
        settings.retain(|key, _| !self.unset.contains(key));
        settings.extend(self.set.clone());
        settings
    }
}

/// A device to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// Unique among the devices that are active, 1 to 100 characters.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// At most 100 characters.
    pub classroom: String,
}

impl NewDevice {
    /// Checks what a person typed.
    ///
    /// # Errors
    /// `Missing` or `Invalid`, by field.
    pub fn new(name: &str, kind: DeviceKind, classroom: &str) -> Result<Self, ProtocolError> {
        Ok(Self {
            name: text::required("name", text::name("name", name, 100)?)?,
            kind,
            classroom: text::name("classroom", classroom, 100)?,
        })
    }
}

/// What is to be changed of a device; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceChange {
    /// Its new name, as of a [`NewDevice`].
    pub name: Option<String>,
    /// Its new room; empty for none.
    pub classroom: Option<String>,
    /// Whether it may speak; never for ever not.
    pub status: Option<DeviceStatus>,
    /// What people note of it.
    pub description: Option<String>,
    /// Its IP address, as people note it.
    pub address: Option<String>,
    /// Its hardware's address, as people note it.
    pub mac_address: Option<String>,
}

impl DeviceChange {
    /// Checks what a person typed: of each field, where it is to be changed.
    ///
    /// # Errors
    /// `Missing` or `Invalid`, by field.
    pub fn checked(self) -> Result<Self, ProtocolError> {
        let name = |name: String| text::required("name", text::name("name", &name, 100)?);
        if self.status == Some(DeviceStatus::Revoked) {
            return Err(ProtocolError::invalid("status", "is not given so: revoke the device"));
        }
        Ok(Self {
            name: self.name.map(name).transpose()?,
            classroom: self.classroom.map(|room| text::name("classroom", &room, 100)).transpose()?,
            status: self.status,
            description: self.description.map(|note| text::name("description", &note, 500)).transpose()?,
            address: self.address.map(|address| ip_address(&address)).transpose()?,
            mac_address: self.mac_address.map(|address| mac_address(&address)).transpose()?,
        })
    }

    /// Whether the device is otherwise after it.
    #[must_use]
    pub fn changes(&self, device: &Device) -> bool {
        let Self { name, classroom, status, description, address, mac_address } = self;
        let notes = &device.notes;
        let texts = [
            (name, &device.name),
            (classroom, &device.classroom),
            (description, &notes.description),
            (address, &notes.address),
            (mac_address, &notes.mac_address),
        ];
        texts.into_iter().any(|(new, old)| new.as_ref().is_some_and(|new| new != old))
            || status.is_some_and(|status| status != device.status)
    }
}

fn ip_address(typed: &str) -> Result<String, ProtocolError> {
    match typed.trim() {
        "" => Ok(String::new()),
        address => address.parse::<IpAddr>().map(|address| address.to_string()).map_err(|_| {
            ProtocolError::invalid("noted_address", "is no IP address, such as 192.0.2.7 or 2001:db8::7")
        }),
    }
}

/// Six bytes in hexadecimal, with colons, dashes or nothing between them.
fn mac_address(typed: &str) -> Result<String, ProtocolError> {
    let digits: String = typed.trim().chars().filter(|c| !matches!(c, ':' | '-')).collect();
    if digits.is_empty() {
        return Ok(String::new());
    }
    if digits.len() != 12 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ProtocolError::invalid(
            "mac_address",
            "is no hardware address, such as b8:27:eb:00:00:07",
        ));
    }
    let digits = digits.to_ascii_lowercase();
    let pairs: Vec<&str> = (0..6).map(|byte| &digits[2 * byte..2 * byte + 2]).collect();
    Ok(pairs.join(":"))
}

/// Settings that were pushed at one time, and what that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsVersion {
    /// What was pushed.
    pub pushed: PushedSettings,
    /// Those that the version before did not have so.
    pub set: BTreeMap<String, String>,
    /// Those that the version before had and this one has not.
    pub unset: Vec<String>,
}

impl SettingsVersion {
    /// Of settings and those before them.
    #[must_use]
    pub fn new(pushed: PushedSettings, before: &BTreeMap<String, String>) -> Self {
        let is_new = |(key, value): &(&String, &String)| before.get(*key) != Some(*value);
        let set = pushed.settings.iter().filter(is_new).map(|(key, value)| (key.clone(), value.clone()));
        let unset = before.keys().filter(|key| !pushed.settings.contains_key(*key)).cloned();
        Self { set: set.collect(), unset: unset.collect(), pushed }
    }
}

/// Where a device stands in lists: by name, and by id among those of one name, of which all but one are
/// revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePosition {
    /// Its name.
    pub name: String,
    /// Ours.
    pub id: DeviceId,
}

impl fmt::Display for DevicePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.name)
    }
}

impl FromStr for DevicePosition {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let wrong = || ProtocolError::invalid("page_token", "is no position in a list of devices");
        let (id, name) = text.split_once(' ').ok_or_else(wrong)?;
        Ok(Self { name: name.to_owned(), id: id.parse().map_err(|_| wrong())? })
    }
}

/// How a device is named in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceKey {
    /// By our id.
    Id(DeviceId),
    /// By its name: the active one, or else the last one of the name.
    Name(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn changes_are_laid_over_what_was_pushed_before() {
        let before = map(&[("source.rate", "5"), ("motion.hold", "3")]);
        let change = |reset, unset: &[&str], set: &[(&str, &str)]| {
            let unset = unset.iter().map(|key| (*key).to_owned()).collect();
            SettingsChange::new(reset, unset, map(set)).unwrap().apply(before.clone())
        };
        assert_eq!(change(false, &["motion.hold"], &[("source.rate", "2.0")]), map(&[("source.rate", "2")]));
        assert_eq!(change(true, &[], &[]), map(&[]));
        assert_eq!(change(false, &[], &[]), before);
    }

    #[test]
    fn what_is_noted_has_one_form() {
        let change = |address: &str, mac: &str| {
            DeviceChange {
                address: Some(address.to_owned()),
                mac_address: Some(mac.to_owned()),
                ..DeviceChange::default()
            }
            .checked()
        };
        let noted = change(" 2001:DB8:0::7", "B8-27-EB-00-00-07").unwrap();
        assert_eq!(noted.address.as_deref(), Some("2001:db8::7"));
        assert_eq!(noted.mac_address.as_deref(), Some("b8:27:eb:00:00:07"));
        assert_eq!(change("", "b827eb000007").unwrap().mac_address, noted.mac_address);
        for (address, mac) in [("10.0.0", ""), ("", "b8:27:eb:00:00"), ("", "b8:27:eb:00:00:0ö")] {
            assert!(change(address, mac).is_err(), "{address} {mac}");
        }
        let revoke = DeviceChange { status: Some(DeviceStatus::Revoked), ..DeviceChange::default() };
        assert!(revoke.checked().is_err());
    }

    #[test]
    fn a_version_of_settings_says_what_it_changed() {
        let pushed = PushedSettings {
            version: 2,
            settings: map(&[("source.rate", "2"), ("motion.hold", "3")]),
            pushed_at: Timestamp::UNIX_EPOCH,
            pushed_by: "admin".to_owned(),
        };
        let before = map(&[("source.rate", "5"), ("motion.hold", "3"), ("tracking.settle", "1")]);
        let version = SettingsVersion::new(pushed, &before);
        assert_eq!(
            (version.set, version.unset),
            (map(&[("source.rate", "2")]), vec!["tracking.settle".to_owned()])
        );
    }

    #[test]
    fn positions_in_lists_are_read_back() {
        let position = DevicePosition { name: "Room 12, door".to_owned(), id: DeviceId::generate() };
        assert_eq!(position.to_string().parse(), Ok(position));
        assert!("x Room".parse::<DevicePosition>().is_err());
    }

    #[test]
    fn what_may_not_be_pushed_is_named() {
        let set = |key: &str, value: &str| SettingsChange::new(false, vec![], map(&[(key, value)]));
        let error = set("source.command", "rm").unwrap_err().to_string();
        assert!(error.starts_with("set: source.command can't be pushed; what can be: "), "{error}");
        let error = set("motion.threshold", "2").unwrap_err().to_string();
        assert_eq!(error, "set: motion.threshold must be a number, 0 to 1");
        assert!(SettingsChange::new(false, vec!["x".to_owned()], map(&[])).is_err());
    }
}
