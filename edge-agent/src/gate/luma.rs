//! The brightness of a JPEG in a coarse grid, without decoding the picture.
//!
//! The first coefficient of every block of 8x8 pixels is their mean. Reading it alone saves the
//! inverse transform, the colours and the memory, which together are most of a decoder's work.

use super::bits::{BitReader, HuffmanTable};

/// Cells of the grid, at most; a cell of a 1640x1232 picture has 25 pixels a side.
const COLUMNS: usize = 64;
const ROWS: usize = 48;

/// Mean brightness, 0 to 255, of the cells of a grid over a picture, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Luma {
    cells: Vec<f32>,
}

impl Luma {
    /// Reads a baseline or extended sequential JPEG. `None` for everything else, and for a damaged
    /// one as far as it is found out: no error, since the real decoder says what is wrong.
    #[must_use]
    pub fn of_jpeg(jpeg: &[u8]) -> Option<Self> {
        Header::read(jpeg)?.scan(jpeg)
    }

    /// Mean brightness of each cell, row by row, 0 to 255.
    #[must_use]
    pub fn cells(&self) -> &[f32] {
        &self.cells
    }

    #[cfg(test)]
    pub(crate) fn from_cells(columns: usize, rows: usize, cell: impl Fn(usize, usize) -> f32) -> Self {
        let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row)));
        Self { cells: cells.map(|(column, row)| cell(column, row)).collect() }
    }
}

/// What a JPEG says before its first scan.
#[derive(Debug, Default)]
struct Header {
    width: usize,
    height: usize,
    components: Vec<Component>,
    /// First quantiser of each table.
    quantisers: [u16; 4],
    dc: [Option<HuffmanTable>; 4],
    ac: [Option<HuffmanTable>; 4],
    restart_interval: usize,
    /// Indices into `components`, with the numbers of their tables.
    scan: Vec<(usize, usize, usize)>,
    /// Where the entropy-coded data begins.
    data: usize,
}

#[derive(Debug)]
struct Component {
    id: u8,
    columns: usize,
    rows: usize,
    quantiser: usize,
}

impl Header {
    fn read(jpeg: &[u8]) -> Option<Self> {
        let mut header = Self::default();
        if jpeg.get(..2)? != [0xFF, 0xD8] {
            return None;
        }
        let mut position = 2;
        loop {
            while jpeg.get(position)? == &0xFF && jpeg.get(position + 1)? == &0xFF {
                position += 1;
            }
            let [0xFF, marker] = *jpeg.get(position..position + 2)? else { return None };
            let length =
                usize::from(u16::from_be_bytes(jpeg.get(position + 2..position + 4)?.try_into().ok()?));
            let body = jpeg.get(position + 4..position + 2 + length.max(2))?;
            position += 2 + length.max(2);
            match marker {
                0xC0 | 0xC1 => header.frame(body)?,
                0xC4 => header.huffman(body)?,
                0xDB => header.quantisation(body)?,
                0xDD => header.restart_interval = u16::from_be_bytes(body.try_into().ok()?).into(),
                0xDA => {
                    header.start_of_scan(body)?;
                    header.data = position;
                    return Some(header);
                }
                // Progressive, lossless and arithmetic-coded pictures are not for cameras.
                0xC2..=0xCF | 0xD8 | 0xD9 => return None,
                _ => {}
            }
        }
    }

    fn frame(&mut self, body: &[u8]) -> Option<()> {
        let [8, h0, h1, w0, w1, count, ref components @ ..] = *body else { return None };
        self.height = u16::from_be_bytes([h0, h1]).into();
        self.width = u16::from_be_bytes([w0, w1]).into();
        let (components, []) = components.as_chunks::<3>() else { return None };
        if self.width == 0 || self.height == 0 || components.len() != usize::from(count) || count > 4 {
            return None;
        }
        self.components.clear();
        for [id, sampling, quantiser] in components {
            let (columns, rows) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            if !(1..=4).contains(&columns) || !(1..=4).contains(&rows) || *quantiser > 3 {
                return None;
            }
            self.components.push(Component { id: *id, columns, rows, quantiser: (*quantiser).into() });
        }
        Some(())
    }

