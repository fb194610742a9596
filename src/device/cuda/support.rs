//! What a driver and a GPU must be for the kernels that are compiled in: questions of versions, for
//! which no GPU is needed.

use std::ffi::OsStr;

use super::compiled::ONLY;

/// The least CUDA version of a driver: cudarc's calls are those of 13.0, which is driver 580.
const LEAST_DRIVER: i32 = 13_000;

/// The least compute capability of a GPU that has what the kernels are written for (bfloat16 in its
/// tensor cores).
const LEAST_CAPABILITY: (i32, i32) = (8, 0);

/// A version as the driver gives it, 13000 say, as `13.0`.
pub fn dotted(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// Whether a driver runs code of a toolkit, by versions such as 13000 and `13.0.88`: it must be of
/// the toolkit's major version or a later one.
///
/// # Errors
/// Both versions and the next step.
pub fn check_driver(driver: i32, toolkit: &str) -> Result<(), String> {
    let major = toolkit
        .split('.')
        .next()
        .and_then(|n| n.parse::<i32>().ok());
    let least = LEAST_DRIVER.max(major.unwrap_or(0).saturating_mul(1000));
    if driver >= least {
        return Ok(());
    }
    let driver_580 = match least {
        LEAST_DRIVER => " (580 or newer)",
        _ => "",
    };
    Err(format!(
        "NVIDIA's driver supports CUDA {}, but the kernels were compiled by toolkit {toolkit}; \
         install a driver for CUDA {}{driver_580}",
        dotted(driver),
        dotted(least),
    ))
}

/// Whether a GPU of this compute capability runs any of the code compiled in, by names such as
/// `sm_90a` (machine code) and `compute_80` (PTX).
///
/// # Errors
/// What the GPU needs, what there is, and the next step.
pub fn check_capability(capability: (i32, i32), archs: &[&str]) -> Result<(), String> {
    let (major, minor) = capability;
    if capability < LEAST_CAPABILITY {
        return Err(format!(
            "compute capability {major}.{minor}; the kernels need 8.0 or higher"
        ));
    }
    if archs.iter().any(|arch| runs_on(arch, capability)) {
        return Ok(());
    }
    Err(format!(
        "compute capability {major}.{minor}, but the kernels were compiled for {}; build with \
         NAS_ENGINE_CUDA_ARCHS={major}{minor}",
        archs.join(", ")
    ))
}

/// Machine code runs on its own major version from its minor version on, PTX on all that is newer;
/// either with a letter behind its number, on exactly that capability.
fn runs_on(arch: &str, capability: (i32, i32)) -> bool {
    let Some((kind, name)) = arch.split_once('_') else {
        return false;
    };
    let digits = name.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let Ok(number) = digits.parse::<i32>() else {
        return false;
    };
    let least = (number / 10, number % 10);
    match kind {
        _ if digits.len() < name.len() => capability == least,
        "sm" => capability.0 == least.0 && capability.1 >= least.1,
        "compute" => capability >= least,
        _ => false,
    }
}

/// Whether a source of kernels, by its stem, has code for a GPU of this compute capability.
pub fn is_compiled_for(source: &str, capability: (i32, i32)) -> bool {
    has_code(source, capability, ONLY)
}

/// The same, where the sources of `only` are compiled for the architectures named with them alone, and
/// all others for every GPU that is not refused.
fn has_code(source: &str, capability: (i32, i32), only: &[(&str, &[&str])]) -> bool {
    let limited = only.iter().find(|(stem, _)| *stem == source);
    limited.is_none_or(|(_, archs)| archs.iter().any(|arch| runs_on(arch, capability)))
}

/// Why a driver shows no GPU, by the value of `CUDA_VISIBLE_DEVICES`.
pub fn none_visible(variable: Option<&OsStr>) -> String {
    match variable {
        None => "NVIDIA's driver finds no GPU".to_string(),
        Some(value) if value.is_empty() => {
            "CUDA_VISIBLE_DEVICES is empty, which hides every GPU; unset it or name some"
                .to_string()
        }
        Some(value) => format!(
            "CUDA_VISIBLE_DEVICES={} hides every GPU that there is; unset it or name others",
            value.display()
        ),
    }
}

/// The driver's own version in the text of `/proc/driver/nvidia/version`, such as `580.65.06`.
pub fn release(text: &str) -> Option<&str> {
    let is_version =
        |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.lines().next()?.split_whitespace().find(is_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_must_be_of_the_toolkit_s_major_version() {
        for (driver, toolkit) in [(13_000, "13.0.88"), (13_010, "13.0.88"), (13_000, "13.2.1")] {
            assert_eq!(check_driver(driver, toolkit), Ok(()), "{driver} {toolkit}");
        }
        for (driver, toolkit, next) in [
            (12_080, "13.0.88", "CUDA 13.0 (580 or newer)"),
            (12_090, "12.9.1", "CUDA 13.0 (580 or newer)"),
            (13_020, "14.1.0", "CUDA 14.0"),
        ] {
            let words = check_driver(driver, toolkit).unwrap_err();
            for part in [&dotted(driver), toolkit, next] {
                assert!(words.contains(part), "no '{part}' in {words}");
            }
        }
    }

    #[test]
    fn a_gpu_needs_code_of_its_architecture_or_older_ptx() {
        let default = ["sm_80", "sm_89", "sm_90a", "compute_80"];
        for capability in [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)] {
            assert_eq!(
                check_capability(capability, &default),
                Ok(()),
                "{capability:?}"
            );
        }
        let refused = |capability, archs: &[&str], words: &[&str]| {
            let error = check_capability(capability, archs).unwrap_err();
            for part in words {
                assert!(error.contains(part), "no '{part}' in {error}");
            }
        };
        refused((7, 5), &default, &["7.5", "8.0"]);
        // Machine code of a minor version below runs, of one above or of another major does not.
        assert_eq!(check_capability((8, 9), &["sm_86"]), Ok(()));
        refused((8, 0), &["sm_86"], &["8.0", "sm_86", "ARCHS=80"]);
        refused((9, 0), &["sm_80", "sm_89"], &["9.0", "sm_80, sm_89"]);
        // What has a letter runs on its own capability alone, PTX too.
        refused((10, 0), &["sm_90a", "compute_90a"], &["10.0", "ARCHS=100"]);
        refused((8, 0), &["sm_90", "compute_90"], &["8.0"]);
        refused((9, 0), &[], &["9.0"]);
    }

    #[test]
    fn a_source_for_some_architectures_has_code_on_these_alone() {
        let only: &[(&str, &[&str])] = &[("wide", &["sm_90a"]), ("both", &["sm_80", "sm_90a"])];
        for (source, capability, has) in [
            ("wide", (9, 0), true),
            ("wide", (8, 0), false),
            ("wide", (8, 9), false),
            ("wide", (10, 0), false),
            ("both", (8, 9), true),
            ("both", (9, 0), true),
            ("both", (12, 0), false),
            ("other", (8, 0), true),
            ("other", (12, 0), true),
        ] {
            assert_eq!(
                has_code(source, capability, only),
                has,
                "{source} {capability:?}"
            );
        }
    }

    #[test]
    fn a_variable_that_hides_the_gpus_is_named() {
        assert!(none_visible(Some(OsStr::new(""))).contains("CUDA_VISIBLE_DEVICES is empty"));
        assert!(none_visible(Some(OsStr::new("7"))).contains("CUDA_VISIBLE_DEVICES=7"));
        assert!(!none_visible(None).contains("CUDA_VISIBLE_DEVICES"));
    }

    #[test]
    fn the_driver_s_own_version_is_read() {
        let text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release \
                    Build  (dvs-builder)  Sun Jul 27\nGCC version:  gcc version 12.2.0\n";
        assert_eq!(release(text), Some("580.65.06"));
        assert_eq!(release(""), None);
        assert_eq!(release("GCC version: none\n1.2"), None);
    }
}
