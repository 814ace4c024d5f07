//! Documents that name commands.

use std::{collections::BTreeSet, env, fs};

use prost::Message;
use prost_types::FileDescriptorSet;

/// A command of the reference that is in the repository.
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CLI.md");

#[test]
fn the_reference_is_what_the_program_says() {
    let reference = cavs_cli::reference().unwrap();
    if env::var_os("CAVS_UPDATE_DOCS").is_some() {
        fs::write(REFERENCE, &reference).unwrap();
    }
    let written = fs::read_to_string(REFERENCE).unwrap_or_default();
    assert!(
        written == reference,
        "docs/CLI.md is not what the program says; write it anew: CAVS_UPDATE_DOCS=1 cargo test -p cavs-cli --test it reference"
    );
}

#[test]
fn features_name_commands_and_methods_that_are_there() {
    let set = FileDescriptorSet::decode(cavs_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.iter().filter(|file| file.package() == "cavs.v1").flat_map(|file| &file.service);
    let methods: BTreeSet<String> = services
        .flat_map(|service| {
            service.method.iter().map(|method| format!("{}.{}", service.name(), method.name()))
        })
        .collect();
    let document = include_str!("../../../docs/FEATURES.md");
    let (mut commands, mut named) = (0, BTreeSet::new());
    for row in document.lines().filter(|line| line.starts_with("| ")) {
        for word in row.split('`').skip(1).step_by(2) {
            if let Some(path) = word.strip_prefix("cavs ") {
                let mut command = cavs_cli::command();
                for name in path.split(' ') {
                    let found = command.find_subcommand(name).filter(|found| found.get_name() == name);
                    command = found.unwrap_or_else(|| panic!("no command {word}: {row}")).clone();
                }
                assert!(!command.is_subcommand_required_set(), "{word} does nothing by itself: {row}");
                commands += 1;
            } else if word.contains("Service.") {
                assert!(methods.contains(word), "no method {word}: {row}");
                named.insert(word);
            }
        }
    }
    assert!(commands > 40 && named.len() > 40, "{commands} commands, {} methods", named.len());
}
