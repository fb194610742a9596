//! Compiles `kernels/*.cu` to fat binaries that the program embeds, where there is an nvcc. Without
//! one the program still builds; `--device cuda` then says what is missing.
//!
//! nvcc is looked for in `$NVCC`, `$CUDA_HOME/bin`, `$CUDA_PATH/bin`, `.cuda/` (what
//! `scripts/cuda-toolkit` installs), `/usr/local/cuda/bin` and `$PATH`. `$NAS_ENGINE_CUDA_ARCHS` is a
//! list such as `80,89,90a`.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;

/// Machine code for these; code of the first as PTX for what is newer than all.
const ARCHS: &str = "80,89,90a";

fn main() -> ExitCode {
    for name in [
        "NVCC",
        "CUDA_HOME",
        "CUDA_PATH",
        "PATH",
        "NAS_ENGINE_CUDA_ARCHS",
    ] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    for path in ["build.rs", "kernels", ".cuda/requirements.txt"] {
        // A path that is not there would run the build anew every time; scripts/cuda-toolkit touches
        // this file instead.
        if Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={}", message.replace('\n', "\ncargo::error="));
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    check_archs()?;
    let (nvcc, missing) = match find_nvcc(&|name| env::var_os(name), Path::new(""))? {
        Ok(nvcc) => (Some(nvcc), String::new()),
        Err(missing) => (None, missing),
    };
    let mut embedded = String::new();
    let (mut version, mut archs) = (String::new(), vec![]);
    if let Some(nvcc) = &nvcc {
        version = version_of(nvcc)?;
        archs = compiled_for();
        let sources = sources().map_err(|e| format!("kernels: {e}"))?;
        compile_all(nvcc, &version, &sources, &out)?;
        for source in &sources {
            let fatbin = fatbin(source, &out);
            embedded += &format!("    include_bytes!({fatbin:?}),\n");
        }
    } else {
        println!("cargo::warning=the CUDA kernels are left out: {missing}");
    }
    let text = format!(
        "/// The kernels, compiled; empty where the build had no nvcc.\n\
         pub const FATBINS: &[&[u8]] = &[\n{embedded}];\n\
         /// Version of the nvcc that compiled them.\n\
         pub const TOOLKIT: &str = {version:?};\n\
         /// What they are compiled for: machine code (`sm_`) and PTX (`compute_`).\n\
         pub const ARCHS: &[&str] = &{archs:?};\n\
         /// Why there are none.\n\
         pub const MISSING: &str = {missing:?};\n"
    );
    fs::write(out.join("kernels.rs"), text).map_err(|e| format!("{}: {e}", out.display()))
}

/// The nvcc to use, or why there is none; an error where the user named one that does not work.
/// `variable` is the environment, `root` the folder that `.cuda/` lies in: a test has its own.
pub fn find_nvcc(
    variable: &dyn Fn(&str) -> Option<OsString>,
    root: &Path,
) -> Result<Result<PathBuf, String>, String> {
    if let Some(nvcc) = variable("NVCC").filter(|nvcc| !nvcc.is_empty()) {
        let nvcc = PathBuf::from(nvcc);
        return match version_of(&nvcc) {
            Ok(_) => Ok(Ok(nvcc)),
            Err(error) => Err(format!("$NVCC: {error}")),
        };
    }
    let nvcc_in = |folder: PathBuf| Some(folder.join("nvcc")).filter(|nvcc| nvcc.is_file());
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variable);
    let mut named = homes.map(|home| PathBuf::from(home).join("bin"));
    if let Some(nvcc) = named.find_map(nvcc_in) {
        return Ok(version_of(&nvcc).map(|_| nvcc));
    }
    let own = root.join(".cuda");
    if own.exists() {
        // The list of packages is written when all of them are there.
        let whole = own.join("requirements.txt").exists();
        return match nvcc_in(own.join("nvidia/cu13/bin")).filter(|_| whole) {
            Some(nvcc) => Ok(version_of(&nvcc).map(|_| nvcc)),
            None => Ok(Err(
                ".cuda/ holds half an installation; run scripts/cuda-toolkit again, or remove it"
                    .to_string(),
            )),
        };
    }
    let path = variable("PATH").unwrap_or_default();
    let mut usual = iter::once(PathBuf::from("/usr/local/cuda/bin")).chain(env::split_paths(&path));
    match usual.find_map(nvcc_in) {
        Some(nvcc) => Ok(version_of(&nvcc).map(|_| nvcc)),
        None => Ok(Err(
            "no nvcc was found; run scripts/cuda-toolkit, or set CUDA_HOME, and build again"
                .to_string(),
        )),
    }
}

