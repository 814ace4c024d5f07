use cavs_reports::csv_line;
use csv::Terminator;
use serde::Serialize;
use serde_json::Value;

use super::{Format, OutputArgs, tree::Tree};
use crate::{
    error::CliError,
    printer::{Report, Style},
    text::{is_harmless_document, sanitised_json, uncontrolled},
    view::table_of,
};

/// A record of which fields are taken by name.
pub(crate) struct Record(Tree);

/// Where a column's values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Column {
    /// From the cell at this place in the table's row.
    Cell(usize),
    /// From the field at this path.
    Field(String),
}

impl Record {
    pub(crate) fn of(value: &impl Serialize) -> Result<Self, CliError> {
        Tree::of(value).map(Self)
    }

    /// The fields of this name as a record of their own; `cells` are the texts of the table's row.
    pub(crate) fn pick(&self, names: &[String], columns: &[Column], cells: &[String]) -> Self {
        let value = |column: &Column| match column {
            Column::Cell(index) => Tree::Scalar(cells.get(*index).cloned().unwrap_or_default().into()),
            Column::Field(path) => self.0.at(path).cloned().unwrap_or(Tree::Scalar(Value::Null)),
        };
        Self(Tree::Map(names.iter().cloned().zip(columns.iter().map(value)).collect()))
    }

    /// The text of a field; empty where there is none.
    pub(crate) fn cell(&self, path: &str) -> String {
        self.0.at(path).map(Tree::cell).unwrap_or_default()
    }

    /// One line of JSON.
    pub(crate) fn line(&self) -> String {
        self.0.line()
    }

    /// JSON over several lines.
    pub(crate) fn document(&self) -> Result<String, CliError> {
        document(&self.0)
    }
}

/// The name of a table's column for `--columns` and CSV: `last_seen` of LAST SEEN.
pub(crate) fn column_name(header: &str) -> String {
    header.to_lowercase().replace([' ', '-'], "_")
}

/// Finds the columns of these names among those of a table and the fields of its entries. A name that both have is
/// the cell's for people and spreadsheets, and the field's for programs.
pub(crate) fn resolve(
    names: &[String],
    header: &[&str],
    format: Format,
    entries: &[Record],
) -> Result<Vec<Column>, CliError> {
    names
        .iter()
        .map(|name| {
            let cell = header.iter().position(|title| column_name(title) == *name).map(Column::Cell);
            let has = |entry: &Record| entry.0.at(name).is_some();
            let field = entries.iter().any(has).then(|| Column::Field(name.clone()));
            let found = if format.is_structured() { field.or(cell) } else { cell.or(field) };
            found.ok_or_else(|| unknown(name, header, entries))
        })
        .collect()
}

fn unknown(name: &str, header: &[&str], entries: &[Record]) -> CliError {
    let mut known: Vec<String> = header.iter().map(|title| column_name(title)).collect();
    for path in paths(entries) {
        if !known.contains(&path) {
            known.push(path);
        }
    }
    CliError::usage(format!("--columns: there is no {name:?}; there are {}", known.join(", ")))
}

