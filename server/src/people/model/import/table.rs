//! Tables as text: how it is encoded, what parts its fields, and on which line a row begins.

use csv::{ReaderBuilder, StringRecord};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::{ImportOptions, ImportProblem, MOST_ROWS, Place, Unreadable};

/// What spreadsheets part fields by.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];
/// Longest line, in bytes: what bounds the cells of a row.
const LONGEST_LINE: usize = 64 << 10;
/// Most columns that are told as meaning nothing.
const MOST_IGNORED: usize = 50;
/// Most columns.
const MOST_COLUMNS: usize = 1000;

/// A table with a header.
#[derive(Debug)]
pub(crate) struct Table {
    /// As they are written.
    pub(crate) header: Vec<String>,
    /// Each has as many cells as the header.
    pub(crate) rows: Vec<(Place, StringRecord)>,
    /// Rows that have another number of cells.
    pub(crate) problems: Vec<ImportProblem>,
}

impl Table {
    /// Reads a file, of which `file` is the name in a bundle.
    pub(crate) fn read(file: &'static str, data: &[u8], options: &ImportOptions) -> Result<Self, Unreadable> {
        let named = |problem: &str| {
            let of = if file.is_empty() { "the file" } else { file };
            Unreadable(format!("{of}: {problem}"))
        };
        let text = decoded(data, options.encoding).map_err(|problem| named(&problem))?;
        // Spreadsheets say so what they part fields by.
        let (said, text) = match text.split_once(['\r', '\n']) {
            Some((first, rest)) if first.starts_with("sep=") && first.len() == 5 => {
                (first.as_bytes().last().copied(), rest.strip_prefix('\n').unwrap_or(rest))
            }
            _ => (None, text.as_str()),
        };
        if text.split(['\r', '\n']).any(|line| line.len() > LONGEST_LINE) {
            return Err(named(&format!("has a line of more than {LONGEST_LINE} bytes: is it a table?")));
        }
        let skipped = u64::from(said.is_some());
        let delimiter = options.delimiter.or(said).unwrap_or_else(|| delimiter(text));
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(text.as_bytes());
        let mut records = reader.records();
        let header: Vec<String> = match records.next() {
            None => return Err(named("is empty: the first line must name the columns")),
            Some(header) => {
                header.map_err(|error| named(&error.to_string()))?.iter().map(str::to_owned).collect()
            }
        };
        if header.len() > MOST_COLUMNS {
            return Err(named(&format!("has more than {MOST_COLUMNS} columns")));
        }
        let (mut rows, mut problems) = (Vec::new(), Vec::new());
        let mut lines = Lines { text: text.as_bytes(), counted: 0, line: 1 };
        for record in records {
            let record = record.map_err(|error| named(&error.to_string()))?;
            let place = Place { file, line: lines.of(&record) + skipped };
            if record.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            if rows.len() + problems.len() >= MOST_ROWS {
                return Err(named(&format!("has more than {MOST_ROWS} rows")));
            }
            if record.len() == header.len() {
                rows.push((place, record));
            } else {
                let message = format!(
                    "has {} cells, the header has {}: is there a {:?} too many or too few, or a quote that is not closed?",
                    record.len(),
                    header.len(),
                    char::from(delimiter)
                );
                problems.push(ImportProblem::new(&place, None, message));
            }
        }
        Ok(Self { header, rows, problems })
    }

    /// The headers of columns that mean nothing, the first 50 of them.
    pub(crate) fn ignored(&self, is_known: impl Fn(&str) -> bool) -> Vec<String> {
        let headers = self.header.iter().map(|header| header.trim()).filter(|header| !is_known(header));
        headers.take(MOST_IGNORED).map(|header| header.chars().take(64).collect()).collect()
    }

    /// Where a column is, by its name in a bundle.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| column.trim().eq_ignore_ascii_case(name))
    }
}

/// Counts lines, from 1: for the reader, a record begins with the empty lines before it.
struct Lines<'a> {
    text: &'a [u8],
    counted: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of a record; records come in order.
    fn of(&mut self, record: &StringRecord) -> u64 {
        let mut begins =
            record.position().map_or(0, |position| position.byte() as usize).min(self.text.len());
        while matches!(self.text.get(begins), Some(b'\r' | b'\n')) {
            begins += 1;
        }
        while self.counted < begins {
            let ends = match self.text[self.counted] {
                b'\n' => true,
                // Of a line that ends with both, the other one ends it.
                b'\r' => self.text.get(self.counted + 1) != Some(&b'\n'),
                _ => false,
            };
            self.line += u64::from(ends);
            self.counted += 1;
        }
        self.line
    }
}

