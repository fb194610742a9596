//! Roles with keys of their own, on a server by the printed configuration, with and without TLS; and what a
//! server does not let in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

use super::super::{Ended, data_folder, object, program, run, text};
use super::SETTINGS;
use crate::cluster::server::Server;

/// A server by the printed configuration, and a folder with keys and certificates.
struct Guarded {
    server: Server,
    folder: TempDir,
    data: TempDir,
    /// Flags of every role, beside its credentials.
    tls: Vec<String>,
}

/// What the command prints for a folder of keys.
fn config(keys: &Path, store: &Path, more: &[&str]) -> String {
    let mut command = program();
    command.args(["cluster", "server-config", "night", "--keys", &text(keys)]);
    command.args(["--listen", "127.0.0.1:-1", "--monitor", "127.0.0.1:-1"]);
    command.args(["--store", &text(store)]);
    let ended = run(command.args(more));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout
}

impl Guarded {
    fn start(folder: TempDir, more: &[&str], tls: Vec<String>) -> Guarded {
        let home = tempfile::tempdir().unwrap();
        let config = config(
            &folder.path().join("keys"),
            &home.path().join("store"),
            more,
        );
        Guarded {
            server: Server::of(&config, home),
            folder,
            data: data_folder(120, 16),
            tls,
        }
    }

    fn url(&self) -> String {
        match self.tls.is_empty() {
            true => self.server.url(),
            false => self.server.url().replace("nats://", "tls://"),
        }
    }

    /// A command without credentials.
    fn nobody(&self, role: &str, more: &[&str]) -> Command {
        let mut command = program();
        command.args(["cluster", role, "night", "--server", &self.url()]);
        command.args(more);
        command
    }

    /// A command by the rights of a role's key.
    fn command(&self, key: &str, role: &str, more: &[&str]) -> Command {
        let key = self.folder.path().join(format!("keys/{key}.nk"));
        let mut command = self.nobody(role, more);
        command.args(&self.tls).env("NAS_ENGINE_CREDENTIALS", key);
        command
    }

    fn init(&self, key: &str) -> Ended {
        let data = text(self.data.path());
        let flags = ["--i-checked-sync", "--shards", "2", "--data", &data];
        let mut command = self.command(key, "init", &flags);
        run(command.args(SETTINGS))
    }

    fn start_role(&self, key: &str, role: &str, more: &[&str]) -> Child {
        let mut command = self.command(key, role, more);
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// A whole run, by a role of each kind.
    fn search(&self) -> Value {
        let ended = self.init("admin");
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let data = text(self.data.path());
        let worker = ["--data", &data, "--device", "cpu", "--threads", "1"];
        let roles = [
            self.start_role("applier", "apply", &[]),
            self.start_role("replica", "replica", &[]),
            self.start_role("worker", "worker", &worker),
        ];
        for role in roles {
            let ended = role.wait_with_output().unwrap();
            let words = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert_eq!(ended.status.code(), Some(0), "{words}");
        }
        let mut status = self.command("admin", "status", &["--json", "--quiet"]);
        object(&run(&mut status))
    }
}

fn refused(ended: &Ended, code: i32, words: &str) {
    assert_eq!(ended.code, code, "{}", ended.stderr);
    assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
}

#[test]
fn four_roles_with_four_keys_finish_a_run() {
    let guarded = Guarded::start(tempfile::tempdir().unwrap(), &[], vec![]);
    let status = guarded.search();
    assert_eq!(
        (&status["state"], &status["samples"]),
        (&"finished".into(), &10.into())
    );

    // Each by another's rights: the first subject that is not its own is named, and nothing is waited for.
    let data = text(guarded.data.path());
    let flags = ["--data", &data, "--device", "cpu"];
    let subject = |ended: Ended, words: &str| {
        refused(&ended, 2, "these credentials may not");
        refused(&ended, 2, words);
    };
    subject(
        run(&mut guarded.command("replica", "worker", &flags)),
        "may not subscribe to `nas.night.fact.end`",
    );
    subject(
        run(&mut guarded.command("worker", "replica", &[])),
        "may not subscribe to `nas.night.fact.child.*`",
    );
    subject(
        run(&mut guarded.command("replica", "apply", &[])),
        "may not subscribe to `nas.night.grad.>`",
    );
    subject(guarded.init("worker"), "to `");
    // The system's key is of an account in which nobody keeps runs.
    let mut system = guarded.command("system", "status", &[]);
    refused(&run(&mut system), 2, "it is not on the server");

    // Whom the server does not know.
    refused(
        &run(&mut guarded.nobody("status", &[])),
        2,
        "give --credentials FILE",
    );
    let credentials = |content: &str| {
        let file = guarded.folder.path().join("mine");
        fs::write(&file, content).unwrap();
        run(&mut guarded.nobody("status", &["--credentials", &text(&file)]))
    };
    let stranger = nkeys::KeyPair::new_user().seed().unwrap();
    refused(&credentials(&stranger), 2, "authorization violation");
    let damaged = credentials(&stranger[..40]);
    refused(&damaged, 2, "its seed is damaged");
    assert!(
        !damaged.stderr.contains(&stranger[..40]),
        "{}",
        damaged.stderr
    );
    refused(&credentials("no rights"), 2, "give a user's .creds file");
    let missing = run(&mut guarded.nobody("status", &["--credentials", "/missing"]));
    refused(&missing, 2, "--credentials /missing");
}

#[test]
fn keys_are_made_once_and_shown_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, store) = (folder.path().join("some/keys"), folder.path().join("store"));
    let first = config(&keys, &store, &[]);
    assert_eq!(config(&keys, &store, &[]), first, "the same keys again");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&keys), 0o700);
    for name in ["admin", "worker", "replica", "applier", "system"] {
        let file = keys.join(format!("{name}.nk"));
        assert_eq!(mode(&file), 0o600, "{name}");
        let seed = fs::read_to_string(&file).unwrap();
        assert!(!first.contains(seed.trim()));
        let public = nkeys::KeyPair::from_seed(seed.trim()).unwrap().public_key();
        assert_eq!(first.matches(&public).count(), 1, "{name}");
    }
    let flags = |keys: &Path| {
        let mut command = program();
        run(command.args(["cluster", "server-config", "night", "--keys", &text(keys)]))
    };
    fs::write(keys.join("worker.nk"), "SUBROKEN").unwrap();
    let ended = flags(&keys);
    refused(&ended, 2, "worker.nk: no seed of an NKey");
    assert!(!ended.stderr.contains("SUBROKEN"));
    refused(&flags(&keys.join("worker.nk")), 2, "--keys");
}

