use std::{fmt::Display, str::FromStr};

use cavs_proto::ErrorReason;
use ring::digest::{SHA256, digest};

const DEFAULT_SIZE: u32 = 50;
const LARGEST_SIZE: u32 = 1000;

/// A part of a list that a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<K> {
    /// Most items.
    pub size: u32,
    /// The key of the last page's last item; `None` for the first page.
    pub after: Option<K>,
    list: [u8; 8],
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Asks for what follows; empty at the end.
    pub next: PageToken,
    /// Items of the whole list.
    pub total: u64,
}

/// An opaque token: which list, and after which item.
pub type PageToken = String;

impl<K: FromStr + Display> PageRequest<K> {
    /// Reads a request's `page_size` (0 means 50, at most 1000) and `page_token`. `list` says all
    /// that the list depends on (method and filters): a token of another list is refused.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID`.
    pub fn new(size: u32, token: &str, list: &str) -> Result<Self, ErrorReason> {
        let size = if size == 0 { DEFAULT_SIZE } else { size.min(LARGEST_SIZE) };
        let list = *digest(&SHA256, list.as_bytes()).as_ref().first_chunk().ok_or(ErrorReason::Internal)?;
        let after = if token.is_empty() {
            None
        } else {
            let key = decode(token, list).and_then(|key| key.parse().ok());
            Some(key.ok_or(ErrorReason::PageTokenInvalid)?)
        };
        Ok(Self { size, after, list })
    }

    /// Makes a page of up to `size + 1` items: the one too many says that more follow.
    pub fn page<T>(&self, mut items: Vec<T>, total: u64, key: impl Fn(&T) -> K) -> Page<T> {
        let more = items.len() > self.size as usize;
        items.truncate(self.size as usize);
        let next = match items.last() {
            Some(last) if more => self.encode(&key(last).to_string()),
            _ => String::new(),
        };
        Page { items, next, total }
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
    use crate::domain::SightingPosition;

    #[test]
    fn tokens_continue_their_own_list_only() {
        let first = PageRequest::<String>::new(2, "", "students/7b").unwrap();
        let page = first.page(vec!["a", "b", "c"], 3, |item| (*item).to_owned());
        assert_eq!((page.items.as_slice(), page.total), (["a", "b"].as_slice(), 3));
        let second = PageRequest::<String>::new(2, &page.next, "students/7b").unwrap();
        assert_eq!(second.after.as_deref(), Some("b"));
        assert_eq!(second.page(vec!["c"], 3, |item| (*item).to_owned()).next, "");
        assert_eq!(
            PageRequest::<String>::new(2, &page.next, "students/"),
            Err(ErrorReason::PageTokenInvalid)
        );
    }

    proptest! {
        #[test]
        fn any_token_is_read_or_refused(token: String, size: u32) {
            let _ = PageRequest::<SightingPosition>::new(size, &token, "x");
        }
    }
}
