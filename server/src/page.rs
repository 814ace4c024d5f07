//! Lists in pages: what a caller asks for, and where a page goes on.

use std::{fmt::Display, str::FromStr};

use cavs_types::ErrorReason;
use ring::digest::{Context, SHA256};

const DEFAULT_SIZE: u32 = 50;
const LARGEST_SIZE: u32 = 1000;
/// Items that are counted where somebody asks how long a list is: counting takes time with their number, and
/// nobody pages through more.
pub const COUNTED: u64 = 10_000;

/// Which list a page is of: its name, and all that says what is in it. A page token continues its own list
/// only. The form is this type's own, so that tokens outlive any change of the code's types.
#[derive(Clone)]
pub struct ListName(Context);

impl ListName {
    /// A list without filters.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Context::new(&SHA256)).with(name, None)
    }

    /// The list with one more filter; `None` where it is not set.
    #[must_use]
    pub fn with(mut self, filter: &str, value: Option<&str>) -> Self {
        // Each part with its length before it, so that no value reads as two.
        for part in [Some(filter), value] {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            self.0.update(&length.to_be_bytes());
            self.0.update(part.unwrap_or_default().as_bytes());
        }
        self
    }
}

/// A part of a list that a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<K> {
    /// Most items.
    pub size: u32,
    /// The key of the last page's last item; `None` for the first page.
    pub after: Option<K>,
    /// Whether the whole list is to be counted.
    pub with_total: bool,
    list: [u8; 8],
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Asks for what follows; empty at the end.
    pub next: PageToken,
    /// Items of the whole list, where somebody asked.
    pub total: Option<Total>,
}

/// How long a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// Items that were counted: at most [`COUNTED`].
    pub items: u64,
    /// There are no more.
    pub exact: bool,
}

impl Total {
    /// From a count that went to one more than [`COUNTED`].
    #[must_use]
    pub const fn counted(items: u64) -> Self {
        if items > COUNTED { Self { items: COUNTED, exact: false } } else { Self { items, exact: true } }
    }
}

/// An opaque token: which list, and after which item.
pub type PageToken = String;

impl<K: FromStr + Display> PageRequest<K> {
    /// Reads a request's `page_size` (0 means 50, at most 1000), `page_token` and `with_total_size`. A token
    /// of another list is refused.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID`.
    pub fn new(size: u32, token: &str, with_total: bool, list: ListName) -> Result<Self, ErrorReason> {
        let size = if size == 0 { DEFAULT_SIZE } else { size.min(LARGEST_SIZE) };
        let list = *list.0.finish().as_ref().first_chunk().ok_or(ErrorReason::Internal)?;
        let after = if token.is_empty() {
            None
        } else {
            let key = decode(token, list).and_then(|key| key.parse().ok());
            Some(key.ok_or(ErrorReason::PageTokenInvalid)?)
        };
        Ok(Self { size, after, with_total, list })
    }

    /// Makes a page of up to `size + 1` items: the one too many says that more follow.
    pub fn page<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> K) -> Page<T> {
        let more = items.len() > self.size as usize;
        items.truncate(self.size as usize);
        let next = match items.last() {
            Some(last) if more => self.encode(&key(last).to_string()),
            _ => String::new(),
        };
        Page { items, next, total: None }
    }

    /// How many items to fetch: one more than fits, to see whether more follow.
    #[must_use]
    pub fn fetch(&self) -> i64 {
        i64::from(self.size) + 1
    }

    fn encode(&self, key: &str) -> PageToken {
        self.list.iter().chain(key.as_bytes()).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn decode(token: &str, list: [u8; 8]) -> Option<String> {
    let (pairs, []) = token.as_bytes().as_chunks::<2>() else { return None };
    let digit = |d: u8| char::from(d).to_digit(16);
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some((digit(*high)? * 16 + digit(*low)?) as u8)).collect();
    let key = String::from_utf8(bytes?.strip_prefix(&list)?.to_vec()).ok()?;
    (!key.contains(char::is_control)).then_some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{fleet::DevicePosition, sightings::SightingPosition};

    fn request(token: &str, section: Option<&str>) -> Result<PageRequest<String>, ErrorReason> {
        PageRequest::new(2, token, false, ListName::new("students").with("section", section))
    }

    #[test]
    fn tokens_continue_their_own_list_only() {
        let page = request("", Some("7b")).unwrap().page(vec!["a", "b", "c"], |item| (*item).to_owned());
        assert_eq!((page.items.as_slice(), page.total), (["a", "b"].as_slice(), None));
        let second = request(&page.next, Some("7b")).unwrap();
        assert_eq!(second.after.as_deref(), Some("b"));
        assert_eq!(second.page(vec!["c"], |item| (*item).to_owned()).next, "");
        for other in [None, Some(""), Some("7")] {
            assert_eq!(request(&page.next, other), Err(ErrorReason::PageTokenInvalid));
        }
    }

    /// Whoever pages while the server is exchanged for a newer one goes on where they were.
    #[test]
    fn tokens_have_a_form_of_their_own() {
        let page = request("", Some("7b")).unwrap().page(vec!["a", "b", "c"], |item| (*item).to_owned());
        assert_eq!(page.next, "4893137dddbb2e7962");
    }

    #[test]
    fn what_is_counted_ends_somewhere() {
        assert_eq!(Total::counted(COUNTED), Total { items: COUNTED, exact: true });
        assert_eq!(Total::counted(COUNTED + 1), Total { items: COUNTED, exact: false });
    }

    proptest! {
        #[test]
        fn any_token_is_read_or_refused(token: String, size: u32) {
            let _ = PageRequest::<SightingPosition>::new(size, &token, false, ListName::new("x"));
            let _ = PageRequest::<DevicePosition>::new(size, &token, false, ListName::new("x"));
        }
    }
}
