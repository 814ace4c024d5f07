//! Finds rows in the pages of a damaged SQLite database (format: <https://sqlite.org/fileformat2.html>).
//!
//! Every page of the file and of its journal is looked at by itself, so damage to one costs the
//! rows on that page only, even where the damaged page is the root of everything. What is found may
//! be old, or nonsense: the caller knows genuine rows by their encryption.

use std::{collections::HashMap, fs::File, os::unix::fs::FileExt};

use super::format::{PAGE_BYTES, SIGHTING_COLUMNS, SealedRow, unsigned};
use crate::sighting::SightingKey;

/// Bytes before the first page of a journal, and before each of its pages.
const JOURNAL_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// Bytes of the database's header, on its first page.
const FILE_HEADER: usize = 100;

/// First byte of a page that holds rows of a table.
const TABLE_LEAF: u8 = 0x0D;

/// Longest row that is believed, in bytes: servers take 128 KiB of evidence.
const MAX_ROW: usize = 1 << 20;

/// Goes through a database and its journal, newest pages first.
pub(super) struct Carver {
    store: PageStore,
    /// Places of pages that are still to be looked at, last one first.
    locations: Vec<PageLocation>,
    rows: Vec<SealedRow>,
}

#[derive(Debug, Clone, Copy)]
enum PageLocation {
    Journal(u64),
    Database(u64),
}

struct PageStore {
    database: File,
    journal: Option<File>,
    /// Where the journal has the newest version of a page.
    newest: HashMap<u32, u64>,
}

impl Carver {
    pub(super) fn new(database: File, journal: Option<File>) -> Self {
        let mut store = PageStore { database, journal, newest: HashMap::new() };
        let pages = store.database.metadata().map_or(0, |m| m.len().div_ceil(PAGE_BYTES as u64));
        let mut locations: Vec<_> =
            (0..pages).map(|page| PageLocation::Database(page * PAGE_BYTES as u64)).collect();
        locations.extend(store.read_journal().into_iter().map(PageLocation::Journal));
        Self { store, locations, rows: Vec::new() }
    }
}

impl Iterator for Carver {
    type Item = SealedRow;

    fn next(&mut self) -> Option<SealedRow> {
        loop {
            if let Some(row) = self.rows.pop() {
                return Some(row);
            }
            let location = self.locations.pop()?;
            let Some(page) = self.store.page_at(location) else { continue };
            let first = matches!(location, PageLocation::Database(0));
            self.rows = rows(&page, if first { FILE_HEADER } else { 0 }, &self.store);
        }
    }
}

impl PageStore {
    /// Places of the journal's pages, oldest first.
    fn read_journal(&mut self) -> Vec<u64> {
        let Some(journal) = &self.journal else { return Vec::new() };
        let length = journal.metadata().map_or(0, |metadata| metadata.len());
        let frame = FRAME_HEADER + PAGE_BYTES as u64;
        let mut locations = Vec::new();
        let mut at = JOURNAL_HEADER;
        while at + frame <= length {
            let mut number = [0; 4];
            if journal.read_exact_at(&mut number, at).is_ok() {
                self.newest.insert(u32::from_be_bytes(number), at + FRAME_HEADER);
                locations.push(at + FRAME_HEADER);
            }
            at += frame;
        }
        locations
    }

    fn page_at(&self, location: PageLocation) -> Option<Vec<u8>> {
        let mut page = vec![0; PAGE_BYTES];
        match location {
            PageLocation::Journal(at) => self.journal.as_ref()?.read_exact_at(&mut page, at).ok()?,
            // The last page of a file that was cut off may be incomplete; its rows may not.
            PageLocation::Database(at) => {
                let mut filled = 0;
                while filled < PAGE_BYTES {
                    match self.database.read_at(&mut page[filled..], at + filled as u64) {
                        Ok(0) | Err(_) => break,
                        Ok(count) => filled += count,
                    }
                }
            }
        }
        Some(page)
    }

    /// A page by its number, which counts from 1.
    fn page(&self, number: u32) -> Option<Vec<u8>> {
        let location = match self.newest.get(&number) {
            Some(at) => PageLocation::Journal(*at),
            None => PageLocation::Database(u64::from(number.checked_sub(1)?) * PAGE_BYTES as u64),
        };
        self.page_at(location)
    }
}