/// The paths of all entries' fields, each once, in the order in which they come.
fn paths(entries: &[Record]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for entry in entries {
        for path in entry.0.paths() {
            if !all.contains(&path) {
                all.push(path);
            }
        }
    }
    // Null in one entry and a map in another: the map's fields stand for both.
    let is_map = |path: &String| {
        all.iter().any(|other| other.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.')))
    };
    let maps: Vec<String> = all.iter().filter(|path| is_map(path)).cloned().collect();
    all.retain(|path| !maps.contains(path));
    all
}

/// The columns of a result that has no table of its own rows: those asked for, or all fields.
fn columns_of(output: &OutputArgs, entries: &[Record]) -> Result<Vec<String>, CliError> {
    if output.columns.is_empty() {
        return Ok(paths(entries));
    }
    if !entries.is_empty() {
        resolve(&output.columns, &[], output.output, entries)?;
    }
    Ok(output.columns.clone())
}

/// A line of CSV for programs.
pub(crate) fn csv_row(cells: impl IntoIterator<Item = String>) -> Result<String, CliError> {
    Ok(csv_line(cells.into_iter().map(uncontrolled), Terminator::Any(b'\n'))?)
}

/// A result as text, without a line break at its end.
pub(crate) fn render<R: Report>(report: &R, output: &OutputArgs, style: &Style) -> Result<String, CliError> {
    let format = output.output;
    if output.columns.is_empty() {
        match format {
            Format::Table => return Ok(report.table(style)),
            Format::Json => return document(report),
            Format::Yaml => return yaml(&Tree::of(report)?),
            Format::Jsonl | Format::Csv => {}
        }
    }
    let mut whole = Tree::of(report)?;
    let records = match R::ROWS.map(|field| whole.take(field)) {
        Some(Some(Tree::List(entries))) => entries.into_iter().map(Record).collect(),
        Some(_) => return Err(CliError::failure("OUTPUT", "a list has no entries")),
        None => vec![Record(whole)],
    };
    let names = columns_of(output, &records)?;
    let rows = records.iter().map(|record| names.iter().map(|name| record.cell(name)).collect::<Vec<_>>());
    let picked = |record: &Record| match output.columns.as_slice() {
        [] => record.0.clone(),
        chosen => record.pick(chosen, &chosen.iter().cloned().map(Column::Field).collect::<Vec<_>>(), &[]).0,
    };
    match format {
        Format::Table => Ok(table_of(style, &names, rows.collect())),
        Format::Csv => {
            let header = (!output.no_header && !names.is_empty()).then(|| names.clone());
            let lines: String = header.into_iter().chain(rows).map(csv_row).collect::<Result<_, _>>()?;
            Ok(lines.strip_suffix('\n').unwrap_or(&lines).to_owned())
        }
        Format::Jsonl => {
            Ok(records.iter().map(|record| picked(record).line()).collect::<Vec<_>>().join("\n"))
        }
        Format::Json | Format::Yaml => {
            let mut picked: Vec<Tree> = records.iter().map(picked).collect();
            let tree = match (R::ROWS, picked.pop()) {
                (None, Some(only)) => only,
                (None, None) => Tree::Map(Vec::new()),
                (Some(field), last) => {
                    picked.extend(last);
                    Tree::Map(vec![(field.to_owned(), Tree::List(picked))])
                }
            };
            if format == Format::Json { document(&tree) } else { yaml(&tree) }
        }
    }
}

/// Entries as the YAML of a sequence, each beginning with `- `.
pub(crate) fn sequence(entries: &[Record]) -> Result<String, CliError> {
    let trees: Vec<&Tree> = entries.iter().map(|entry| &entry.0).collect();
    let text = yaml_text(&trees)?;
    if is_harmless_document(&text) {
        return Ok(text);
    }
    Ok(entries.iter().map(|entry| format!("- {}\n", entry.line())).collect())
}

/// A YAML document without a line break at its end. JSON is YAML, too, and escapes what a terminal would act upon.
fn yaml(tree: &Tree) -> Result<String, CliError> {
    let text = yaml_text(tree)?;
    Ok(if is_harmless_document(&text) { text.trim_end_matches('\n').to_owned() } else { tree.line() })
}

fn yaml_text(value: &impl Serialize) -> Result<String, CliError> {
    // Long texts stay in their line: folded ones are hard to search for.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options)
        .map_err(|error| CliError::failure("OUTPUT", format!("YAML: {error}")))
}

fn document(value: &impl Serialize) -> Result<String, CliError> {
    let document = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::failure("OUTPUT", format!("JSON: {error}")))?;
    Ok(sanitised_json(&document).into_owned())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[derive(Serialize)]
    struct Things {
        things: Vec<Thing>,
    }

    #[derive(Serialize)]
    struct Thing {
        name: &'static str,
        place: Option<Place>,
        tags: Vec<&'static str>,
    }

    #[derive(Serialize)]
    struct Place {
        room: &'static str,
        seats: u8,
    }

    impl Report for Things {
        const ROWS: Option<&'static str> = Some("things");

        fn table(&self, _: &Style) -> String {
            "for people".to_owned()
        }
    }

    fn things() -> Things {
        let place = Some(Place { room: "=B12", seats: 30 });
        Things {
            things: vec![
                Thing { name: "no", place: None, tags: vec!["a", "b"] },
                Thing { name: "1001", place, tags: vec![] },
            ],
        }
    }

    fn rendered(format: Format, columns: &[&str], no_header: bool) -> Result<String, CliError> {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        let style = Style { width: None, zone: TimeZone::UTC, header: !no_header, exact: false };
        render(&things(), &OutputArgs { output: format, columns, no_header }, &style)
    }

    #[test]
    fn a_result_has_every_form() {
        assert_eq!(rendered(Format::Table, &[], false).unwrap(), "for people");
        insta::assert_snapshot!(rendered(Format::Yaml, &[], false).unwrap(), @r#"
        things:
        - name: "no"
          place: null
          tags:
          - a
          - b
        - name: "1001"
          place:
            room: =B12
            seats: 30
          tags: []
        "#);
        insta::assert_snapshot!(rendered(Format::Jsonl, &[], false).unwrap(), @r#"
        {"name":"no","place":null,"tags":["a","b"]}
        {"name":"1001","place":{"room":"=B12","seats":30},"tags":[]}
        "#);
        insta::assert_snapshot!(rendered(Format::Csv, &[], false).unwrap(), @r#"
        name,tags,place.room,place.seats
        no,"[""a"",""b""]",,
        1001,[],'=B12,30
        "#);
    }

    #[test]
    fn columns_are_chosen_in_every_form() {
        let chosen = ["place.seats", "name"];
        let all = [Format::Table, Format::Json, Format::Jsonl, Format::Yaml, Format::Csv];
        let all = all.map(|format| rendered(format, &chosen, false).unwrap()).join("\n---\n");
        insta::assert_snapshot!(all, @r#"
        PLACE.SEATS  NAME
                     no
        30           1001
        ---
        {
          "things": [
            {
              "place.seats": null,
              "name": "no"
            },
            {
              "place.seats": 30,
              "name": "1001"
            }
          ]
        }
        ---
        {"place.seats":null,"name":"no"}
        {"place.seats":30,"name":"1001"}
        ---
        things:
        - place.seats: null
          name: "no"
        - place.seats: 30
          name: "1001"
        ---
        place.seats,name
        ,no
        30,1001
        "#);
        assert_eq!(rendered(Format::Csv, &["name"], true).unwrap(), "no\n1001");
        let error = rendered(Format::Json, &["nmae"], false).unwrap_err().to_string();
        assert_eq!(error, "--columns: there is no \"nmae\"; there are name, tags, place.room, place.seats");
    }

    #[test]
    fn yaml_drives_no_terminal() {
        let hostile = Tree::of(&serde_json::json!({"name": "\u{1b}[2J\u{202e}\u{85}"})).unwrap();
        let text = yaml(&hostile).unwrap();
        assert!(is_harmless_document(&text) && text.contains("u202e"), "{text}");
        let text = sequence(&[Record(hostile)]).unwrap();
        assert!(is_harmless_document(&text) && text.starts_with("- "), "{text}");
    }
}
