//! Where the build looks for nvcc, and what it says of half an installation and of a wrong one.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

#[path = "../../../build.rs"]
#[allow(dead_code)]
mod build;

/// A program that runs well and is no nvcc: what the build says of it shows that it was chosen.
const NO_NVCC: &str = "/bin/true";

fn find(variables: &[(&str, &Path)], root: &Path) -> Result<Result<PathBuf, String>, String> {
    let variable = |name: &str| -> Option<OsString> {
        let set = variables.iter().find(|(set, _)| *set == name);
        set.map(|(_, value)| value.as_os_str().to_owned())
    };
    build::find_nvcc(&variable, root)
}

/// Puts a program named nvcc into a folder.
fn install(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    symlink(NO_NVCC, folder.join("nvcc")).unwrap();
}

fn chosen(variables: &[(&str, &Path)], root: &Path, folder: &Path) {
    let error = find(variables, root).expect("no error");
    let error = error.expect_err("it is no nvcc");
    let path = folder.join("nvcc").display().to_string();
    assert!(error.contains(&path), "not {path}: {error}");
}

#[test]
fn a_wrong_nvcc_variable_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    for wrong in [NO_NVCC, "/absent/nvcc"] {
        let error = find(&[("NVCC", Path::new(wrong))], root.path()).expect_err(wrong);
        assert!(error.contains("$NVCC") && error.contains(wrong), "{error}");
    }
}

#[test]
fn half_an_installation_is_told_as_such() {
    let root = tempfile::tempdir().unwrap();
    let own = root.path().join(".cuda");
    let half = || {
        let missing = find(&[], root.path()).expect("no error").expect_err("none");
        for part in [".cuda/", "half an installation", "scripts/cuda-toolkit"] {
            assert!(missing.contains(part), "{missing}");
        }
    };
    // Stopped before the list of packages was written.
    let bin = own.join("nvidia/cu13/bin");
    install(&bin);
    half();
    fs::write(own.join("requirements.txt"), "").unwrap();
    chosen(&[], root.path(), &bin);
    // With the list, but without the compiler.
    fs::remove_file(bin.join("nvcc")).unwrap();
    half();
}

#[test]
fn what_is_named_goes_before_what_is_found() {
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str| root.path().join(name);
    let (home, path) = (folder("home"), folder("path"));
    install(&home.join("bin"));
    install(&path);
    // Half an installation, which a named one goes before.
    fs::create_dir_all(folder(".cuda")).unwrap();
    for name in ["CUDA_HOME", "CUDA_PATH"] {
        let variables: [(&str, &Path); 2] = [("PATH", &path), (name, &home)];
        chosen(&variables, root.path(), &home.join("bin"));
    }
    let empty: [(&str, &Path); 2] = [("NVCC", Path::new("")), ("CUDA_HOME", &home)];
    chosen(&empty, root.path(), &home.join("bin"));
    if !Path::new("/usr/local/cuda/bin/nvcc").exists() {
        let elsewhere = tempfile::tempdir().unwrap();
        chosen(&[("PATH", &path)], elsewhere.path(), &path);
        let none = find(&[], elsewhere.path()).expect("no error");
        assert!(none.expect_err("none").contains("no nvcc was found"));
    }
}