fn rows(page: &[u8], header: usize, store: &PageStore) -> Vec<SealedRow> {
    if page.get(header) != Some(&TABLE_LEAF) {
        return Vec::new();
    }
    let count = usize::from(u16_at(page, header + 3).unwrap_or(0));
    let cell = |index: usize| u16_at(page, header + 8 + 2 * index).map(usize::from);
    (0..count.min(PAGE_BYTES / 4)).filter_map(|index| row(page, cell(index)?, store)).collect()
}

fn row(page: &[u8], at: usize, store: &PageStore) -> Option<SealedRow> {
    let mut rest = page.get(at..)?;
    let length = usize::try_from(varint(&mut rest)?).ok().filter(|length| *length <= MAX_ROW)?;
    let _rowid = varint(&mut rest)?;
    let payload = payload(rest, length, store)?;
    record(&payload)
}

/// The whole payload of a cell, with what overflowed into other pages.
fn payload(rest: &[u8], length: usize, store: &PageStore) -> Option<Vec<u8>> {
    const USABLE: usize = PAGE_BYTES;
    const MOST: usize = USABLE - 35;
    const LEAST: usize = (USABLE - 12) * 32 / 255 - 23;
    if length <= MOST {
        return rest.get(..length).map(<[u8]>::to_vec);
    }
    let wanted = LEAST + (length - LEAST) % (USABLE - 4);
    let local = if wanted <= MOST { wanted } else { LEAST };
    let mut payload = rest.get(..local)?.to_vec();
    let mut next = u32_at(rest, local)?;
    while payload.len() < length {
        // Zero ends a chain; every page brings the end nearer, so a circle ends too.
        let Some(page) = (next != 0).then(|| store.page(next)).flatten() else {
            // What comes last is the evidence: the rest of the row may be whole without it.
            payload.resize(length, 0);
            break;
        };
        next = u32_at(&page, 0)?;
        let missing = (length - payload.len()).min(USABLE - 4);
        payload.extend_from_slice(page.get(4..4 + missing)?);
    }
    Some(payload)
}

/// A row of `sightings`, if the record could be one.
fn record(payload: &[u8]) -> Option<SealedRow> {
    let mut header = payload;
    let header_length = usize::try_from(varint(&mut header)?).ok()?;
    let consumed = payload.len() - header.len();
    let mut header = payload.get(consumed..header_length)?;
    let mut values = payload.get(header_length..)?;
    let mut columns = Vec::with_capacity(SIGHTING_COLUMNS);
    while !header.is_empty() {
        if columns.len() == SIGHTING_COLUMNS {
            return None;
        }
        columns.push(value(varint(&mut header)?, &mut values)?);
    }
    let [epoch, sequence, quality, repeat, stored_at, body, evidence] = columns.try_into().ok()?;
    Some(SealedRow {
        key: SightingKey { boot_epoch: unsigned(epoch.number()?), sequence: unsigned(sequence.number()?) },
        quality: u8::try_from(quality.number()?).unwrap_or(100),
        repeat: repeat.number()? == 1,
        stored_at: stored_at.number(),
        body: body.blob()?,
        evidence: evidence.blob(),
    })
}

enum Value {
    Null,
    Number(i64),
    Blob(Vec<u8>),
}

impl Value {
    fn number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    fn blob(self) -> Option<Vec<u8>> {
        if let Self::Blob(bytes) = self { Some(bytes) } else { None }
    }
}

/// A column's value; `None` for types that `sightings` has nowhere.
fn value(kind: u64, values: &mut &[u8]) -> Option<Value> {
    let length = match kind {
        0 => return Some(Value::Null),
        8 => return Some(Value::Number(0)),
        9 => return Some(Value::Number(1)),
        1..=4 => kind as usize,
        5 => 6,
        6 => 8,
        even if even >= 12 && even % 2 == 0 => usize::try_from((even - 12) / 2).ok()?,
        _ => return None,
    };
    let (bytes, rest) = values.split_at_checked(length)?;
    *values = rest;
    if kind >= 12 {
        return Some(Value::Blob(bytes.to_vec()));
    }
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1 } else { 0 };
    Some(Value::Number(bytes.iter().fold(start, |number, byte| number << 8 | i64::from(*byte))))
}

/// SQLite's variable-length integer: seven bits a byte, most significant first, nine bytes at most.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for index in 0..9 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if index == 8 {
            return Some(value << 8 | u64::from(*byte));
        }
        value = value << 7 | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(value)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