/// Such as `13.0.88`.
fn version_of(nvcc: &Path) -> Result<String, String> {
    let name = nvcc.display();
    let ended = Command::new(nvcc).arg("--version").output();
    let ended = ended.map_err(|e| format!("cannot run {name}: {e}"))?;
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let version = text
        .split(", V")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    match version {
        Some(version) if ended.status.success() => Ok(version.to_string()),
        _ => Err(format!("{name} --version does not say that it is nvcc")),
    }
}

fn sources() -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir("kernels")?.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    paths.sort();
    Ok(paths)
}

fn fatbin(source: &Path, out: &Path) -> PathBuf {
    let stem = source.file_stem().expect("a source has a name");
    out.join(stem).with_extension("fatbin")
}

/// The architectures to compile for, as `80` or `90a`.
fn archs() -> Vec<String> {
    let archs = env::var("NAS_ENGINE_CUDA_ARCHS").unwrap_or_default();
    let archs = if archs.trim().is_empty() {
        ARCHS
    } else {
        &archs
    };
    archs
        .split(',')
        .map(|arch| arch.trim().to_string())
        .collect()
}

/// That nvcc is asked for nothing that can be no architecture.
fn check_archs() -> Result<(), String> {
    let is_arch = |arch: &String| {
        let digits = arch.strip_suffix('a').unwrap_or(arch);
        (2..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    match archs().into_iter().find(|arch| !is_arch(arch)) {
        None => Ok(()),
        Some(arch) => Err(format!(
            "$NAS_ENGINE_CUDA_ARCHS names `{arch}`; give a list such as {ARCHS}"
        )),
    }
}

/// Names of the code that a fat binary holds.
fn compiled_for() -> Vec<String> {
    let archs = archs();
    let code = archs.iter().map(|arch| format!("sm_{arch}"));
    code.chain([format!("compute_{}", archs[0])]).collect()
}

fn flags() -> Vec<String> {
    // A stack or a spill is an error; registers are told, for tests/it/cuda/budget.rs.
    let ptxas = "-v,-warn-spills,-warn-lmem-usage";
    let fixed = [
        "-std=c++17",
        "-O3",
        "--fatbin",
        "-Werror",
        "all-warnings",
        "-Xptxas",
        ptxas,
    ];
    let mut flags: Vec<String> = fixed.map(String::from).to_vec();
    let archs = archs();
    let code = |arch: &String| format!("-gencode=arch=compute_{arch},code=sm_{arch}");
    flags.extend(archs.iter().map(code));
    let first = &archs[0];
    flags.push(format!(
        "-gencode=arch=compute_{first},code=compute_{first}"
    ));
    flags
}

/// Compiles on all cores what changed since it was compiled last.
fn compile_all(nvcc: &Path, version: &str, sources: &[PathBuf], out: &Path) -> Result<(), String> {
    let flags = flags();
    let headers = fs::read_dir("kernels").map_err(|e| format!("kernels: {e}"))?;
    let mut headers: Vec<PathBuf> = headers.flatten().map(|entry| entry.path()).collect();
    headers.retain(|path| path.extension().is_some_and(|extension| extension == "cuh"));
    headers.sort();
    let waiting = Mutex::new(sources.iter());
    let failures = Mutex::new(vec![]);
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("no thread panics").next();
                    let Some(source) = next else { return };
                    let stamp = stamp(source, &headers, version, &flags);
                    if let Err(error) = compile(nvcc, source, &flags, out, stamp) {
                        failures.lock().expect("no thread panics").push(error);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no thread panics");
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
    }
}

/// What a fat binary depends on, as a number.
fn stamp(source: &Path, headers: &[PathBuf], version: &str, flags: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (version, flags).hash(&mut hasher);
    for path in headers.iter().map(PathBuf::as_path).chain([source]) {
        fs::read(path).unwrap_or_default().hash(&mut hasher);
    }
    hasher.finish()
}

fn compile(
    nvcc: &Path,
    source: &Path,
    flags: &[String],
    out: &Path,
    stamp: u64,
) -> Result<(), String> {
    let to = fatbin(source, out);
    let stamp_file = to.with_extension("stamp");
    if to.exists() && fs::read_to_string(&stamp_file).is_ok_and(|text| text == stamp.to_string()) {
        return Ok(());
    }
    let mut command = Command::new(nvcc);
    command.args(flags).arg("-o").arg(&to).arg(source);
    let ended = command
        .output()
        .map_err(|e| format!("{}: {e}", nvcc.display()))?;
    if !ended.status.success() {
        let words = String::from_utf8_lossy(&ended.stderr);
        return Err(format!("{} does not compile:\n{words}", source.display()));
    }
    let written = fs::write(to.with_extension("ptxas"), &ended.stderr)
        .and_then(|()| fs::write(stamp_file, stamp.to_string()));
    written.map_err(|e| format!("{}: {e}", out.display()))
}
