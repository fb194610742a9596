//! A nats-server's configuration in which every role of a run has its own key, and no more rights than it
//! needs.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Layout, Role, RunName};

/// What a configuration is made of. Nothing in it is secret.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Runs whose roles may connect.
    pub runs: Vec<RunName>,
    /// The public key of each role, in the order of [`Role::ALL`].
    pub keys: [String; 4],
    /// The public key of whoever looks after the server.
    pub system_key: String,
    /// Address and port for roles.
    pub listen: String,
    /// Address and port of the monitor.
    pub monitor: String,
    /// Where the server keeps what it acknowledges.
    pub store: String,
    /// Certificate and key of the server, by their paths.
    pub tls: Option<(String, String)>,
    /// Who must have signed the certificates of roles, by its path; they need none without it.
    pub tls_ca: Option<String>,
    /// Workers at most.
    pub workers: u32,
}

impl ServerConfig {
    /// The file's text.
    pub fn text(&self) -> String {
        let runs: Vec<String> = self.runs.iter().map(RunName::to_string).collect();
        // Replicas and appliers too, and roles that come before those whose place they take have gone.
        let connections = 2 * self.workers + 64;
        let mut text = format!(
            "# nats-server for the runs of nas-engine: {}.\n\
             # Start it by `nats-server -c FILE`, where {} files may be open (`ulimit -n`).\n\
             listen: {:?}\n\
             server_name: \"nas-engine\"\n\
             http: {:?} # for `cluster init --monitor`\n\
             max_connections: {connections}\n\
             max_payload: 1MB\n\n\
             jetstream {{\n  \
               store_dir: {:?}\n  \
               sync_interval: always # else a power cut takes what was acknowledged\n  \
               # max_file_store: 200GB # three quarters of what is free at the start, by default\n\
             }}\n\n",
            runs.join(", "),
            connections + 1024,
            self.listen,
            self.monitor,
            self.store,
        );
        self.tls(&mut text);
        text + &self.accounts()
    }

    /// The part of it that says who may do what, for a configuration that includes it.
    pub fn accounts(&self) -> String {
        let mut text = String::new();
        let [admin, worker, replica, applier] = &self.keys;
        let _ = write!(
            text,
            "system_account: SYS\n\
             accounts {{\n  \
               SYS {{ users: [ {{ nkey: {} }} ] }}\n  \
               NAS {{\n    \
                 jetstream: enabled\n    \
                 users: [\n      \
                   {{ nkey: {admin} }} # admin\n",
            self.system_key
        );
        self.user(Role::Replica, replica, &mut text);
        self.user(Role::Applier, applier, &mut text);
        text += "    ]\n    exports: [\n";
        let (subjects, _) = self.rights(Role::Worker);
        for subject in &subjects {
            let many = if has_many_answers(subject) {
                ", response_type: stream"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "      {{ service: {subject:?}, accounts: [ WORKERS ]{many} }}"
            );
        }
        // What workers hear of: that the run is over or drained, and that somebody asks how they are.
        let (_, heard) = self.rights(Role::Worker);
        let heard: Vec<String> = heard
            .into_iter()
            .filter(|name| !name.starts_with('_'))
            .collect();
        for subject in &heard {
            let _ = writeln!(
                text,
                "      {{ stream: {subject:?}, accounts: [ WORKERS ] }}"
            );
        }
        // A server sends an answer to whatever subject the request names, whether or not who asks may
        // publish to it: where streams are, a worker could have answers written into a shard.
        text += "    ]\n  }\n  \
                 # Apart, for an answer that a worker has sent to a subject to stay among workers.\n  \
                 WORKERS {\n    users: [\n";
        self.user(Role::Worker, worker, &mut text);
        text += "    ]\n    imports: [\n";
        for subject in &subjects {
            let _ = writeln!(
                text,
                "      {{ service: {{ account: NAS, subject: {subject:?} }} }}"
            );
        }
        for subject in &heard {
            let _ = writeln!(
                text,
                "      {{ stream: {{ account: NAS, subject: {subject:?} }} }}"
            );
        }
        text + "    ]\n  }\n}\n"
    }

    /// What a role may publish and subscribe to in all runs, each subject once.
    fn rights(&self, role: Role) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut publish, mut subscribe) = (BTreeSet::new(), BTreeSet::new());
        for run in &self.runs {
            let rights = role.rights(&Layout::new(run.clone()));
            let Some(rights) = rights else {
                continue;
            };
            publish.extend(rights.publish);
            subscribe.extend(rights.subscribe);
        }
        (publish, subscribe)
    }

    fn tls(&self, text: &mut String) {
        let Some((cert, key)) = &self.tls else {
            *text += "# Without it whoever sees the network sees and changes all that is sent:\n\
                      # tls { cert_file: \"server.pem\", key_file: \"server.key\" }\n\n";
            return;
        };
        let _ = write!(text, "tls {{\n  cert_file: {cert:?}\n  key_file: {key:?}\n");
        if let Some(ca) = &self.tls_ca {
            let _ = write!(text, "  ca_file: {ca:?}\n  verify: true\n");
        }
        *text += "}\n\n";
    }

    /// A user with the rights of a role; one line a subject.
    fn user(&self, role: Role, key: &str, text: &mut String) {
        let _ = write!(
            text,
            "      {{ nkey: {key} # {}\n        permissions: {{\n",
            role.word()
        );
        let (publish, subscribe) = self.rights(role);
        for (verb, subjects) in [("publish", publish), ("subscribe", subscribe)] {
            let _ = writeln!(text, "          {verb}: {{ allow: [");
            for subject in subjects {
                let _ = writeln!(text, "            {subject:?}");
            }
            *text += "          ] }\n";
        }
        *text += "        }\n      }\n";
    }
}

/// Whether a request may be answered by more than one message: jobs and what comes in their place, pieces of
/// a blob.
fn has_many_answers(subject: &str) -> bool {
    subject.starts_with("$JS.API.CONSUMER.MSG.NEXT.")
        || (subject.starts_with("$JS.API.DIRECT.GET.OBJ_") && !subject.contains("$O."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ServerConfig {
        ServerConfig {
            runs: vec!["a".parse().unwrap(), "b".parse().unwrap()],
            keys: ["UA", "UW", "UR", "UP"].map(str::to_owned),
            system_key: "US".into(),
            listen: "0.0.0.0:4222".into(),
            monitor: "127.0.0.1:8222".into(),
            store: "/var/lib/nats".into(),
            tls: None,
            tls_ca: None,
            workers: 800,
        }
    }

    #[test]
    fn every_run_has_its_subjects_and_tls_its_files() {
        let text = config().text();
        for line in [
            "sync_interval: always",
            "max_connections: 1664",
            "\"nas.a.fact.child.*\"",
            "\"nas.b.fact.child.*\"",
            "{ nkey: UA } # admin",
            "{ nkey: UW # worker",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert_eq!(text.matches("\"_INBOX_w.>\"").count(), 1);
        assert!(text.contains("\n# tls {"), "{text}");
        let with = ServerConfig {
            tls: Some(("c.pem".into(), "c.key".into())),
            tls_ca: Some("ca.pem".into()),
            ..config()
        };
        let text = with.text();
        let block = "tls {\n  cert_file: \"c.pem\"\n  key_file: \"c.key\"\n  ca_file: \"ca.pem\"\n  verify: true\n}";
        assert!(text.contains(block), "{text}");
    }
}
