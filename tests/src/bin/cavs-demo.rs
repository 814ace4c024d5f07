//! The demonstration: `scripts/demo` builds everything and runs this.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is what a demonstration does")]

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use cavs_tests::{
    SharedData,
    demo::{Cast, play},
};
use clap::Parser;

/// Sets a school up, enrolls people, plays a camera's frames, and compares with the truth
#[derive(Parser)]
#[command(name = "scripts/demo")]
struct Arguments {
    /// Your own pictures: DIR/students/NUMBER/* is enrolled, DIR/frames/* is played. A frame named
    /// NUMBER-... is judged
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// A model pack; see `cavs models import`
    #[arg(long, value_name = "DIR")]
    pack: Option<PathBuf>,
    /// The folder to work in; what an earlier demonstration left in it is deleted
    #[arg(long, value_name = "DIR", default_value = ".demo")]
    directory: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!(
                "\nThe system was wrong too often: less than 90 % named rightly, or somebody named wrongly."
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

    let shared = SharedData::find();
    let needed = "give --images DIR and --pack DIR: this version ships neither pictures nor networks";
    let pack = match (&arguments.pack, &shared) {
        (Some(pack), _) => pack.canonicalize().with_context(|| format!("--pack {}", pack.display()))?,
        (None, Some(shared)) => {
            println!("== Importing YuNet and MobileFaceNet into a model pack");
            let pack = directory.join("pack");
            shared.import_pack(&pack);
            pack
        }
        (None, None) => bail!(needed),
    };
    let cast = match (&arguments.images, &shared) {
        (Some(images), _) => Cast::of_folder(images)?,
        (None, Some(shared)) => Cast::of_photographs(shared, directory.join("frames"))?,
        (None, None) => bail!(needed),
    };
    Ok(play(&cast, &pack, &directory))
}