    fn quantisation(&mut self, mut body: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = body {
            let (wide, number) = (kind >> 4 != 0, usize::from(kind & 15));
            let first = if wide {
                u16::from_be_bytes(rest.get(..2)?.try_into().ok()?)
            } else {
                (*rest.first()?).into()
            };
            *self.quantisers.get_mut(number)? = first;
            body = rest.get(if wide { 128 } else { 64 }..)?;
        }
        Some(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = body {
            let counts: &[u8; 16] = rest.get(..16)?.try_into().ok()?;
            let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let symbols = rest.get(16..16 + total)?;
            let (tables, table) = match kind >> 4 {
                0 => (&mut self.dc, HuffmanTable::new(counts, symbols)?),
                _ => (&mut self.ac, HuffmanTable::of_coefficients(counts, symbols)?),
            };
            *tables.get_mut(usize::from(kind & 15))? = Some(table);
            body = &rest[16 + total..];
        }
        Some(())
    }

    fn start_of_scan(&mut self, body: &[u8]) -> Option<()> {
        let [count, ref selectors @ ..] = *body else { return None };
        let selectors = selectors.get(..2 * usize::from(count))?.as_chunks::<2>().0;
        for [id, tables] in selectors {
            let component = self.components.iter().position(|component| component.id == *id)?;
            let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            if dc > 3 || ac > 3 {
                return None;
            }
            self.scan.push((component, dc, ac));
        }
        // The first component is the brightness; a scan without it says nothing about it.
        self.scan.iter().any(|(component, ..)| *component == 0).then_some(())
    }

    /// Reads the scan and averages the brightness of its blocks.
    fn scan(&self, jpeg: &[u8]) -> Option<Luma> {
        let luma = self.components.first()?;
        let most = |side: fn(&Component) -> usize| self.components.iter().map(side).max();
        let (widest, highest) = (most(|c| c.columns)?, most(|c| c.rows)?);
        // A scan of one component is not interleaved: its blocks come one by one, without padding.
        let single = self.scan.len() == 1;
        let blocks = |size: usize, own: usize, largest: usize| (size * own).div_ceil(8 * largest);
        let (columns, rows) =
            (blocks(self.width, luma.columns, widest), blocks(self.height, luma.rows, highest));
        let (units_across, units_down) = if single {
            (columns, rows)
        } else {
            (self.width.div_ceil(8 * widest), self.height.div_ceil(8 * highest))
        };
        let quantiser = f32::from(self.quantisers[luma.quantiser]);
        let mut grid = Grid::new(columns, rows);
        let mut bits = BitReader::new(jpeg.get(self.data..)?);
        let parts = self.scan.iter().map(|(component, dc, ac)| {
            let Component { columns, rows, .. } = self.components[*component];
            Some(ScanComponent {
                bright: *component == 0,
                columns: if single { 1 } else { columns },
                rows: if single { 1 } else { rows },
                dc: self.dc[*dc].as_ref()?,
                ac: self.ac[*ac].as_ref()?,
                prediction: 0,
            })
        });
        let mut parts = parts.collect::<Option<Vec<_>>>()?;
        let mut until_restart = self.restart_interval;
        for down in 0..units_down {
            for across in 0..units_across {
                if self.restart_interval > 0 {
                    if until_restart == 0 {
                        bits.restart()?;
                        parts.iter_mut().for_each(|part| part.prediction = 0);
                        until_restart = self.restart_interval;
                    }
                    until_restart -= 1;
                }
                for part in &mut parts {
                    for row in 0..part.rows {
                        for column in 0..part.columns {
                            let difference = bits.difference(part.dc)?;
                            bits.skip_coefficients(part.ac)?;
                            part.prediction = part.prediction.wrapping_add(difference);
                            if part.bright {
                                let (x, y) = (across * part.columns + column, down * part.rows + row);
                                grid.add(x, y, part.prediction as f32 * quantiser / 8.0 + 128.0);
                            }
                        }
                    }
                }
            }
        }
        Some(grid.mean())
    }
}

/// What one component has in a scan.
struct ScanComponent<'a> {
    /// The component is the brightness (Y), not a colour.
    bright: bool,
    /// Its blocks in a minimum coded unit, across and down.
    columns: usize,
    rows: usize,
    dc: &'a HuffmanTable,
    ac: &'a HuffmanTable,
    prediction: i32,
}

struct Grid {
    /// The column of each column of blocks, and where the row of each row of them begins.
    columns: Vec<usize>,
    rows: Vec<usize>,
    sums: Vec<(f32, u32)>,
}

impl Grid {
    fn new(block_columns: usize, block_rows: usize) -> Self {
        let (columns, rows) = (block_columns.min(COLUMNS), block_rows.min(ROWS));
        Self {
            columns: (0..block_columns).map(|x| x * columns / block_columns).collect(),
            rows: (0..block_rows).map(|y| y * rows / block_rows * columns).collect(),
            sums: vec![(0.0, 0); columns * rows],
        }
    }

    /// Blocks beyond the picture's edge only pad it.
    fn add(&mut self, x: usize, y: usize, value: f32) {
        if let (Some(column), Some(row)) = (self.columns.get(x), self.rows.get(y)) {
            let (sum, count) = &mut self.sums[row + column];
            *sum += value.clamp(0.0, 255.0);
            *count += 1;
        }
    }

    fn mean(self) -> Luma {
        Luma { cells: self.sums.into_iter().map(|(sum, count)| sum / count.max(1) as f32).collect() }
    }
}

#[cfg(test)]
#[path = "luma_tests.rs"]
mod tests;
