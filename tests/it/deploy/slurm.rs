//! `deploy/slurm`'s batch scripts, run as Slurm runs them, with programs that stand in for ours and for
//! `scontrol`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::path;

/// Says on lines of `told` what it is given and heard; ends by itself with the code in `$WORD`, or, told to
/// stop, with `$STOPPED`.
const PROGRAM: &str = r#"#!/bin/bash
trap 'echo "$2 heard USR1" >>told; exit ${STOPPED:-75}' USR1
trap 'echo "$2 heard TERM" >>told; exit ${STOPPED:-75}' TERM
echo "$* by ${NAS_ENGINE_CREDENTIALS:-nobody}" >>told
code=$2_CODE
[ -n "${!code}" ] && exit "${!code}"
while :; do sleep 0.02; done
"#;

const SCONTROL: &str = "#!/bin/sh\necho \"scontrol $*\" >>told\n";

struct Job {
    folder: TempDir,
    process: Child,
}

impl Job {
    fn start(script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Job {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("nas-engine", PROGRAM),
            ("nats-server", PROGRAM),
            ("scontrol", SCONTROL),
        ] {
            let file = folder.path().join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(folder.path().join("told"), "").unwrap();
        let tools = folder.path().to_str().unwrap();
        let process = Command::new("bash")
            .arg(path("deploy/slurm").join(script))
            .args(arguments)
            .current_dir(folder.path())
            .env(
                "PATH",
                format!("{tools}:{}", std::env::var("PATH").unwrap()),
            )
            .env("SLURM_JOB_ID", "41")
            .env_remove("KEYS")
            .env_remove("SLURM_RESTART_COUNT")
            .env_remove("NAS_ENGINE_CREDENTIALS")
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Job { folder, process }
    }

    fn told(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("told")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until so many programs work, and sends the script a signal.
    fn signal(&self, n_programs: usize, signal: &str) {
        let began = Instant::now();
        while self.told().len() < n_programs {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing begins");
            sleep(Duration::from_millis(5));
        }
        let id = self.process.id().to_string();
        Command::new("kill").args([signal, &id]).output().unwrap();
    }

    /// Its exit code, and whether it was requeued.
    fn end(mut self) -> (Option<i32>, bool, Vec<String>) {
        let code = self.process.wait().unwrap().code();
        let mut told = self.told();
        let is_requeued = told.iter().any(|line| line == "scontrol requeue 41");
        told.retain(|line| !line.starts_with("scontrol"));
        told.sort();
        (code, is_requeued, told)
    }
}

#[test]
fn a_worker_that_was_stopped_is_requeued_and_no_other() {
    let begun = "cluster worker night --data d by nobody".to_owned();
    for signal in ["USR1", "TERM"] {
        let job = Job::start("workers.sbatch", &["night", "--data", "d"], &[]);
        job.signal(1, &format!("-{signal}"));
        let heard = format!("worker heard {signal}");
        assert_eq!(job.end(), (Some(75), true, vec![begun.clone(), heard]));
    }
    // Done while it was told to stop, done, of another run, a device at fault, stopped by itself.
    let job = Job::start("workers.sbatch", &["night"], &[("STOPPED", "0")]);
    job.signal(1, "-USR1");
    let (code, is_requeued, _) = job.end();
    assert_eq!((code, is_requeued), (Some(0), false));
    for (code, is_requeued) in [(0, false), (1, true), (2, false), (4, false), (75, true)] {
        let ends = [("worker_CODE", code.to_string())];
        let ends = [(ends[0].0, ends[0].1.as_str())];
        let (ended, requeued, _) = Job::start("workers.sbatch", &["night"], &ends).end();
        assert_eq!((ended, requeued), (Some(code), is_requeued));
    }
}

#[test]
fn a_job_that_fails_is_not_begun_again_for_ever() {
    let often = ("SLURM_RESTART_COUNT", "20");
    let ends = |script: &str, code: (&str, &str)| {
        let (code, is_requeued, _) = Job::start(script, &["night"], &[code, often]).end();
        (code, is_requeued)
    };
    assert_eq!(
        ends("workers.sbatch", ("worker_CODE", "1")),
        (Some(1), false)
    );
    assert_eq!(
        ends("controller.sbatch", ("apply_CODE", "1")),
        (Some(1), false)
    );
    assert_eq!(
        ends("workers.sbatch", ("worker_CODE", "75")),
        (Some(75), true)
    );
}

#[test]
fn a_controller_is_both_of_its_roles_and_ends_with_them() {
    let keys = [("KEYS", "/keys")];
    for signal in ["USR1", "TERM"] {
        let job = Job::start("controller.sbatch", &["night"], &keys);
        job.signal(2, &format!("-{signal}"));
        let told = [
            format!("apply heard {signal}"),
            "cluster apply night by /keys/applier.nk".into(),
            "cluster replica night by /keys/replica.nk".into(),
            format!("replica heard {signal}"),
        ];
        assert_eq!(job.end(), (Some(75), true, told.to_vec()));
    }
    // Both done; one that cannot go on takes the other with it, and the job is begun again where that may help.
    let ends = |codes: &[(&str, &str)]| {
        let (code, is_requeued, told) = Job::start("controller.sbatch", &["night"], codes).end();
        (code, is_requeued, told.len())
    };
    assert_eq!(
        ends(&[("apply_CODE", "0"), ("replica_CODE", "0")]),
        (Some(0), false, 2)
    );
    assert_eq!(ends(&[("apply_CODE", "2")]), (Some(2), false, 3));
    assert_eq!(ends(&[("replica_CODE", "1")]), (Some(1), true, 3));
    assert_eq!(
        ends(&[("apply_CODE", "0"), ("replica_CODE", "75")]),
        (Some(75), true, 2)
    );
}

#[test]
fn a_server_ends_in_good_order_and_begins_again() {
    for signal in ["-USR1", "-TERM"] {
        let job = Job::start("server.sbatch", &["conf"], &[("STOPPED", "0")]);
        job.signal(1, signal);
        let told = ["--config conf by nobody", "conf heard TERM"];
        assert_eq!(job.end(), (Some(0), true, told.map(str::to_owned).to_vec()));
    }
    // The program says the second word of what it is given in the name of its variable.
    let job = Job::start("server.sbatch", &["conf"], &[("conf_CODE", "1")]);
    let (code, is_requeued, _) = job.end();
    assert_eq!((code, is_requeued), (Some(1), false));
}
