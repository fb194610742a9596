//! A nats-server of a test's own, on 127.0.0.1, with its store in a folder that goes with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The server that the tests install: see tests/nats/requirements.txt.
pub fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/nats-server");
    assert!(
        program.is_file(),
        "{} is missing; scripts/test installs it",
        program.display()
    );
    program
}

pub struct Server {
    folder: TempDir,
    process: Child,
    port: u16,
}

impl Server {
    /// One that brings everything to the disk before it says so.
    pub fn start() -> Server {
        Server::with("")
    }

    /// One with more lines of configuration.
    pub fn with(lines: &str) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let config = format!(
            "listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n{lines}\n"
        );
        Server::of(&config, folder)
    }

    /// One with a whole configuration, which listens where it likes; its folder is the server's too.
    pub fn of(config: &str, folder: TempDir) -> Server {
        fs::write(folder.path().join("server.conf"), config).unwrap();
        let (process, port) = run(folder.path(), None);
        Server {
            folder,
            process,
            port,
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Starts it again where it was, with another configuration.
    pub fn reconfigure(&mut self, config: &str) {
        fs::write(self.folder.path().join("server.conf"), config).unwrap();
        self.restart();
    }

    /// The address of its monitor, where it has one.
    pub fn monitor(&self) -> String {
        let files = ports_files(self.folder.path());
        let ports = fs::read_to_string(&files[0]).unwrap();
        let ports: serde_json::Value = serde_json::from_str(&ports).unwrap();
        ports["monitoring"][0].as_str().unwrap().to_owned()
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// As a power cut of its machine would, but for what the disk holds.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        self.kill();
        self.process = run(self.folder.path(), Some(self.port)).0;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a server in a folder; its port.
#[expect(
    clippy::zombie_processes,
    reason = "whoever asked for it waits, but where the test has failed"
)]
fn run(folder: &Path, port: Option<u16>) -> (Child, u16) {
    for old in ports_files(folder) {
        fs::remove_file(old).unwrap();
    }
    let mut command = Command::new(program());
    command.arg("--config").arg(folder.join("server.conf"));
    command.arg("--ports_file_dir").arg(folder);
    command.arg("--log").arg(folder.join("log"));
    if let Some(port) = port {
        command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
    }
    let process = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    loop {
        if let Some(port) = ports_files(folder).first().and_then(|file| port_of(file)) {
            return (process, port);
        }
        let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(began.elapsed() < Duration::from_secs(60), "{}", log());
        thread::sleep(Duration::from_millis(20));
    }
}

fn ports_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|ending| ending == "ports"))
        .collect()
}

/// Of a file that may not be whole yet.
fn port_of(file: &Path) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}
