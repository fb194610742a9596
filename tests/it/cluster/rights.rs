//! The printed configuration on a real server: what each role may do, and nothing else.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, Event, ServerError};
use nas_engine::cluster::engine::{Engine, EngineError, Lease};
use nas_engine::cluster::key::{Cell, Fact};
use nas_engine::cluster::nats::server_config::ServerConfig;
use nas_engine::cluster::nats::{Nats, OpenError, Role, Room, RunName};
use nkeys::KeyPair;
use tokio::io::AsyncReadExt;

use super::nats::runtime;
use super::server::Server;

/// A server by the printed configuration, and the seeds of its roles.
struct Guarded {
    server: Server,
    config: String,
    seeds: [String; 4],
}

fn run() -> RunName {
    "night".parse().unwrap()
}

impl Guarded {
    /// One that has the run.
    fn start() -> Guarded {
        let pairs = Role::ALL.map(|_| KeyPair::new_user());
        let folder = tempfile::tempdir().unwrap();
        let config = ServerConfig {
            runs: vec![run()],
            keys: pairs.each_ref().map(KeyPair::public_key),
            system_key: KeyPair::new_user().public_key(),
            listen: "127.0.0.1:-1".into(),
            monitor: "127.0.0.1:-1".into(),
            store: folder.path().join("store").to_str().unwrap().into(),
            tls: None,
            tls_ca: None,
            workers: 8,
        };
        let config = config.text();
        let guarded = Guarded {
            server: Server::of(&config, folder),
            config,
            seeds: pairs.map(|pair| pair.seed().unwrap()),
        };
        let room = Room {
            replicas: 1,
            workers: 8,
            lease: Duration::from_secs(5),
        };
        runtime().block_on(async {
            let url = guarded.server.url();
            Nats::create(&url, run(), guarded.options(Role::Admin), room)
                .await
                .unwrap();
            let admin = guarded.open(Role::Admin).await.unwrap();
            admin.once(Fact::Run, b"run".to_vec()).await.unwrap();
        });
        guarded
    }

    fn options(&self, role: Role) -> ConnectOptions {
        let at = Role::ALL.iter().position(|one| *one == role).unwrap();
        ConnectOptions::new()
            .nkey(self.seeds[at].clone())
            .custom_inbox_prefix(role.inbox())
    }

    async fn open(&self, role: Role) -> Result<Nats, OpenError> {
        let options = self.options(role);
        Nats::open(&self.server.url(), run(), options, role.hints()).await
    }

