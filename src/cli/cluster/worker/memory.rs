//! `--child-memory`: how much memory a child may take.

use crate::cli::output::Output;
use crate::cluster::process::Memory;
use crate::text;

/// Bytes without which no child begins.
const LEAST_MEMORY: u64 = 64 << 20;

/// What holds a child's memory to its limit, which is said.
pub fn limit(bytes: Option<u64>, is_cpu: bool, output: &Output) -> Memory {
    let Some(bytes) = bytes else {
        return Memory::Free;
    };
    match Memory::limited(bytes, !is_cpu) {
        Ok(memory) => {
            let size = text::bytes(bytes);
            output.note(&format!(
                "a child may take {size} of memory, {}",
                memory.describe()
            ));
            memory
        }
        Err(why) => {
            tracing::warn!(
                "--child-memory: there is no limit here, for {why}; on a GPU, whose driver takes memory that counts \
                 as data, only a control group will do"
            );
            Memory::Free
        }
    }
}

/// A size such as `4G` or `512M`.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "`{text}` is no size; give a whole number of K, M, G or T, such as 4G, 64M at least"
        )
    };
    let units = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];
    let unit = units
        .iter()
        .find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, bits)));
    let (digits, bits) = unit.ok_or_else(wrong)?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| is_number);
    let bytes = number.and_then(|number| number.checked_mul(1 << bits));
    bytes
        .filter(|&bytes| bytes >= LEAST_MEMORY)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse("64M"), Ok(64 << 20));
        assert_eq!(parse("4G"), Ok(4 << 30));
        assert_eq!(parse("65536K"), Ok(64 << 20));
        for text in [
            "",
            "4",
            "G",
            "-4G",
            "+4G",
            "4.5G",
            "4g",
            "63M",
            "1K",
            "99999999999999999999T",
            "16777216T",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
