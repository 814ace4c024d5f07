use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// Sources of the firmware that have nothing of the board in them, from the folder of this crate.
const SOURCES: &str = "../../edge-agent/esp32";
/// What the firmware's code has to compile with.
const WARNINGS: [&str; 7] =
    ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror"];
/// Every access out of bounds and every undefined operation ends the program.
const SANITIZERS: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/// Compiles what the firmware says to the proxy as a program of this machine, `edge-agent/esp32/host/camera.c`, into a
/// folder. With the compiler's sanitizers, where it has them.
///
/// # Errors
/// There is no C compiler, or it refuses the code.
pub fn firmware_on_host(folder: &Path) -> io::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCES);
    let program = folder.join("camera");
    let compile = |more: &[&str]| -> io::Result<Result<(), String>> {
        let mut compiler = Command::new("cc");
        compiler
            .args(WARNINGS)
            .args(more)
            .args(["-O1", "-g", "-I"])
            .arg(root.join("components/cavs/include"));
        for file in ["frame", "answer", "pause", "sender"] {
            compiler.arg(root.join(format!("components/cavs/{file}.c")));
        }
        let output = compiler.arg(root.join("host/camera.c")).arg("-o").arg(&program).output()?;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(if output.status.success() { Ok(()) } else { Err(complaint) })
    };
    // Some compilers come without the sanitizers' libraries.
    if compile(&SANITIZERS)?.is_err() {
        compile(&[])?.map_err(io::Error::other)?;
    }
    Ok(program)
}
