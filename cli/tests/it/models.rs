//! Model packs: what is refused. Imports that succeed are tested where the networks are.

use crate::program::cavs;

#[test]
fn files_that_are_no_networks_are_named_and_leave_nothing() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("a.onnx"), "nonsense").unwrap();
    let import = |detector: &str, name: &str| {
        let arguments = [
            "models",
            "import",
            "--detector",
            detector,
            "--embedder",
            "a.onnx",
            "--name",
            name,
            "--license",
            "MIT",
            "--out",
            "pack",
            "-o",
            "json",
        ];
        cavs(home.path(), &arguments)
    };
    let ran = import("yunet=a.onnx", "test");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.error()["reason"], "IMPORT_NOT_ONNX");
    assert!(ran.error()["message"].as_str().unwrap().contains("a.onnx"), "{ran:?}");
    let ran = import("yunet=none.onnx", "test");
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.error()["message"].as_str().unwrap().contains("none.onnx"), "{ran:?}");
    assert_eq!(import("yunet=a.onnx", " ").code, 2);
    assert!(!home.path().join("pack").exists());
}

#[test]
fn a_folder_without_a_pack_is_not_found() {
    let home = tempfile::tempdir().unwrap();
    for command in ["verify", "show"] {
        let ran = cavs(home.path(), &["models", command, "."]);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.stderr.contains("no model pack here"), "{ran:?}");
    }
}
