//! Lists that come in pages.

use crate::{
    error::CliError,
    list::{List, ListWriter, Total},
    printer::Printer,
};

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

/// What is asked of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// At most so many entries.
    pub size: u32,
    /// Where to go on; empty at the beginning.
    pub token: String,
    /// Whether all entries are to be counted.
    pub with_total: bool,
}

/// One page.
pub struct Page<T> {
    /// Its entries.
    pub items: Vec<T>,
    /// Where the next page begins; empty on the last one.
    pub next: String,
    /// Entries on all pages, where it was asked.
    pub total: u64,
    /// There are no more than `total`.
    pub total_exact: bool,
}

/// Fetches pages until there is enough, and writes each as it comes.
///
/// # Errors
/// Those of `fetch`, and a server that goes in circles.
pub async fn list<L: List, T: Into<L::Entry>>(
    extent: Extent,
    printer: &Printer,
    fetch: impl AsyncFnMut(PageQuery) -> Result<Page<T>, CliError>,
) -> Result<(), CliError> {
    let mut writer = ListWriter::<L>::new(printer);
    let write = |items: Vec<T>| writer.page(&items.into_iter().map(Into::into).collect::<Vec<L::Entry>>());
    match pages(extent, fetch, write).await? {
        Some(total) => writer.end(total),
        None => Ok(()),
    }
}

/// Hands pages to `take` until it or the extent has enough; how long the list is, and `None` where `take` did
/// not want all.
async fn pages<T>(
    extent: Extent,
    mut fetch: impl AsyncFnMut(PageQuery) -> Result<Page<T>, CliError>,
    mut take: impl FnMut(Vec<T>) -> Result<bool, CliError>,
) -> Result<Option<Total>, CliError> {
    let limit = if extent.all { u64::MAX } else { extent.limit };
    let mut counted = Total { entries: 0, exact: false };
    let (mut shown, mut token, mut empty) = (0, String::new(), 0);
    loop {
        let size = u32::try_from(limit - shown).unwrap_or(MAX_PAGE).min(MAX_PAGE);
        // Whoever wants all of it need not be told how much there is.
        let with_total = token.is_empty() && !extent.all;
        let mut page = fetch(PageQuery { size, token: token.clone(), with_total }).await?;
        if with_total {
            counted = Total { entries: page.total, exact: page.total_exact };
        }
        empty = if page.items.is_empty() { empty + 1 } else { 0 };
        let more = page.items.len() as u64 > limit - shown;
        page.items.truncate(usize::try_from(limit - shown).unwrap_or(usize::MAX));
        shown += page.items.len() as u64;
        if !take(page.items)? {
            return Ok(None);
        }
        if page.next.is_empty() && !more {
            return Ok(Some(Total { entries: shown, exact: true }));
        }
        if shown == limit {
            return Ok(Some(Total { entries: counted.entries.max(shown), ..counted }));
        }
        if page.next == token || empty > MAX_EMPTY_PAGES {
            return Err(CliError::protocol("the server's list does not end: its pages go in circles"));
        }
        token = page.next;
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::ready};

    use super::*;

    const ALL: Extent = Extent { limit: 50, all: true };

    fn limit(limit: u64) -> Extent {
        Extent { limit, all: false }
    }

    /// A server with 2,500 entries. The token is the number of the next entry.
    fn page(query: &PageQuery) -> Page<u64> {
        let start: u64 = if query.token.is_empty() { 0 } else { query.token.parse().unwrap() };
        let end = (start + u64::from(query.size)).min(2500);
        let next = if end == 2500 { String::new() } else { end.to_string() };
        let total = if query.with_total { 2500 } else { 0 };
        Page { items: (start..end).collect(), next, total, total_exact: query.with_total }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn pages_follow_each_other_up_to_the_limit() {
        for (extent, count) in [(ALL, 2500), (limit(1), 1), (limit(1001), 1001), (limit(9000), 2500)] {
            let mut items = Vec::new();
            let total = run(pages(
                extent,
                async |query| ready(Ok(page(&query))).await,
                |more| {
                    items.extend(more);
                    Ok(true)
                },
            ));
            assert_eq!(items, (0..count).collect::<Vec<_>>());
            assert_eq!(total.unwrap(), Some(Total { entries: 2500, exact: true }));
        }
    }

    #[test]
    fn each_page_is_handed_on_before_the_next_is_asked_for() {
        let log = RefCell::new(Vec::new());
        let fetch = async |query: PageQuery| {
            log.borrow_mut().push(format!("{} {}", query.size, query.with_total));
            ready(Ok(page(&query))).await
        };
        let take = |items: Vec<u64>| {
            log.borrow_mut().push(format!("took {}", items.len()));
            Ok(true)
        };
        run(pages(ALL, &fetch, take)).unwrap();
        assert_eq!(
            log.take(),
            ["1000 false", "took 1000", "1000 false", "took 1000", "1000 false", "took 500"]
        );
        // Only where not all is shown somebody has to count, and once.
        run(pages(limit(1001), &fetch, take)).unwrap();
        assert_eq!(log.take(), ["1000 true", "took 1000", "1 false", "took 1"]);
        // A reader that has seen enough.
        assert_eq!(run(pages(ALL, &fetch, |_| Ok(false))).unwrap(), None);
        assert_eq!(log.take(), ["1000 false"]);
    }

    #[test]
    fn a_list_in_circles_is_an_error() {
        for next in [|_: &str| "again".to_owned(), |token: &str| format!("{token}x")] {
            let circle = async |query: PageQuery| {
                Ok(Page { items: Vec::<u8>::new(), next: next(&query.token), total: 1, total_exact: true })
            };
            let error = run(pages(ALL, circle, |_| Ok(true))).unwrap_err();
            assert_eq!(error.reason(), "PROTOCOL_VIOLATION");
        }
    }

    #[test]
    fn more_than_was_asked_for_is_cut() {
        let three = async |_: PageQuery| {
            Ok(Page { items: vec![1, 2, 3], next: String::new(), total: 3, total_exact: true })
        };
        let mut items = Vec::new();
        let total = run(pages(limit(2), three, |more| {
            items.extend(more);
            Ok(true)
        }));
        assert_eq!((items, total.unwrap()), (vec![1, 2], Some(Total { entries: 3, exact: true })));
    }
}
