//! Compiles `kernels/*.cu` to fat binaries that the program embeds, where there is an nvcc. Without
//! one the program still builds; `--device cuda` then says what is missing.
//!
//! nvcc is looked for in `$NVCC`, `$CUDA_HOME/bin`, `$CUDA_PATH/bin`, `.cuda/` (what
//! `scripts/cuda-toolkit` installs), `/usr/local/cuda/bin` and `$PATH`. `$NAS_ENGINE_CUDA_ARCHS` is a
//! list such as `80,89,90a`. A source that begins with a line such as `// architectures: sm_90a` is
//! compiled for those of the list that it names alone, and never as PTX.

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
    let (mut embedded, mut only) = (String::new(), String::new());
    let (mut version, mut archs) = (String::new(), vec![]);
    let sources = sources()?;
    for Source { path, archs } in &sources {
        if let Some(archs) = archs {
            let names: Vec<String> = archs.iter().map(|arch| format!("sm_{arch}")).collect();
            only += &format!("    ({:?}, &{names:?}),\n", stem(path));
        }
    }
    if let Some(nvcc) = &nvcc {
        version = version_of(nvcc)?;
        archs = compiled_for();
        compile_all(nvcc, &version, &sources, &out)?;
        for source in sources.iter().filter(|source| source.is_compiled()) {
            let (stem, fatbin) = (stem(&source.path), fatbin(&source.path, &out));
            embedded += &format!("    ({stem:?}, include_bytes!({fatbin:?})),\n");
        }
    } else {
        println!("cargo::warning=the CUDA kernels are left out: {missing}");
    }
    let text = format!(
        "/// The kernels of each source, compiled; empty where the build had no nvcc.\n\
         pub const FATBINS: &[(&str, &[u8])] = &[\n{embedded}];\n\
         /// Sources that have code for some architectures only, with nvcc or without.\n\
         pub const ONLY: &[(&str, &[&str])] = &[\n{only}];\n\
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

/// A file of kernels.
struct Source {
    path: PathBuf,
    /// The architectures that it is compiled for where these are not all, as `90a`.
    archs: Option<Vec<String>>,
}

impl Source {
    /// Whether anything of the list is left to compile it for.
    fn is_compiled(&self) -> bool {
        self.archs.as_ref().is_none_or(|archs| !archs.is_empty())
    }

    fn flags(&self) -> Vec<String> {
        flags(self.archs.as_deref(), &archs())
    }
}

fn sources() -> Result<Vec<Source>, String> {
    let paths = fs::read_dir("kernels").and_then(|entries| {
        let paths = entries.map(|entry| Ok(entry?.path()));
        paths.collect::<io::Result<Vec<PathBuf>>>()
    });
    let mut paths = paths.map_err(|e| format!("kernels: {e}"))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    paths.sort();
    let source = |path: PathBuf| {
        let named = |e: String| format!("{}: {e}", path.display());
        let text = fs::read_to_string(&path).map_err(|e| named(e.to_string()))?;
        let archs = limited_to(&text, &archs()).map_err(named)?;
        Ok(Source { path, archs })
    };
    paths.into_iter().map(source).collect()
}

/// Of the architectures `all`, those that the first line of a source limits it to; nothing where it
/// does not.
pub fn limited_to(text: &str, all: &[String]) -> Result<Option<Vec<String>>, String> {
    let first = text.lines().next().unwrap_or_default();
    let Some(list) = first.strip_prefix("// architectures:") else {
        return Ok(None);
    };
    let mut named = vec![];
    for name in list.split([',', ' ']).filter(|name| !name.is_empty()) {
        match name.strip_prefix("sm_") {
            Some(arch) if is_arch(arch) => named.push(arch),
            _ => {
                return Err(format!(
                    "`{name}` is no architecture; give one such as sm_90a"
                ));
            }
        }
    }
    if named.is_empty() {
        return Err("no architecture is named; give one such as sm_90a".to_string());
    }
    let kept = all.iter().filter(|arch| named.contains(&arch.as_str()));
    Ok(Some(kept.cloned().collect()))
}

fn stem(source: &Path) -> String {
    let stem = source.file_stem().expect("a source has a name");
    stem.to_string_lossy().into_owned()
}

fn fatbin(source: &Path, out: &Path) -> PathBuf {
    out.join(stem(source)).with_extension("fatbin")
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

/// Whether it is the number of an architecture, such as `80` or `90a`.
fn is_arch(arch: &str) -> bool {
    let digits = arch.strip_suffix('a').unwrap_or(arch);
    (2..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// That nvcc is asked for nothing that can be no architecture.
fn check_archs() -> Result<(), String> {
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

/// What nvcc is told for a source: machine code for each of `all`, or of those that it is limited to;
/// and where it is not, code of the first as PTX.
pub fn flags(limited_to: Option<&[String]>, all: &[String]) -> Vec<String> {
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
    let code = |arch: &String| format!("-gencode=arch=compute_{arch},code=sm_{arch}");
    flags.extend(limited_to.unwrap_or(all).iter().map(code));
    if limited_to.is_none() {
        let first = &all[0];
        flags.push(format!(
            "-gencode=arch=compute_{first},code=compute_{first}"
        ));
    }
    flags
}

/// Compiles on all cores what changed since it was compiled last.
fn compile_all(nvcc: &Path, version: &str, sources: &[Source], out: &Path) -> Result<(), String> {
    let headers = fs::read_dir("kernels").map_err(|e| format!("kernels: {e}"))?;
    let mut headers: Vec<PathBuf> = headers.flatten().map(|entry| entry.path()).collect();
    headers.retain(|path| path.extension().is_some_and(|extension| extension == "cuh"));
    headers.sort();
    let waiting = Mutex::new(sources.iter().filter(|source| source.is_compiled()));
    let failures = Mutex::new(vec![]);
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("no thread panics").next();
                    let Some(source) = next else { return };
                    let (path, flags) = (&source.path, source.flags());
                    let stamp = stamp(path, &headers, version, &flags);
                    if let Err(error) = compile(nvcc, path, &flags, out, stamp) {
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