/// The text of a file.
fn decoded(data: &[u8], encoding: Option<&'static Encoding>) -> Result<String, String> {
    let (encoding, begins) = match Encoding::for_bom(data) {
        Some((marked, length)) => (marked, length),
        None => (encoding.unwrap_or(UTF_8), 0),
    };
    let (text, malformed) = encoding.decode_without_bom_handling(&data[begins..]);
    if !malformed {
        return Ok(text.into_owned());
    }
    Err(match encoding == UTF_8 {
        true => "is no UTF-8: save it as \"CSV UTF-8\", or say how it is encoded (latin1, windows-1252, ...)"
            .to_owned(),
        false => format!("is no {}", encoding.name()),
    })
    .map_err(|problem: String| {
        let is_wide = encoding != UTF_16LE && encoding != UTF_16BE && data.contains(&0);
        if is_wide { format!("{problem}; it looks like UTF-16, or like no text at all") } else { problem }
    })
}

/// What the header has most of, outside of quotes; a comma where it has none.
fn delimiter(text: &str) -> u8 {
    let mut counts = [0_usize; DELIMITERS.len()];
    let mut quoted = false;
    for byte in text.bytes() {
        match byte {
            b'"' => quoted = !quoted,
            b'\r' | b'\n' if !quoted => break,
            _ if quoted => {}
            _ => {
                if let Some(index) = DELIMITERS.iter().position(|delimiter| *delimiter == byte) {
                    counts[index] += 1;
                }
            }
        }
    }
    // Of equal ones the first.
    let most = counts.iter().copied().max().unwrap_or_default();
    counts.iter().position(|count| *count == most).map_or(b',', |index| DELIMITERS[index])
}

#[cfg(test)]
mod tests {
    use cavs_types::ImportFormat;
    use proptest::prelude::*;

    use super::*;

    fn options() -> ImportOptions {
        ImportOptions::new(ImportFormat::Csv, "", "").unwrap()
    }

    fn read(data: &[u8]) -> Vec<Vec<String>> {
        let table = Table::read("", data, &options()).unwrap();
        let cells = |(_, record): &(Place, StringRecord)| record.iter().map(str::to_owned).collect();
        std::iter::once(table.header.clone()).chain(table.rows.iter().map(cells)).collect()
    }

    #[test]
    fn tables_are_read_as_spreadsheets_write_them() {
        let expected = [["number", "name"], ["007", "Zo\u{eb}; \"Z\"\nHopper"]];
        let rows = "number;name\r\n007;\"Zo\u{eb}; \"\"Z\"\"\nHopper\"\r\n;\r\n";
        assert_eq!(read(rows.as_bytes()), expected);
        assert_eq!(read(format!("\u{feff}{rows}").as_bytes()), expected);
        assert_eq!(read(format!("sep=;\r\n{rows}").as_bytes()), expected);
        assert_eq!(read(rows.replacen(';', "\t", 2).replace("\r\n;", "\r\n\t").as_bytes()), expected);
        let wide: Vec<u8> = format!("\u{feff}{rows}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read(&wide), expected);
        let latin = encoding_rs::WINDOWS_1252.encode(rows).0.into_owned();
        let said = Table::read("", &latin, &options()).unwrap_err().to_string();
        assert!(said.contains("is no UTF-8") && said.contains("latin1"), "{said}");
        let named = ImportOptions::new(ImportFormat::Csv, "latin1", "").unwrap();
        assert_eq!(Table::read("", &latin, &named).unwrap().rows[0].1.get(1), Some(expected[1][1]));
    }

    #[test]
    fn rows_know_their_lines() {
        let table = Table::read("", b"a,b\n1,\"x\ny\"\n\n2\n3,z\n", &options()).unwrap();
        let lines: Vec<_> = table.rows.iter().map(|(place, _)| place.line).collect();
        assert_eq!(lines, [2, 6]);
        assert_eq!(table.problems[0].place.line, 5);
        assert!(
            table.problems[0].message.starts_with("has 1 cells, the header has 2"),
            "{:?}",
            table.problems
        );
        assert!(Table::read("", b"", &options()).is_err());
    }

    #[test]
    fn what_parts_fields_is_found_in_the_header() {
        for (header, expected) in
            [("a,b;c,d", b','), ("\"a,b\";c", b';'), ("a\tb,c\td", b'\t'), ("a", b','), ("", b',')]
        {
            assert_eq!(delimiter(header), expected, "{header}");
        }
        assert_eq!(ImportOptions::new(ImportFormat::Csv, "", "|").unwrap().delimiter, Some(b'|'));
        assert!(ImportOptions::new(ImportFormat::Csv, "", "::").is_err());
        assert!(ImportOptions::new(ImportFormat::Csv, "", "\"").is_err());
        assert!(ImportOptions::new(ImportFormat::Csv, "klingon", "").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(table) = Table::read("", &data, &options()) {
                prop_assert!(table.rows.iter().all(|(_, record)| record.len() == table.header.len()));
            }
        }
    }
}
