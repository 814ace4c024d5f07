//! Measures what becomes of real photographs that are turned: `scripts/bench-turned` builds and runs this.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is what a benchmark does")]
#![allow(clippy::unwrap_used, reason = "a harness of measurements: what fails ends it")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use cavs_models::{DecodeLimits, Image, Pack};
use cavs_tests::{
    demo::{SharedData, portraits},
    turned::{Photograph, measure},
};
use clap::Parser;

/// Measures what becomes of photographs that are turned: one line per bar, `name figure bar ok|SHORT`; ends with 1 if any is short
#[derive(Debug, Parser)]
#[command(name = "scripts/bench-turned")]
struct Arguments {
    /// Only every so many photographs
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Another pack beside the built-in and the imported one
    #[arg(long)]
    pack: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(shared) = SharedData::locate() else {
        eprintln!("there are no photographs in ../shared");
        return ExitCode::from(2);
    };
    let folder = tempfile::tempdir().unwrap();
    let imported = folder.path().join("pack");
    shared.import_pack(&imported);
    let mut packs = vec![
        ("built-in".to_owned(), Pack::built_in().unwrap()),
        ("imported".to_owned(), Pack::open(&imported).unwrap()),
    ];
    packs.extend(arguments.pack.iter().map(|path| (path.display().to_string(), Pack::open(path).unwrap())));
    let sets = [("orl", orl(&shared)), ("people", portraits(&shared))];
    let mut short = false;
    for (pack_name, pack) in &packs {
        for (set, photographs) in &sets {
            let some: Vec<Photograph> = photographs
                .iter()
                .step_by(arguments.every)
                .map(|(person, file)| load(*person, file))
                .collect();
            let report = measure(pack, &some);
            println!("# {pack_name} {set}: {} photographs, {report:?}", some.len());
            for (what, figure) in [
                ("unlike-templates", report.unlike),
                ("strangers-accepted", report.accepted),
                ("confused", report.confused),
            ] {
                let verdict = if figure == 0 { "ok" } else { "SHORT" };
                println!("{pack_name}-{set}-{what} {figure} 0 {verdict}");
                short |= figure > 0;
            }
        }
    }
    ExitCode::from(u8::from(short))
}

fn load(person: usize, file: &Path) -> Photograph {
    let bytes = fs::read(file).unwrap();
    let image = match bytes.strip_prefix(b"P5") {
        Some(rest) => grey(rest),
        None => Image::decode(&bytes, &DecodeLimits::default()).unwrap(),
    };
    Photograph { person, image }
}

/// A PGM file behind its first two bytes: width, height, 255, each behind white space, and a byte a pixel.
fn grey(mut rest: &[u8]) -> Image {
    let mut number = || {
        let start = rest.iter().position(u8::is_ascii_digit).unwrap();
        let length = rest[start..].iter().position(|byte| !byte.is_ascii_digit()).unwrap();
        let value = std::str::from_utf8(&rest[start..start + length]).unwrap().parse::<u32>().unwrap();
        rest = &rest[start + length..];
        value
    };
    let (width, height, _) = (number(), number(), number());
    Image::from_rgb8(width, height, rest[1..].iter().flat_map(|value| [*value; 3]).collect()).unwrap()
}

/// 40 people, ten photographs each.
fn orl(shared: &SharedData) -> Vec<(usize, PathBuf)> {
    let mut files = BTreeMap::new();
    for person in fs::read_dir(shared.path("images/orl")).unwrap() {
        let folder = person.unwrap().path();
        if folder.is_dir() {
            let pictures = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
            files.insert(folder, pictures.collect::<std::collections::BTreeSet<_>>());
        }
    }
    files
        .into_values()
        .enumerate()
        .flat_map(|(person, all)| all.into_iter().map(move |f| (person, f)))
        .collect()
}
