//! The demonstration: `scripts/demo` builds everything and runs this.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is what a demonstration does")]

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use cavs_tests::demo::{Class, DemoData, SharedData, play};
use clap::Parser;

/// Two minutes of a class of 24 with two strangers in the room.
const CLASS: Class = Class { students: 24, strangers: 2, seconds: 120, frames: 40, seed: 5 };

/// Sets a school up, enrolls people, plays a camera's frames, films a lesson, and compares with the truth
#[derive(Parser)]
#[command(name = "scripts/demo")]
struct Arguments {
    /// Your own pictures instead of a made-up class: DIR/students/NUMBER/* is enrolled, DIR/frames/* is played. A frame named
    /// NUMBER-... is judged
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// The photographs in ../shared/images instead of a made-up class, with the networks of --imported
    #[arg(long, conflicts_with = "images")]
    photographs: bool,
    /// A model pack; see `cavs models import`. Without it, the built-in one
    #[arg(long, value_name = "DIR")]
    pack: Option<PathBuf>,
    /// YuNet and MobileFaceNet from ../shared/models, imported into a model pack
    #[arg(long, conflicts_with = "pack")]
    imported: bool,
    /// The folder to work in; what an earlier demonstration left in it is deleted
    #[arg(long, value_name = "DIR", default_value = ".demo")]
    directory: PathBuf,
    /// Leave the school running at the end, to look around by hand, until you press Enter
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!(
                "\nThe system was wrong too often: less than 90 % named rightly, more than 0.5 % wrongly, or a mark of the lesson."
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("scripts/demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    // A marker says that the folder is ours to delete.
    let marker = arguments.directory.join("made-by-the-demonstration");
    if arguments.directory.exists() {
        if !marker.exists() {
            bail!(
                "{} is there, and no earlier demonstration made it; choose another --directory",
                arguments.directory.display()
            );
        }
        fs::remove_dir_all(&arguments.directory)
            .context("an earlier demonstration's folder can't be deleted")?;
    }
    fs::create_dir_all(&arguments.directory)?;
    fs::write(&marker, "")?;
    let directory = arguments.directory.canonicalize()?;

    let shared = SharedData::locate();
    let pack = match (&arguments.pack, &shared) {
        (Some(pack), _) => Some(pack.canonicalize().with_context(|| format!("--pack {}", pack.display()))?),
        (None, None) if arguments.imported => bail!("there are no networks in ../shared"),
        (None, Some(shared)) if arguments.imported || arguments.photographs => {
            println!("== Importing YuNet and MobileFaceNet into a model pack");
            let pack = directory.join("pack");
            shared.import_pack(&pack);
            Some(pack)
        }
        (None, _) => None,
    };
    let cast = match (&arguments.images, &shared) {
        (Some(images), _) => DemoData::of_folder(images)?,
        (None, Some(shared)) if arguments.photographs => {
            DemoData::of_photographs(shared, directory.join("frames"))?
        }
        (None, None) if arguments.photographs => bail!("there are no photographs in ../shared"),
        (None, _) => {
            println!("\n== Rendering a class of {} people who do not exist (once)", CLASS.students);
            let class = DemoData::of_class(CLASS)?.with_lesson(CLASS)?;
            if pack.is_some() { class.for_imported_pack() } else { class }
        }
    };
    Ok(play(&cast, pack.as_deref(), &directory, arguments.keep))
}
