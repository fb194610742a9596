//! The engine on a real server.

use std::time::Duration;

use async_nats::ConnectOptions;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nas_engine::cluster::applier::applier;
use nas_engine::cluster::engine::{Engine, Swap};
use nas_engine::cluster::key::{Cell, Fact};
use nas_engine::cluster::learner::Learner;
use nas_engine::cluster::message::{Job, Shard};
use nas_engine::cluster::nats::{Nats, OpenError, Room, RunName};
use nas_engine::cluster::replica::replica;
use nas_engine::cluster::scheme::Scheme;
use nas_engine::cluster::worker::{CRASH_NODES, Step, Trainer, Training, Worker};
use nas_engine::run::Status;
use nas_engine::run::entry::Timing;
use nas_engine::search::evaluator::Outcome;
use nas_engine::train::Scores;

use super::conformance::conforms;
use super::server::Server;
use super::synchronous::{expected, state};
use super::trial::{accuracy, config, scheme, space};

const ROOM: Room = Room {
    replicas: 1,
    workers: 8,
    lease: Duration::from_secs(5),
};

pub fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

fn name(name: &str) -> RunName {
    name.parse().unwrap()
}

async fn open(server: &Server, run: &str) -> Nats {
    let options = ConnectOptions::new;
    Nats::create(&server.url(), name(run), options(), ROOM)
        .await
        .unwrap();
    let hints = ["fact.child.*", "cell.shard.*", "grad.>"];
    Nats::open(&server.url(), name(run), options(), &hints)
        .await
        .unwrap()
}

#[test]
fn nats_conforms() {
    let server = Server::start();
    runtime().block_on(async {
        conforms(open(&server, "one").await, ROOM.lease).await;
        // Another run on the same server knows nothing of it.
        conforms(open(&server, "on").await, ROOM.lease).await;
    });
}

/// What was acknowledged is there after a kill; calls go on by themselves.
#[test]
fn a_server_that_was_killed_has_all_that_it_acknowledged() {
    let mut server = Server::start();
    runtime().block_on(async {
        let engine = open(&server, "run").await;
        let mut revision = 0;
        for n in 0..30u64 {
            let value = n.to_le_bytes().to_vec();
            engine.once(Fact::Child(n), value.clone()).await.unwrap();
            let swap = engine.swap(Cell::Shard(0), revision, value).await.unwrap();
            assert_eq!(swap, Swap::Done);
            revision = engine.cell(Cell::Shard(0)).await.unwrap().0;
        }
        server.restart();
        let deadline = engine.now() + Duration::from_secs(60);
        for n in 0..30u64 {
            let fact = loop {
                match engine.fact(Fact::Child(n)).await {
                    Ok(fact) => break fact,
                    Err(error) => assert!(engine.now() < deadline, "{error}"),
                }
            };
            assert_eq!(fact, Some(n.to_le_bytes().to_vec()));
        }
        let (now, value) = engine.cell(Cell::Shard(0)).await.unwrap();
        assert_eq!((now, value), (revision, Some(29u64.to_le_bytes().to_vec())));
    });
}

#[test]
fn what_cannot_be_opened_is_told() {
    let server = Server::start();
    runtime().block_on(async {
        let nobody = Nats::open("nats://127.0.0.1:1", name("a"), ConnectOptions::new(), &[]).await;
        assert!(matches!(nobody, Err(OpenError::Connect { .. })));
        let unknown = Nats::open(&server.url(), name("a"), ConnectOptions::new(), &[]).await;
        let error = unknown.err().unwrap().to_string();
        assert!(error.contains("run a: it is not on the server"), "{error}");
        for url in ["", "no url", "http://127.0.0.1:1"] {
            let wrong = Nats::open(url, name("a"), ConnectOptions::new(), &[]).await;
            assert!(wrong.is_err(), "{url}");
        }
    });
}

/// Children whose accuracy is a formula.
struct Formula;

/// One of them.
struct Child(Job);

impl Trainer for Formula {
    type Training = Child;

    fn begin(&self, job: &Job, _from: Option<Vec<u8>>) -> Child {
        Child(job.clone())
    }
}

impl Training for Child {
    async fn next(&mut self) -> Step {
        Step::Ended(Box::new(Outcome {
            sample: self.0.sample,
            status: Status::Ok,
            scores: Scores::Accuracies(vec![accuracy(&self.0)]),
            parameters: None,
            message: None,
            timing: Timing::default(),
        }))
    }

    fn stop(&mut self) {}
}

/// A whole synchronous run, by roles that know a server alone, has the bits of a loop that knows none.
#[test]
fn a_synchronous_run_on_a_server_has_the_same_bits() {
    let server = Server::start();
    runtime().block_on(async {
        for (shards, replicas) in [(1, 1), (3, 4), (20, 3)] {
            let scheme = Scheme {
                shards,
                replicas,
                synchronous: true,
                ..scheme()
            };
            let run = format!("s{shards}k{replicas}");
            let engine = open(&server, &run).await;
            let learner = Arc::new(Learner::new(scheme.clone(), space(), config(), 9).unwrap());
            let stop = Arc::new(AtomicBool::new(false));
            for _ in 0..3 {
                let (engine, learner) = (engine.handle().await, Arc::clone(&learner));
                let stop = Arc::clone(&stop);
                tokio::spawn(async move {
                    let worker = Worker {
                        node: "node".into(),
                        device: "none".into(),
                        child_time: None,
                        grace: Duration::from_secs(20),
                        keep: ROOM.lease / 4,
                        crash_nodes: CRASH_NODES,
                    };
                    worker
                        .run((&engine, &*learner), &Formula, &stop)
                        .await
                        .unwrap();
                });
            }
            let mut roles = tokio::task::JoinSet::new();
            for r in 0..replicas {
                let (engine, learner) = (engine.handle().await, Arc::clone(&learner));
                roles.spawn(async move { replica(&engine, &learner, r).await });
            }
            // Two for each shard, as is usual.
            for s in (0..shards).flat_map(|s| [s, s]) {
                let (engine, learner) = (engine.handle().await, Arc::clone(&learner));
                roles.spawn(async move { applier(&engine, &learner, s).await });
            }
            while let Some(ended) = roles.join_next().await {
                ended.unwrap().unwrap();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            let mut found = Vec::new();
            for s in 0..shards {
                let (_, bytes) = engine.cell(Cell::Shard(s)).await.unwrap();
                found.push(Shard::from_bytes(&bytes.unwrap()).unwrap());
            }
            assert!(
                state(&found) == expected(&scheme, 9),
                "S {shards}, K {replicas}"
            );
        }
    });
}

/// As one whose disk was full: findings/jetstream-full-disk-is-not-answered.sh.
#[test]
fn what_to_do_is_said_where_a_server_does_not_answer_a_write() {
    let server = Server::start();
    runtime().block_on(async {
        let engine = open(&server, "run").await;
        engine.keeps().await.unwrap();
        let client = async_nats::connect(server.url()).await.unwrap();
        let context = async_nats::jetstream::new(client);
        let stream = context.get_stream("NAS_run_CELL").await.unwrap();
        let mut config = stream.cached_info().config.clone();
        config.no_ack = true;
        context.update_stream(config).await.unwrap();
        let words = engine.keeps().await.unwrap_err().to_string();
        assert!(words.contains("no answer to a write"), "{words}");
    });
}
