use std::{
    collections::BTreeSet,
    fs, io,
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

/// Checks syntax and types of the firmware's part that belongs to the board, `edge-agent/esp32/main`, against the stubs
/// of `host/esp_stubs.h`. That is no build: linking and behaviour need ESP-IDF and a board.
///
/// # Errors
/// The compiler refuses a file: the error is what it says.
pub fn check_board_part(folder: &Path) -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCES);
    let (main, library) = (root.join("main"), root.join("components/cavs/include"));
    let mut sources: Vec<PathBuf> =
        fs::read_dir(&main)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    sources.sort();
    let mut headers = BTreeSet::new();
    for source in &sources {
        let text = fs::read_to_string(source)?;
        let included = text.lines().filter_map(|line| line.strip_prefix("#include \"")?.strip_suffix('"'));
        headers.extend(included.map(str::to_owned));
    }
    for header in headers.iter().filter(|name| !main.join(name).exists() && !library.join(name).exists()) {
        let stub = folder.join(header);
        fs::create_dir_all(stub.parent().unwrap_or(folder))?;
        fs::write(stub, "#include \"esp_stubs.h\"\n")?;
    }
    for source in sources.iter().filter(|path| path.extension().is_some_and(|e| e == "c")) {
        let mut compiler = Command::new("cc");
        compiler.args(["-std=gnu11", "-fsyntax-only"]).args(WARNINGS.iter().filter(|w| w.starts_with("-W")));
        // The real headers are no pedants.
        compiler.arg("-Wno-pedantic").arg("-I").arg(folder).arg("-I").arg(root.join("host"));
        let output = compiler.arg("-I").arg(&library).arg(source).output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
    }
    Ok(())
}
