//! Workbooks: a sheet for each table, with what a spreadsheet can compute with as numbers and dates.

use rust_xlsxwriter::{ExcelDateTime, Format, FormatAlign, Workbook, Worksheet, XlsxError};

use crate::{Cell, Document, FileError, Table};

/// Most characters of a worksheet's name.
const LONGEST_NAME: usize = 31;
/// Most characters of a cell.
const LONGEST_TEXT: usize = 32_767;

/// A report as a workbook. Text stays text, whatever it begins with; times are those of the site's zone.
///
/// # Errors
/// The workbook can't be made.
pub fn xlsx(document: &Document) -> Result<Vec<u8>, FileError> {
    workbook(document).map_err(|error| FileError::failed("XLSX", error))
}

fn workbook(document: &Document) -> Result<Vec<u8>, XlsxError> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet().set_name(sheet_name(document.report))?;
    let bold = Format::new().set_bold();
    sheet.write_string_with_format(0, 0, clipped(&document.head.school), &bold)?;
    sheet.write_string_with_format(1, 0, clipped(&document.title), &bold)?;
    let mut line = 2;
    let zone = ("Time zone", document.head.zone_name.clone());
    for (name, value) in document.facts.iter().chain([&zone]) {
        sheet.write_string(line, 0, *name)?;
        sheet.write_string(line, 1, clipped(value))?;
        line += 1;
    }
    line = table(sheet, line + 1, &document.table, document)?;
    for note in &document.notes {
        line += 1;
        sheet.write_string(line, 0, clipped(note))?;
    }
    finish(sheet, &document.head.school)?;
    for more in &document.more {
        let sheet = book.add_worksheet().set_name(sheet_name(&more.title))?;
        table(sheet, 0, more, document)?;
        finish(sheet, &document.head.school)?;
    }
    book.save_to_buffer()
}

fn finish(sheet: &mut Worksheet, school: &str) -> Result<(), XlsxError> {
    // An ampersand begins a command of headers.
    let header = format!("&C{}", school.replace('&', "&&").chars().take(200).collect::<String>());
    sheet.set_header(header).set_paper_size(9).set_landscape().set_print_fit_to_pages(1, 0);
    Ok(())
}

/// Writes a table from a line on; returns the line after it.
fn table(sheet: &mut Worksheet, first: u32, table: &Table, document: &Document) -> Result<u32, XlsxError> {
    let head = Format::new().set_bold().set_text_wrap().set_align(FormatAlign::Top);
    let (rate, time) =
        (Format::new().set_num_format("0.0%"), Format::new().set_num_format("yyyy-mm-dd hh:mm"));
    for (column, (_, of)) in (0_u16..).zip(table.printed()) {
        sheet.write_string_with_format(first, column, clipped(&of.title), &head)?;
        let widest = table.rows.iter().filter_map(|row| {
            let (place, _) = table.printed().nth(usize::from(column))?;
            Some(row.get(place)?.shown(&document.head.zone).chars().count())
        });
        let widest = widest.chain(of.title.lines().map(|line| line.chars().count())).max().unwrap_or(0);
        sheet.set_column_width(column, f64::from(u8::try_from(widest.clamp(8, 60)).unwrap_or(60)) + 1.0)?;
    }
    let mut line = first;
    for row in &table.rows {
        line += 1;
        for (column, (place, _)) in (0_u16..).zip(table.printed()) {
            match row.get(place) {
                None | Some(Cell::Text(None) | Cell::Real(None) | Cell::Integer(None)) => {}
                Some(Cell::Time(None) | Cell::Rate(None) | Cell::Mark(None)) => {}
                Some(Cell::Text(Some(text))) => {
                    sheet.write_string(line, column, clipped(text))?;
                }
                Some(Cell::Real(Some(number))) => {
                    sheet.write_number(line, column, *number)?;
                }
                #[expect(clippy::cast_precision_loss, reason = "a spreadsheet has no other numbers")]
                Some(Cell::Integer(Some(number))) => {
                    sheet.write_number(line, column, *number as f64)?;
                }
                Some(Cell::Flag(flag)) => {
                    sheet.write_boolean(line, column, *flag)?;
                }
                Some(Cell::Rate(Some(share))) => {
                    sheet.write_number_with_format(
                        line,
                        column,
                        f64::from(share.permille()) / 1000.0,
                        &rate,
                    )?;
                }
                Some(Cell::Time(Some(moment))) => {
                    let local = moment.to_zoned(document.head.zone.clone()).datetime();
                    let (date, clock) = (local.date(), local.time());
                    let small = |number: i8| u8::try_from(number).unwrap_or(0);
                    let year = u16::try_from(date.year()).unwrap_or(1900);
                    let moment = ExcelDateTime::from_ymd(year, small(date.month()), small(date.day()))?
                        .and_hms(
                            u16::from(small(clock.hour())),
                            small(clock.minute()),
                            small(clock.second()),
                        )?;
                    sheet.write_datetime_with_format(line, column, &moment, &time)?;
                }
                Some(mark @ Cell::Mark(Some(_))) => {
                    sheet.write_string(line, column, mark.shown(&document.head.zone))?;
                }
            }
        }
    }
    if !table.rows.is_empty() {
        let last = u16::try_from(table.printed().count().saturating_sub(1)).unwrap_or(0);
        sheet.autofilter(first, 0, line, last)?;
    }
    sheet.set_repeat_rows(first, first)?;
    Ok(line + 1)
}

fn sheet_name(title: &str) -> String {
    let allowed = title.chars().filter(|c| !"[]:*?/\\'".contains(*c));
    allowed.take(LONGEST_NAME).collect()
}

fn clipped(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}
