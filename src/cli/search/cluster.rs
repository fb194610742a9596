//! `nas-engine search --cluster URL`: a first try of a search on a server, with all its roles on this machine.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Flags, finish, open_course, open_devices};
use crate::cli::cluster::{AccessFlags, ConnectionFlags, Folder, WITH_INPUT, runtime};
use crate::cli::failure::{Failure, Kind};
use crate::cli::flags;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::stop;
use crate::cluster::engine::Engine;
use crate::cluster::key::Fact;
use crate::cluster::message::Ended;
use crate::cluster::nats::{Nats, RunName};
use crate::cluster::{RoleError, role};
use crate::config::{Config, FILE_NAME};
use crate::data::CACHE_DIR_VARIABLE;
use crate::device;
use crate::disk::Real;
use crate::run::history::History;
use crate::run::{self, timestamp};
use crate::search::Event;
use crate::text;

/// How often is looked for what has ended.
const LOOK: Duration = Duration::from_millis(200);

/// How often is looked whether a role that ends by itself has.
const POLL: Duration = Duration::from_millis(20);

/// How long an export may go on when the search is told to stop.
const EXPORT: Duration = Duration::from_secs(10);

/// Flags of a search on a server.
#[derive(Args)]
pub struct ClusterFlags {
    /// Address of a NATS server that keeps the search: all its roles are begun here, and others may join
    #[arg(long, value_name = "URL", conflicts_with = "resume")]
    cluster: Option<String>,
    /// Name of the run on the server; made of the time by default
    #[arg(long, value_name = "NAME", requires = "cluster")]
    run_name: Option<RunName>,
    #[command(flatten)]
    access: AccessFlags,
    /// Address of the server's monitor, to see that it brings everything to the disk
    #[arg(long, value_name = "URL", requires = "cluster")]
    monitor: Option<String>,
    /// The server's `sync_interval` is `always`: I have looked
    #[arg(long, requires = "cluster")]
    i_checked_sync: bool,
}

impl ClusterFlags {
    /// The server, where the search is to be on one.
    pub fn server(&self) -> Option<&str> {
        self.cluster.as_deref()
    }
}

