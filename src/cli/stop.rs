//! When a command is to stop and keep what it has: at a signal, or after a time.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::failure::{Failure, Kind};

/// How long a command works.
#[derive(Args)]
pub struct TimeFlags {
    /// Stop after this time, such as 23h30m (units d, h, m, s), to be gone on with later
    #[arg(long, value_name = "TIME", value_parser = parse)]
    pub time_limit: Option<Duration>,
}

/// Signals that come within this time are one: a cluster sends its own to every process of a job, whose
/// script hands it on.
const ONE_SIGNAL: Duration = Duration::from_millis(500);

/// Signals that a command stops at.
const HEEDED: [i32; 3] = [SIGINT, SIGTERM, SIGUSR1];

/// Whether a command stops at a signal.
pub fn is_heeded(signal: i32) -> bool {
    HEEDED.contains(&signal)
}

/// A flag that Ctrl-C, SIGTERM, SIGUSR1 and the time limit set. A second signal ends the program at once. A
/// signal that the program was started to ignore, as `nohup` and shells do, stays ignored.
pub fn flag(flags: &TimeFlags) -> Result<Arc<AtomicBool>, Failure> {
    let cannot =
        |what: &str, error: io::Error| Failure::new(Kind::Run, format!("cannot {what}: {error}"));
    let stop = Arc::new(AtomicBool::new(false));
    let ignored = ignored();
    let heeded = HEEDED
        .into_iter()
        .filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let signals = Signals::new(heeded).map_err(|error| cannot("listen for signals", error))?;
    let set = Arc::clone(&stop);
    in_background("signals", move || listen(signals, &set))
        .map_err(|error| cannot("start a thread for signals", error))?;
    if let Some(limit) = flags.time_limit {
        let set = Arc::clone(&stop);
        let wait = move || {
            thread::sleep(limit);
            set.store(true, Ordering::Relaxed);
        };
        in_background("time limit", wait)
            .map_err(|error| cannot("start a thread for --time-limit", error))?;
    }
    Ok(stop)
}

fn in_background(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
}

/// Sets the flag at the first signal, and ends the program at the second, with the code that a shell gives to that signal.
fn listen(mut signals: Signals, stop: &AtomicBool) {
    let mut first: Option<Instant> = None;
    for signal in signals.forever() {
        stop.store(true, Ordering::Relaxed);
        let first = *first.get_or_insert_with(Instant::now);
        if first.elapsed() > ONE_SIGNAL {
            signal_hook::low_level::exit(128 + signal);
        }
    }
}

/// The signals that this process ignores, a bit each from the lowest on; none where the system does
/// not say.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// A time such as `1d12h`, `90m` or `23h30m15s`: whole numbers, each with its unit, larger units
/// first.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!("`{text}` is no time; give whole numbers with the units d, h, m, s, such as 23h30m")
    };
    let units = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
    let (mut seconds, mut rest, mut next) = (0u64, text, 0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (digits, after) = rest.split_at(end);
        let mut letters = after.chars();
        let unit = letters.next();
        let at = units[next..]
            .iter()
            .position(|(letter, _)| Some(*letter) == unit);
        let at = next + at.ok_or_else(wrong)?;
        let n: u64 = digits.parse().map_err(|_| wrong())?;
        let part = n.checked_mul(units[at].1).ok_or_else(wrong)?;
        seconds = seconds.checked_add(part).ok_or_else(wrong)?;
        (rest, next) = (letters.as_str(), at + 1);
    }
    match seconds {
        0 => Err(format!("`{text}` leaves no time; give a second at least")),
        _ => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_units() {
        let seconds = |text| parse(text).unwrap().as_secs();
        assert_eq!(seconds("23h30m"), 84_600);
        assert_eq!(seconds("1d2h3m4s"), 93_784);
        assert_eq!(seconds("90m"), 5400);
        assert_eq!(seconds("1s"), 1);
        let wrong = [
            "",
            "0s",
            "0d0h",
            "5",
            "h",
            "5x",
            "3m2h",
            "1h1h",
            "1.5h",
            "-1h",
            "1h ",
            "+1h",
            "99999999999999999999s",
            "999999999999999999d",
        ];
        for text in wrong {
            parse(text).unwrap_err();
        }
    }
}