    /// A role as far as its first job; in words, why it cannot.
    async fn begin(&self, role: Role) -> Result<(), String> {
        let engine = self.open(role).await.map_err(|error| error.to_string())?;
        let refused = |error: EngineError| error.to_string();
        engine.probe(role).await.map_err(refused)?;
        if role == Role::Worker {
            let wait = Duration::from_millis(50);
            assert!(engine.lease(wait).await.map_err(refused)?.is_none());
        }
        // What may be heard a moment after the answer.
        for _ in 0..20 {
            engine.fact(Fact::Run).await.map_err(refused)?;
            engine.sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// What a role is told that it may not do, by subject.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    async fn connect(&self, guarded: &Guarded, role: Role) -> Client {
        let told = self.clone();
        let options = guarded.options(role).event_callback(move |event| {
            if let Event::ServerError(ServerError::Other(words)) = event {
                told.0.lock().unwrap().push(words);
            }
            async {}
        });
        options.connect(guarded.server.url()).await.unwrap()
    }

    /// Waits until a subject is named.
    async fn of(&self, subject: &str) {
        let began = Instant::now();
        let quoted = format!("\"{subject}\"");
        while !self
            .0
            .lock()
            .unwrap()
            .iter()
            .any(|words| words.contains(&quoted))
        {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{subject} is permitted"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// What each role may never publish to, and never hear.
fn forbidden(role: Role) -> (Vec<&'static str>, Vec<&'static str>) {
    // To manage streams and queues, to change what others are told, to read all at once.
    let mut publish = vec![
        "nas.night.fact.run",
        "nas.other.fact.child.0",
        "$JS.API.INFO",
        "$JS.API.STREAM.CREATE.NAS_night_MORE",
        "$JS.API.STREAM.UPDATE.NAS_night_FACT",
        "$JS.API.STREAM.DELETE.NAS_night_FACT",
        "$JS.API.STREAM.PURGE.NAS_night_CELL",
        "$JS.API.STREAM.MSG.DELETE.NAS_night_CELL",
        "$JS.API.STREAM.MSG.GET.NAS_night_CELL",
        "$JS.API.DIRECT.GET.NAS_night_CELL",
        "$JS.API.CONSUMER.CREATE.NAS_night_JOBS",
        "$JS.API.CONSUMER.CREATE.OBJ_NAS_night_BLOB",
        "$JS.API.STREAM.PURGE.OBJ_NAS_night_BLOB",
        "$JS.API.CONSUMER.DELETE.NAS_night_JOBS.w",
        "$SYS.REQ.SERVER.PING",
        "_INBOX.a",
    ];
    let mut subscribe = vec![
        ">",
        "nas.>",
        "_INBOX.>",
        "$JS.>",
        "$SYS.>",
        "nas.night.job.*",
    ];
    let (others, inboxes): (&[&str], &[&str]) = match role {
        Role::Admin => unreachable!("it may do all"),
        Role::Worker => (
            &[
                "nas.night.cell.shard.0",
                "nas.night.cell.replica.0",
                "nas.night.fact.round.0",
                "nas.night.fact.end",
                "nas.night.job.0",
                "nas.night.grad.0.0",
                "$JS.API.DIRECT.GET.NAS_night_CELL.nas.night.cell.shard.0",
                "$JS.API.DIRECT.GET.NAS_night_GRAD",
                "$JS.API.STREAM.PURGE.NAS_night_GRAD",
                "_INBOX_r.a",
                "_INBOX_a.a",
            ],
            &[
                "_INBOX_r.>",
                "_INBOX_a.>",
                "nas.night.cell.shard.*",
                "nas.night.grad.>",
            ],
        ),
        Role::Replica => (
            &[
                "nas.night.cell.shard.0",
                "nas.night.fact.child.0",
                "nas.night.fact.device",
                "nas.night.cell.try.0",
                "$JS.API.CONSUMER.MSG.NEXT.NAS_night_JOBS.w",
                "$JS.ACK.NAS_night_JOBS.w.1.1.1.1.0",
                "$O.NAS_night_BLOB.C.a",
                "_INBOX_w.a",
            ],
            &["_INBOX_w.>", "_INBOX_a.>", "nas.night.grad.>"],
        ),
        Role::Applier => (
            &[
                "nas.night.cell.replica.0",
                "nas.night.fact.child.0",
                "nas.night.fact.round.0",
                "nas.night.grad.0.0",
                "nas.night.job.0",
                "$JS.API.DIRECT.GET.OBJ_NAS_night_BLOB",
                "$JS.API.CONSUMER.MSG.NEXT.NAS_night_JOBS.w",
                "_INBOX_w.a",
            ],
            &["_INBOX_w.>", "_INBOX_r.>", "nas.night.fact.child.*"],
        ),
    };
    publish.extend(others);
    subscribe.extend(inboxes);
    (publish, subscribe)
}

const LIMITED: [Role; 3] = [Role::Worker, Role::Replica, Role::Applier];

#[test]
fn what_a_role_has_no_business_with_is_refused() {
    let guarded = Guarded::start();
    runtime().block_on(async {
        for role in LIMITED {
            let told = Told::default();
            let client = told.connect(&guarded, role).await;
            let (publish, subscribe) = forbidden(role);
            let mut heard = Vec::new();
            for subject in subscribe {
                heard.push(client.subscribe(subject).await.unwrap());
                told.of(subject).await;
            }
            for subject in publish {
                client.publish(subject, "x".into()).await.unwrap();
                told.of(subject).await;
            }
        }
        let admin = guarded.open(Role::Admin).await.unwrap();
        assert_eq!(admin.fact(Fact::Run).await.unwrap().unwrap(), b"run");
        let queue = admin.queue().await.unwrap();
        assert_eq!((queue.waiting, queue.handed_out), (0, 0));
    });
}

/// Whether a pattern with `*` and `>` has a subject, which may have `*` too.
fn matches(pattern: &str, subject: &str) -> bool {
    let mut words = subject.split('.');
    for token in pattern.split('.') {
        match (token, words.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (token, Some(word)) if token == word => {}
            _ => return false,
        }
    }
    words.next().is_none()
}

#[test]
fn a_right_that_is_missing_is_told_at_the_start() {
    let mut guarded = Guarded::start();
    let config = guarded.config.clone();
    let runtime = runtime();
    for role in LIMITED {
        let begun = runtime.block_on(guarded.begin(role));
        assert_eq!(begun, Ok(()), "with all rights: {role:?}");
        let (above, block) = config.split_once(&format!("# {}\n", role.word())).unwrap();
        let (block, below) = block.split_once("\n      }").unwrap();
        let lines: Vec<&str> = block
            .lines()
            .filter(|line| line.trim().starts_with('"'))
            .collect();
        assert!(lines.len() >= 7, "{block}");
        for line in lines {
            let without = block.replacen(line, "            \"nothing\"", 1);
            guarded.server.reconfigure(&format!(
                "{above}# {}\n{without}\n      }}{below}",
                role.word()
            ));
            let began = Instant::now();
            let error = runtime.block_on(guarded.begin(role)).unwrap_err();
            let took = began.elapsed();
            assert!(
                took < Duration::from_secs(5),
                "{role:?} without {line}: {took:?}"
            );
            let named = error.split('`').nth(1).unwrap_or_default();
            let pattern = line.trim().trim_matches('"');
            assert!(
                error.contains("may not") && matches(pattern, named),
                "{role:?} without {line}: {error}"
            );
        }
        guarded.server.reconfigure(&config);
    }
}

/// The rights suffice for all that a worker does with blobs and jobs.
#[test]
fn a_worker_has_the_rights_that_it_needs() {
    let guarded = Guarded::start();
    runtime().block_on(async {
        let replica = guarded.open(Role::Replica).await.unwrap();
        replica.offer(0, b"job".to_vec()).await.unwrap();
        let worker = guarded.open(Role::Worker).await.unwrap();
        let mut lease = worker
            .lease(Duration::from_secs(30))
            .await
            .unwrap()
            .unwrap();
        lease.keep().await;
        let bytes: Vec<u8> = (0..20_000_000u32).map(|i| (i % 251) as u8).collect();
        worker.put("0/1/a", bytes.clone()).await.unwrap();
        assert!(worker.get("0/1/a").await.unwrap() == Some(bytes.clone()));
        // As other tools read it.
        let client = guarded
            .options(Role::Admin)
            .connect(guarded.server.url())
            .await;
        let context = async_nats::jetstream::new(client.unwrap());
        let store = context.get_object_store("NAS_night_BLOB").await.unwrap();
        let (mut object, mut read) = (store.get("0/1/a").await.unwrap(), Vec::new());
        object.read_to_end(&mut read).await.unwrap();
        assert!(read == bytes, "its digest is checked too");
        worker.drop_blob("0/1/a").await;
        assert_eq!(worker.get("0/1/a").await.unwrap(), None);
        assert_eq!(worker.get("0/1/b").await.unwrap(), None);
        lease.done().await;
        let admin = guarded.open(Role::Admin).await.unwrap();
        let queue = admin.queue().await.unwrap();
        assert_eq!((queue.waiting, queue.handed_out), (0, 0));
        worker.fact(Fact::Run).await.unwrap();
    });
}

/// A server answers to whatever subject a request names. What a worker has it answer to must not be kept.
#[test]
fn answers_to_a_worker_are_written_nowhere() {
    let guarded = Guarded::start();
    runtime().block_on(async {
        let client = Told::default().connect(&guarded, Role::Worker).await;
        let read = "$JS.API.DIRECT.GET.NAS_night_CELL.nas.night.cell.try.0";
        for (ask, answer_to) in [
            ("nas.night.cell.try.0", "nas.night.fact.round.7"),
            ("nas.night.cell.try.0", "nas.night.job.7"),
            (read, "nas.night.cell.shard.0"),
            (read, "nas.night.grad.0.0"),
        ] {
            let sent = client.publish_with_reply(ask, answer_to, "a shard".into());
            sent.await.unwrap();
            // A later answer of the same stream: the ones before are where they go.
            client.request(ask, "a shard".into()).await.unwrap();
        }
        let admin = guarded.open(Role::Admin).await.unwrap();
        assert_eq!(admin.fact(Fact::Round(7)).await.unwrap(), None);
        assert_eq!(admin.cell(Cell::Shard(0)).await.unwrap(), (0, None));
        assert_eq!(admin.log(0, 0, 10).await.unwrap(), []);
        let queue = admin.queue().await.unwrap();
        assert_eq!((queue.waiting, queue.handed_out), (0, 0));
        assert!(
            admin.cell(Cell::Attempts(0)).await.unwrap().0 > 0,
            "it asked"
        );
    });
}