/// Runs the search: begins its roles, waits for them, and writes its directory.
pub fn run(flags: &Flags, server: &str, output: &Output) -> Result<(), Failure> {
    let stop = stop::flag(&flags.time)?;
    let config = flags.run.resolve()?;
    // What is wrong with the data or the device is told before anything is made.
    open_course(&config, output)?;
    open_devices(&config, output)?;
    let (name, out) = names(flags, &config);
    if out.exists() {
        let message = format!(
            "--out {} is there already; give another folder",
            out.display()
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    writable(&out)?;
    let roles = Roles {
        server,
        name: &name,
        flags: &flags.cluster,
        config: &config,
    };
    let folder = Folder::new(&std::env::temp_dir(), "nas-engine-search-", "");
    let folder = folder.map_err(|error| {
        let message = format!("no temporary folder: {error}; set TMPDIR");
        Failure::new(Kind::Usage, message)
    })?;
    let settings = folder.path().join(FILE_NAME);
    std::fs::write(&settings, config.to_toml())
        .map_err(|error| Failure::new(Kind::Run, format!("{}: {error}", settings.display())))?;
    let ended = roles.init(&settings, &stop)?;
    let there = ended.map_or(String::new(), |ended| {
        let (ended, of) = (text::count(ended), text::count(config.search.samples));
        format!(", which is there already: {ended} of {of} samples have ended")
    });
    output.note(&format!("run on the server: {name}{there}"));
    let mut progress = Progress::new(&config, &History::default(), flags.no_progress, output);
    let ended = roles.run(&stop, &mut |event| progress.see(&event));
    progress.clear();
    ended?;
    roles.export(&out, &stop)?;
    let run::Facts { config, history } = run::read(&Real, &out)?;
    output.note(&format!(
        "workers keep no weights: those of the best are trained again by: nas-engine search --resume {}",
        text::shell_path(&out)
    ));
    finish::show((&config, &out, &history), None, output)
}

/// That the run's directory can be made when the search is done.
fn writable(out: &Path) -> Result<(), Failure> {
    let above = match out.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    let tried = std::fs::create_dir_all(above).and_then(|()| tempfile::tempfile_in(above));
    tried.map(drop).map_err(|error| {
        let message = format!("--out {}: {error}; give another folder", out.display());
        Failure::new(Kind::Usage, message)
    })
}

/// The run's name on the server, and its directory.
fn names(flags: &Flags, config: &Config) -> (RunName, PathBuf) {
    let by_time = format!("{}-{}", timestamp(run::now() as u64), config.search.preset);
    let name = flags.cluster.run_name.clone();
    let name = name.unwrap_or_else(|| by_time.parse().expect("a time and a preset are a name"));
    let out = flags.out.clone();
    let out = out.unwrap_or_else(|| Path::new("runs").join(name.to_string()));
    (name, out)
}

/// The roles of a search, each a process of this program.
struct Roles<'a> {
    server: &'a str,
    name: &'a RunName,
    flags: &'a ClusterFlags,
    config: &'a Config,
}

impl Roles<'_> {
    fn command(&self, role: &str) -> Result<Command, Failure> {
        let program = std::env::current_exe().map_err(|error| begin(role, &error))?;
        let mut command = Command::new(program);
        command.args(["--quiet", "cluster", role, &self.name.to_string()]);
        command.args(["--server", self.server]);
        // What was typed and what variables say is in the settings; a variable would go before them.
        for (name, _) in std::env::vars_os() {
            let is_flag = name.to_string_lossy().starts_with("NAS_ENGINE_");
            if is_flag && name != CACHE_DIR_VARIABLE {
                command.env_remove(name);
            }
        }
        command.args(self.flags.access.arguments());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(command)
    }

    /// Runs a role that ends by itself, or is told to; its JSON object.
    fn wait(&self, role: &str, more: &[OsString], stop: &AtomicBool) -> Result<Value, Failure> {
        let cannot = |error: std::io::Error| begin(role, &error);
        let mut command = self.command(role)?;
        command.arg("--json").stdout(Stdio::piped());
        if role == "export" {
            command.arg(WITH_INPUT).stdin(Stdio::piped());
        }
        let mut child = command.args(more).spawn().map_err(cannot)?;
        // An export that goes well is done before that.
        let grace = if role == "export" {
            EXPORT
        } else {
            Duration::ZERO
        };
        let (mut is_told, mut since) = (false, None);
        let status = loop {
            if let Some(status) = child.try_wait().map_err(cannot)? {
                break status;
            }
            let is_due = stop.load(Ordering::Relaxed)
                && since.get_or_insert_with(Instant::now).elapsed() >= grace;
            if !is_told && is_due {
                // One that a terminal's signal has reached hears it twice, or has ended.
                let _ = kill_process(Pid::from_child(&child), Signal::TERM);
                is_told = true;
            }
            thread::sleep(POLL);
        };
        if status.success() {
            // A line, for which a pipe has room: it has been waited for.
            let said = child.stdout.take().map(serde_json::from_reader);
            return Ok(said.and_then(Result::ok).unwrap_or_default());
        }
        let is_stopped = status.code() == Some(Kind::Stopped.exit_code().into())
            || status.signal().is_some_and(stop::is_heeded);
        if !is_stopped {
            return Err(self.failed(role, status.code()));
        }
        let message = match role {
            "export" => format!(
                "the run is done, and not yet exported; {}",
                self.to_export()
            ),
            _ => format!(
                "before any child; begin the run with the same command and --run-name {}",
                self.name
            ),
        };
        Err(Failure::new(Kind::Stopped, message))
    }

    /// Makes the run; how many of its children have ended, where it was there before.
    fn init(&self, settings: &Path, stop: &AtomicBool) -> Result<Option<u64>, Failure> {
        let mut more: Vec<OsString> = vec!["--config".into(), settings.into()];
        if let Some(monitor) = &self.flags.monitor {
            more.extend(["--monitor".into(), monitor.into()]);
        }
        if self.flags.i_checked_sync {
            more.push("--i-checked-sync".into());
        }
        let said = self.wait("init", &more, stop)?;
        let ended = said["ended"].as_u64();
        Ok(ended.filter(|_| said["existed"] == true))
    }

    fn export(&self, out: &Path, stop: &AtomicBool) -> Result<(), Failure> {
        let mut more: Vec<OsString> = vec!["--out".into(), out.into()];
        more.extend(self.data());
        self.wait("export", &more, stop).map(drop)
    }

    fn data(&self) -> Vec<OsString> {
        let path = self.config.data.path.as_ref();
        path.map_or(vec![], |path| vec!["--data".into(), path.into()])
    }

    /// Begins a role that lasts, as long as this process does: then its input ends, whoever ends this.
    fn start(&self, role: &str, more: &[OsString]) -> Result<(String, Child), Failure> {
        let mut command = self.command(role)?;
        command.arg(WITH_INPUT).stdin(Stdio::piped());
        let child = command.args(more).spawn();
        let child = child.map_err(|error| begin(role, &error))?;
        Ok((role.to_owned(), child))
    }

    fn start_all(&self, roles: &mut Vec<(String, Child)>) -> Result<(), Failure> {
        roles.push(self.start("apply", &[])?);
        roles.push(self.start("replica", &[])?);
        let mut more = self.data();
        more.extend(["--device".into(), OsString::from(&self.config.device.name)]);
        let threads = flags::threads(self.config).to_string();
        more.extend(["--threads".into(), OsString::from(&threads)]);
        // On GPUs a worker trains one on each.
        if device::gpu_numbers(&self.config.device.name)?.is_empty() {
            more.extend(["--children".into(), threads.into()]);
        }
        roles.push(self.start("worker", &more)?);
        Ok(())
    }

    /// Runs all roles until the search is done, or is told to stop.
    fn run(&self, stop: &AtomicBool, watch: &mut dyn FnMut(Event)) -> Result<(), Failure> {
        let mut roles = Vec::new();
        let ended = self
            .start_all(&mut roles)
            .and_then(|()| self.attend(&mut roles, stop, watch));
        for (_, child) in &roles {
            // One that has ended meanwhile hears nothing, and all that matters is that it ends.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
        for (_, child) in &mut roles {
            let _ = child.wait();
        }
        ended
    }

    fn attend(
        &self,
        roles: &mut Vec<(String, Child)>,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        runtime()?.block_on(async {
            let access = self.flags.access.clone();
            let connection = ConnectionFlags::new(self.name.clone(), self.server, access);
            let (engine, _) = connection.open(&["fact.child.*"]).await?;
            let mut seen = Seen::new(self.config);
            while !roles.is_empty() {
                tokio::select! {
                    looked = seen.look(&engine, watch) => looked?,
                    // Where the server does not answer, a signal is heeded all the same.
                    () = told(stop) => {}
                }
                for i in (0..roles.len()).rev() {
                    let (role, child) = &mut roles[i];
                    let ended = child.try_wait().map_err(|error| begin(role, &error))?;
                    let Some(status) = ended else {
                        continue;
                    };
                    let (role, _) = roles.remove(i);
                    if !status.success() && !stop.load(Ordering::Relaxed) {
                        return Err(self.failed(&role, status.code()));
                    }
                }
                if stop.load(Ordering::Relaxed) {
                    return Err(Failure::new(Kind::Stopped, self.goes_on()));
                }
                engine.changed(LOOK).await;
            }
            seen.look(&engine, watch).await?;
            match role::fact(&engine, Fact::End).await? {
                Some(_) => Ok(()),
                None => Err(Failure::new(Kind::Stopped, self.drained())),
            }
        })
    }

    fn goes_on(&self) -> String {
        format!(
            "run {} stays on {}; go on with the same command and --run-name {}, or by `nas-engine cluster`",
            self.name,
            text::shell_path(Path::new(self.server)),
            self.name
        )
    }

    fn to_export(&self) -> String {
        format!(
            "it stays on the server: give the same command and --run-name {name}, or nas-engine cluster export {name} \
             --server {} --out DIR",
            text::shell_path(Path::new(self.server)),
            name = self.name
        )
    }

    fn drained(&self) -> String {
        format!(
            "run {name} is drained; give `nas-engine cluster drain {name} --undo --server {}`, then the same command \
             and --run-name {name}",
            text::shell_path(Path::new(self.server)),
            name = self.name
        )
    }

    /// A role has ended otherwise than it should; it has said why.
    fn failed(&self, role: &str, code: Option<i32>) -> Failure {
        let kind = code.map_or(Kind::Run, Kind::of_code);
        let how = match code {
            Some(code) => format!("with code {code}"),
            None => "by a signal".to_owned(),
        };
        let message = match role {
            "init" => format!("`cluster init` ended {how}; see above"),
            "export" => format!(
                "`cluster export` ended {how}; see above; the run is done; {}",
                self.to_export()
            ),
            _ => format!(
                "`cluster {role}` ended {how}; see above; {}",
                self.goes_on()
            ),
        };
        Failure::new(kind, message)
    }
}

/// Waits until it is set.
async fn told(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(POLL).await;
    }
}

fn begin(role: &str, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Run, format!("cannot begin `cluster {role}`: {error}"))
}

/// The children that were seen to end.
struct Seen {
    ended: Vec<bool>,
    /// Those that may be under way beside the first that has not ended.
    reach: usize,
}

impl Seen {
    fn new(config: &Config) -> Seen {
        let search = &config.search;
        let at_once = u64::from(search.replicas) * search.children_per_update;
        Seen {
            ended: vec![false; search.samples as usize],
            reach: 4 * at_once as usize,
        }
    }

    async fn look(&mut self, engine: &Nats, watch: &mut dyn FnMut(Event)) -> Result<(), Failure> {
        let first = self.ended.iter().position(|ended| !ended);
        let first = first.unwrap_or(self.ended.len());
        let end = self.ended.len().min(first + self.reach);
        for sample in first..end {
            if self.ended[sample] {
                continue;
            }
            let fact = role::fact(engine, Fact::Child(sample as u64)).await?;
            if let Some(bytes) = fact {
                let ended = Ended::from_bytes(&bytes).map_err(RoleError::from)?;
                watch(Event::Ended(&ended.child));
                self.ended[sample] = true;
            }
        }
        Ok(())
    }
}
