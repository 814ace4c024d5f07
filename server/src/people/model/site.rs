use cavs_types::{ProtocolError, Role, SiteId};
use jiff::Timestamp;

use crate::text;

/// Longest name of a site, in characters.
const LONGEST: usize = 100;

/// A school or a company location: what shares a gallery, students' numbers, rooms and thresholds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Ours.
    pub id: SiteId,
    /// Unique among all sites.
    pub name: String,
    /// What its clocks show: a name of the IANA time zone database.
    pub time_zone: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// Since when it can only be looked at.
    pub archived_at: Option<Timestamp>,
}

/// A site as somebody sees it who has a role in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRole {
    /// Where.
    pub site: Site,
    /// What they may do there.
    pub role: Role,
}

/// How a site is named in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SiteKey {
    /// By our id.
    Id(SiteId),
    /// By its name.
    Name(String),
}

impl SiteKey {
    /// Reads an id or a name: no name has the form of an id.
    ///
    /// # Errors
    /// `Invalid`: neither.
    pub fn read(field: &'static str, text: &str) -> Result<Self, ProtocolError> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => Ok(Self::Name(text::lookup_name(field, text)?)),
        }
    }
}

/// A name for a site, as it is stored.
///
/// # Errors
/// `Missing` or `Invalid`.
pub fn site_name(name: &str) -> Result<String, ProtocolError> {
    let name = text::required("name", text::name("name", name, LONGEST)?)?;
    if name.parse::<SiteId>().is_ok() {
        return Err(ProtocolError::invalid("name", "has the form of an id"));
    }
    Ok(name)
}

/// Why the site of a call is not clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSite {
    /// There are several to choose from.
    Several,
    /// There is none, or none of that id or name.
    None,
}

/// The site of a call, of those that its caller may mean: the first two of them, the archived ones last.
///
/// # Errors
/// There is none, or more than one that is as good.
pub fn only_site(meant: Vec<SiteRole>) -> Result<SiteRole, NoSite> {
    let mut meant = meant.into_iter();
    match (meant.next(), meant.next()) {
        (None, _) => Err(NoSite::None),
        (Some(only), None) => Ok(only),
        (Some(first), Some(second)) => {
            let is_only_active = first.site.archived_at.is_none() && second.site.archived_at.is_some();
            if is_only_active { Ok(first) } else { Err(NoSite::Several) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_told_apart() {
        let id = SiteId::generate();
        assert_eq!(SiteKey::read("site", &id.to_string()), Ok(SiteKey::Id(id)));
        assert_eq!(SiteKey::read("site", " Zoe\u{308} "), Ok(SiteKey::Name("Zo\u{eb}".to_owned())));
        assert!(SiteKey::read("site", "a\u{200b}").is_err());
        assert_eq!(site_name(" North "), Ok("North".to_owned()));
        for wrong in ["", "  ", "a\u{1b}[31m", &"x".repeat(101), &id.to_string()] {
            assert!(site_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_only_site_need_not_be_named() {
        let site = |name: &str, archived: bool| SiteRole {
            site: Site {
                id: SiteId::generate(),
                name: name.to_owned(),
                time_zone: "UTC".to_owned(),
                created_at: Timestamp::UNIX_EPOCH,
                archived_at: archived.then_some(Timestamp::UNIX_EPOCH),
            },
            role: Role::Viewer,
        };
        let chosen = |meant| only_site(meant).map(|found| found.site.name);
        assert_eq!(chosen(vec![]), Err(NoSite::None));
        assert_eq!(chosen(vec![site("a", false)]), Ok("a".to_owned()));
        assert_eq!(chosen(vec![site("a", true)]), Ok("a".to_owned()));
        assert_eq!(chosen(vec![site("a", false), site("b", true)]), Ok("a".to_owned()));
        assert_eq!(chosen(vec![site("a", false), site("b", false)]), Err(NoSite::Several));
        assert_eq!(chosen(vec![site("a", true), site("b", true)]), Err(NoSite::Several));
    }
}
