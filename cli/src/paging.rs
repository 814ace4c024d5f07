//! Lists that come in pages.

use crate::error::CliError;

/// As many as the server gives at once.
const MAX_PAGE: u32 = 1000;
/// A page may be empty where everything on it was filtered out, but not for ever.
const MAX_EMPTY_PAGES: u32 = 100;

/// How much of a list is wanted.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Extent {
    /// At most so many entries.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// All entries.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// One page.
pub struct Page<T> {
    /// Its entries.
    pub items: Vec<T>,
    /// Where the next page begins; empty on the last one.
    pub next: String,
    /// Entries on all pages.
    pub total: u64,
}

/// What was wanted of a list.
#[derive(Debug)]
pub struct Listing<T> {
    /// Its entries.
    pub items: Vec<T>,
    /// How many there are on the server.
    pub total: u64,
}

impl<T> Listing<T> {
    /// Says that there is more, where there is.
    #[must_use]
    pub fn remark(&self, what: &str) -> Option<String> {
        let shown = self.items.len() as u64;
        match self.total {
            0 if shown == 0 => Some(format!("no {what}")),
            total if total > shown => {
                Some(format!("{shown} of {total} {what}; --limit N or --all shows more"))
            }
            _ => None,
        }
    }
}

/// Fetches pages until there is enough. `fetch` is given the page size and the page token.
///
/// # Errors
/// Those of `fetch`, and a server that goes in circles.
pub async fn collect<T>(
    extent: Extent,
    mut fetch: impl AsyncFnMut(u32, String) -> Result<Page<T>, CliError>,
) -> Result<Listing<T>, CliError> {
    let limit = if extent.all { usize::MAX } else { usize::try_from(extent.limit).unwrap_or(usize::MAX) };
    let mut items = Vec::new();
    let (mut token, mut empty) = (String::new(), 0);
    loop {
        let wanted = u32::try_from(limit - items.len()).unwrap_or(MAX_PAGE).min(MAX_PAGE);
        let page = fetch(wanted, token.clone()).await?;
        empty = if page.items.is_empty() { empty + 1 } else { 0 };
        items.extend(page.items);
        items.truncate(limit);
        if page.next.is_empty() || items.len() == limit {
            let total = page.total.max(items.len() as u64);
            return Ok(Listing { items, total });
        }
        if page.next == token || empty > MAX_EMPTY_PAGES {
            return Err(CliError::protocol("the server's list does not end: its pages go in circles"));
        }
        token = page.next;
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    const ALL: Extent = Extent { limit: 50, all: true };

    fn limit(limit: u64) -> Extent {
        Extent { limit, all: false }
    }

    /// A server with 2,500 entries. The token is the number of the next entry.
    fn page(size: u32, token: &str) -> Page<u64> {
        let start: u64 = if token.is_empty() { 0 } else { token.parse().unwrap() };
        let end = (start + u64::from(size)).min(2500);
        let next = if end == 2500 { String::new() } else { end.to_string() };
        Page { items: (start..end).collect(), next, total: 2500 }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn pages_follow_each_other_up_to_the_limit() {
        for (extent, count) in [(ALL, 2500), (limit(1), 1), (limit(1001), 1001), (limit(9000), 2500)] {
            let listing =
                run(collect(extent, async |size, token| ready(Ok(page(size, &token))).await)).unwrap();
            assert_eq!(listing.items, (0..count).collect::<Vec<_>>());
            assert_eq!(listing.total, 2500);
        }
    }

    #[test]
    fn a_list_in_circles_is_an_error() {
        for next in [|_: &str| "again".to_owned(), |token: &str| format!("{token}x")] {
            let circle = run(collect(ALL, async |_, token: String| {
                Ok(Page { items: Vec::<u8>::new(), next: next(&token), total: 1 })
            }));
            assert_eq!(circle.unwrap_err().reason(), "PROTOCOL_VIOLATION");
        }
    }

    #[test]
    fn more_than_was_asked_for_is_cut() {
        let listing = run(collect(limit(2), async |_, _| {
            Ok(Page { items: vec![1, 2, 3], next: String::new(), total: 3 })
        }))
        .unwrap();
        assert_eq!(listing.items, [1, 2]);
        assert_eq!(listing.remark("things").unwrap(), "2 of 3 things; --limit N or --all shows more");
    }
}
