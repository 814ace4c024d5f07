//! `synthface sheet`

use std::path::PathBuf;

use anyhow::Context;
use image::imageops;
use synthface::{Identity, View};

use super::progress::{Counter, say};

/// Render a contact sheet to look at: many people, or many views of one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of pictures.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
    /// Pictures in a row.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    columns: u32,
    /// Edge of a picture, pixels.
    #[arg(long, default_value_t = 160, value_parser = clap::value_parser!(u32).range(16..=1024))]
    size: u32,
    /// Seed of the first person; the others have the seeds that follow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Show the one person of the seed in every picture.
    #[arg(long)]
    same: bool,
    /// Any pose, light and surroundings instead of portraits.
    #[arg(long)]
    wild: bool,
    /// Picture file to write, by extension .png, .jpg or .webp.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let columns = args.columns.min(args.count);
    let rows = args.count.div_ceil(columns);
    let mut sheet = image::RgbImage::new(columns * args.size, rows * args.size);
    let mut counter = Counter::new("picture");
    for i in 0..args.count {
        let number = args.seed.wrapping_add(u64::from(i));
        let identity = Identity::from_seed(if args.same { args.seed } else { number });
        let view = if args.wild { View::random(number) } else { View::portrait(number) };
        let picture = synthface::render(&identity, &view, args.size);
        let (x, y) = (i % columns * args.size, i / columns * args.size);
        imageops::replace(&mut sheet, &picture.image, x.into(), y.into());
        counter.update(i as usize + 1, args.count as usize);
    }
    sheet.save(&args.out).with_context(|| format!("cannot write {}", args.out.display()))?;
    say(&format!("{} pictures in {}", args.count, args.out.display()))?;
    Ok(())
}
