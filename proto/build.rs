//! Compiles `cavs/v1/*.proto` with protox: no `protoc` is needed on anyone's machine.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=cavs/v1");
    let mut files: Vec<PathBuf> =
        fs::read_dir("cavs/v1")?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    let descriptors = protox::compile(&files, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // tonic writes no descriptor set when it is given compiled descriptors.
    fs::write(out.join("cavs.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Zero copy for what is large: embeddings, evidence, enrollment images.
        .bytes(".cavs.v1")
        .compile_fds(descriptors)?;
    Ok(())
}
