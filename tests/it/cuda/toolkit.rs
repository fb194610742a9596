//! Where the build looks for nvcc, and what it says of half an installation and of a wrong one; and what
//! it compiles sources for that name their architectures.

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

#[test]
fn a_source_is_compiled_for_the_architectures_that_it_names() {
    let all = ["80", "89", "90a"].map(String::from);
    let limited = |text: &str| build::limited_to(text, &all);
    // As all of them are that name none.
    let usual = "// Max and average pooling.\n// architectures: sm_90a\n";
    assert_eq!(limited(usual), Ok(None));
    let gencode = |text: &str, all: &[String]| {
        let limited = build::limited_to(text, all).expect("architectures");
        let flags = build::flags(limited.as_deref(), all).into_iter();
        flags
            .filter(|flag| flag.starts_with("-gencode"))
            .collect::<Vec<_>>()
    };
    let code = |arch: &str| format!("-gencode=arch=compute_{arch},code=sm_{arch}");
    let ptx = "-gencode=arch=compute_80,code=compute_80".to_string();
    assert_eq!(
        gencode(usual, &all),
        [code("80"), code("89"), code("90a"), ptx]
    );
    // Machine code alone: PTX would be compiled for what the source is not written for.
    assert_eq!(gencode("// architectures: sm_90a\n", &all), [code("90a")]);
    assert_eq!(
        gencode("// architectures: sm_90a, sm_80", &all),
        [code("80"), code("90a")]
    );
    // A build that leaves the architecture out has nothing of the source.
    assert_eq!(limited("// architectures: sm_100a\n"), Ok(Some(vec![])));
    for wrong in [
        "// architectures: 90a",
        "// architectures: sm_9",
        "// architectures:",
    ] {
        let error = limited(wrong).expect_err(wrong);
        assert!(error.contains("sm_90a"), "{error}");
    }
}

/// Every source that is compiled for some architectures only has a way around it: none of those that
/// the engine cannot do without is one.
#[test]
fn what_every_gpu_needs_is_compiled_for_every_gpu() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let chosen = ["conv.cu", "conv_filter.cu"]; // `conv_choose` has others in their place
    for entry in fs::read_dir(folder).expect("kernels/") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".cu") && !chosen.contains(&name.as_str()) {
            let text = fs::read_to_string(&path).expect("text");
            assert_eq!(build::limited_to(&text, &[]), Ok(None), "{name}");
        }
    }
}