/// An authority, and what it has signed: a certificate of 127.0.0.1 for both sides.
fn authority(folder: &Path, name: &str) -> [String; 3] {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let hosts = ["127.0.0.1", "localhost"].map(str::to_owned).to_vec();
    let params = CertificateParams::new(hosts).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let files = [
        ("ca.pem", authority.pem()),
        ("cert.pem", certificate.pem()),
        ("key.pem", key.serialize_pem()),
    ];
    files.map(|(file, content)| {
        let path = folder.join(format!("{name}-{file}"));
        fs::write(&path, content).unwrap();
        text(&path)
    })
}

#[test]
fn roles_speak_tls() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, cert, key] = authority(folder.path(), "ours");
    let [other, other_cert, other_key] = authority(folder.path(), "theirs");
    let server = [
        "--server-cert",
        &cert,
        "--server-key",
        &key,
        "--client-ca",
        &ca,
    ];
    let flags = ["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key].map(str::to_owned);
    let mut guarded = Guarded::start(folder, &server, flags.to_vec());
    assert_eq!(guarded.search()["state"], "finished");

    let mut with = |flags: &[&str]| {
        guarded.tls = flags.iter().map(|&flag| flag.to_owned()).collect();
        // A server that asks for TLS gets it by either kind of address.
        let by_name = run(&mut guarded.command("admin", "status", &[]));
        assert_eq!(by_name.code, 2, "{}", by_name.stderr);
        by_name
    };
    let wrong = with(&["--tls-ca", &other, "--tls-cert", &cert, "--tls-key", &key]);
    refused(&wrong, 2, "give --tls-ca FILE");
    refused(&wrong, 2, "invalid peer certificate");
    refused(
        &with(&["--tls-ca", &ca]),
        2,
        "--tls-cert and --tls-key where the server asks",
    );
    let theirs = with(&[
        "--tls-ca",
        &ca,
        "--tls-cert",
        &other_cert,
        "--tls-key",
        &other_key,
    ]);
    refused(&theirs, 2, "give --tls-ca FILE");
    refused(&with(&[]), 2, "give --tls-ca FILE");
    refused(
        &with(&["--tls-ca", &key]),
        2,
        "there is no certificate in it",
    );
    refused(&with(&["--tls-ca", "/missing"]), 2, "--tls-ca /missing");
    refused(&with(&["--tls-cert", &cert]), 2, "--tls-key");
}
