//! Which GPUs a name stands for, on machines as they may be; no GPU is needed.

use nas_engine::device::cuda::machine::Listed;
use nas_engine::device::{DeviceError, DeviceRequest};

type Gpus = Result<Vec<Listed>, String>;

/// A machine whose GPUs are refused for these reasons, or can be used.
fn machine(refusals: &[Option<&str>]) -> Gpus {
    let gpu = |(index, refusal): (usize, &Option<&str>)| Listed {
        index,
        name: "GPU of a test".to_string(),
        memory_bytes: 1 << 30,
        capability: (9, 0),
        refusal: refusal.map(str::to_string),
    };
    Ok(refusals.iter().enumerate().map(gpu).collect())
}

/// The numbers of the GPUs that are taken, and why.
fn take(name: &str, gpus: &Gpus, most: usize) -> Result<(Vec<usize>, String), DeviceError> {
    let open = |gpu: &Listed| match gpu.index {
        7 => Err("another process holds it".to_string()),
        index => Ok(index),
    };
    let (taken, why) = DeviceRequest::parse(name)?.take(gpus, most, open)?;
    Ok((taken, why.unwrap_or_default()))
}

/// An error that names the device, says each of the words, and the way around.
fn refused(name: &str, gpus: &Gpus, device: &str, words: &[&str]) {
    let error = take(name, gpus, usize::MAX).expect_err(name).to_string();
    for part in [&[device, "use --device cpu"], words].concat() {
        assert!(error.contains(part), "{name}: no '{part}' in {error}");
    }
}

const OLD: &str = "compute capability 7.5";

#[test]
fn auto_takes_every_gpu_that_can_be_used() {
    let all = [0, 1, 2];
    let (taken, why) = take("auto", &machine(&[None; 3]), usize::MAX).unwrap();
    assert_eq!(taken, all);
    assert!(why.contains("every GPU"), "{why}");
    let some = machine(&[Some(OLD), None, Some(OLD), None]);
    let (taken, why) = take("auto", &some, usize::MAX).unwrap();
    assert_eq!(taken, [1, 3]);
    assert!(why.contains("cuda:0") && why.contains(OLD), "{why}");
    let (taken, why) = take("auto", &some, 1).unwrap();
    assert_eq!(taken, [1]);
    assert!(why.contains("the first GPU"), "{why}");
}

#[test]
fn auto_takes_the_cpu_where_no_gpu_can_be_used_and_says_why() {
    let no_driver = Err("NVIDIA's driver was not found".to_string());
    let (taken, why) = take("auto", &no_driver, usize::MAX).unwrap();
    assert!(taken.is_empty(), "{taken:?}");
    assert!(
        why.contains("no GPU can be used: NVIDIA's driver was not found"),
        "{why}"
    );
    let (taken, why) = take("auto", &machine(&[Some(OLD); 2]), usize::MAX).unwrap();
    assert!(taken.is_empty(), "{taken:?}");
    assert!(why.contains(&format!("cuda:0, cuda:1: {OLD}")), "{why}");
    // One that is not refused, but does not open.
    let eighth = [[Some(OLD); 7].as_slice(), &[None]].concat();
    let (taken, why) = take("auto", &machine(&eighth), usize::MAX).unwrap();
    assert!(taken.is_empty(), "{taken:?}");
    assert!(why.contains("cuda:7: another process"), "{why}");
}

#[test]
fn cuda_takes_what_is_asked_for_or_fails() {
    let gpus = machine(&[None, Some(OLD), None]);
    assert_eq!(take("cuda", &gpus, usize::MAX).unwrap().0, [0, 2]);
    assert_eq!(take("cuda", &gpus, 1).unwrap().0, [0]);
    assert_eq!(take("cuda:2,0", &gpus, usize::MAX).unwrap().0, [2, 0]);
    assert_eq!(take("cuda:2", &gpus, 1).unwrap(), (vec![2], String::new()));
    assert!(
        take("cuda:0,5", &gpus, 1).is_err(),
        "also one that is not needed"
    );
    refused("cuda:0,1", &gpus, "cuda:1", &[OLD]);
    refused("cuda:0,5", &gpus, "cuda:5", &["no GPU 5", "3 visible"]);
    refused("cuda", &machine(&[Some(OLD)]), "cuda", &[OLD]);
    let hidden = Err("CUDA_VISIBLE_DEVICES is empty".to_string());
    refused("cuda", &hidden, "cuda", &["CUDA_VISIBLE_DEVICES"]);
    refused("cuda:1", &hidden, "cuda:1", &["CUDA_VISIBLE_DEVICES"]);
}

#[test]
fn processors_leave_gpus_alone() {
    for name in ["cpu", "reference"] {
        let taken = take(name, &machine(&[None]), usize::MAX).unwrap();
        assert_eq!(taken, (vec![], String::new()), "{name}");
    }
}

#[test]
fn names_that_no_device_has_are_refused() {
    for name in [
        "", "gpu", "cuda:", "cuda:a", "cuda:0,", "cuda:-1", "cuda:256", "cuda0",
    ] {
        let error = DeviceRequest::parse(name).expect_err(name);
        assert!(matches!(error, DeviceError::Unknown(_)), "{name}: {error}");
    }
    for name in ["cuda:0,0", "cuda:1,2,01"] {
        let error = DeviceRequest::parse(name).expect_err(name);
        assert!(
            matches!(error, DeviceError::Twice { .. }),
            "{name}: {error}"
        );
    }
}
