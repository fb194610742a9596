//! Where a worker trains: one child at a time on each GPU, or some that share a processor.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use crate::cli::failure::{Failure, Kind};
use crate::cli::flags;
use crate::cli::machine;
use crate::cluster::RoleError;
use crate::cluster::control::End;
use crate::config::Config;
use crate::device;
use crate::search::local;

/// Where one child is trained at a time.
pub struct Place {
    /// The settings of its children.
    pub config: Config,
    /// What trains there, in words.
    pub device: String,
    /// Whether that is a GPU.
    pub is_gpu: bool,
}

/// The places of this machine, one at least; `children` are those that share a processor.
pub fn of(config: &Config, model: &str, children: u32) -> Result<Vec<Place>, Failure> {
    among(
        &device::gpu_numbers(&config.device.name)?,
        config,
        model,
        children,
    )
}

/// As [`of`], on these GPUs; on the processor where there are none.
fn among(
    gpus: &[usize],
    config: &Config,
    model: &str,
    children: u32,
) -> Result<Vec<Place>, Failure> {
    let mut config = config.clone();
    if gpus.is_empty() {
        // Which children are too large depends on the machine, never on what else limits a child.
        if config.device.memory_bytes.is_none() {
            config.device.memory_bytes = machine::memory_bytes().map(local::share);
        }
        let threads = flags::threads(&config);
        let threads = (threads / children as usize).max(1);
        config.device.threads = Some(threads);
        let device = match threads {
            1 => format!("{model}, 1 thread"),
            n => format!("{model}, {n} threads"),
        };
        let place = || Place {
            config: config.clone(),
            device: device.clone(),
            is_gpu: false,
        };
        return Ok((0..children).map(|_| place()).collect());
    }
    if children > 1 {
        let message = format!(
            "--children {children}: a GPU trains one child at a time, and so does each of several; leave it out"
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    let place = |number: &usize| {
        let mut config = config.clone();
        config.device.name = format!("cuda:{number}");
        Place {
            device: format!("cuda:{number}, {model}"),
            config,
            is_gpu: true,
        }
    };
    Ok(gpus.iter().map(place).collect())
}

/// All of them, in words.
pub fn describe(places: &[Place]) -> String {
    match places {
        [one] => one.device.clone(),
        [first, ..] if !first.is_gpu => format!("{} times {}", places.len(), first.device),
        several => {
            let names: Vec<&str> = several.iter().map(|place| &*place.device).collect();
            names.join("; ")
        }
    }
}

/// Waits until all have ended. One whose device is not to be used any more leaves the others at work, unless
/// it is the last; any other error has all of them give back what they have.
pub async fn all(
    mut working: JoinSet<Result<End, RoleError>>,
    stop: &AtomicBool,
) -> Result<End, RoleError> {
    let (mut end, mut wrong) = (None, None);
    while let Some(ended) = working.join_next().await {
        match ended.expect("a worker does not panic") {
            Ok(how) => end = Some(how),
            Err(error @ RoleError::Device(_)) => {
                if !working.is_empty() {
                    tracing::warn!("{error}; others go on");
                }
                // Told at the end, unless something worse is.
                wrong.get_or_insert(error);
            }
            Err(error) => {
                stop.store(true, Ordering::Relaxed);
                wrong = Some(error);
            }
        }
    }
    match (wrong, end) {
        (Some(error @ RoleError::Device(_)), None) => Err(error),
        (Some(RoleError::Device(_)) | None, Some(end)) => Ok(end),
        (Some(error), _) => Err(error),
        (None, None) => Ok(End::Own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_count(children: u32, threads: usize) -> Vec<Option<usize>> {
        let mut config = Config::preset("sample").unwrap();
        config.device.name = "cpu".into();
        config.device.threads = Some(threads);
        let places = of(&config, "cpu", children).unwrap();
        places
            .iter()
            .map(|place| place.config.device.threads)
            .collect()
    }

    #[test]
    fn children_share_threads() {
        assert_eq!(place_count(1, 6), [Some(6)]);
        assert_eq!(place_count(2, 6), [Some(3); 2]);
        assert_eq!(place_count(4, 2), [Some(1); 4]);
    }

    #[test]
    fn each_gpu_is_a_place() {
        let mut config = Config::preset("sample").unwrap();
        config.device.name = "cuda".into();
        let places = among(&[0, 2], &config, "H200", 1).unwrap();
        let names = places.iter().map(|place| &*place.config.device.name);
        assert!(names.eq(["cuda:0", "cuda:2"]) && places.iter().all(|place| place.is_gpu));
        assert_eq!(describe(&places), "cuda:0, H200; cuda:2, H200");
        let refused = among(&[0, 2], &config, "H200", 2).err().unwrap();
        assert!(
            refused.message.contains("--children 2"),
            "{}",
            refused.message
        );
    }

    #[test]
    fn the_last_device_decides() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let ends = |results: Vec<Result<End, RoleError>>| {
            runtime.block_on(async {
                let stop = AtomicBool::new(false);
                let mut working = JoinSet::new();
                for result in results {
                    working.spawn(async move { result });
                }
                let end = all(working, &stop).await;
                (end, stop.into_inner())
            })
        };
        let device = |words: &str| Err(RoleError::Device(words.into()));
        let other = || Err(RoleError::OtherRun("other".into()));
        assert_eq!(ends(vec![Ok(End::Own), device("a")]), (Ok(End::Own), false));
        assert_eq!(ends(vec![device("a"), device("a")]), (device("a"), false));
        assert_eq!(
            ends(vec![device("a"), Ok(End::Drained)]),
            (Ok(End::Drained), false)
        );
        let (end, is_stopped) = ends(vec![Ok(End::Own), other(), device("a")]);
        assert_eq!((end, is_stopped), (other(), true));
    }
}
