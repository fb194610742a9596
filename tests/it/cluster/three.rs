//! The engine on three servers that keep a copy each, one of which is killed.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use nas_engine::cluster::engine::{Engine, Swap};
use nas_engine::cluster::key::{Cell, Fact};
use nas_engine::cluster::nats::{Nats, Room, RunName};
use serde_json::Value;

use super::conformance::{cells, conforms, facts};
use super::nats::runtime;
use super::server::Server;

const ROOM: Room = Room {
    replicas: 3,
    workers: 8,
    lease: Duration::from_secs(4),
};

/// Ports that nobody has, below those that connections get by chance.
fn free_ports() -> [u16; 3] {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let mut free = (first..32_000).filter(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    [(); 3].map(|()| free.next().unwrap())
}

fn three_servers() -> Vec<Server> {
    let ports = free_ports();
    let routes = ports
        .map(|port| format!("\"nats://127.0.0.1:{port}\""))
        .join(", ");
    let start = |(number, port): (usize, &u16)| {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let config = format!(
            "listen: \"127.0.0.1:-1\"\nserver_name: \"n{number}\"\n\
             jetstream {{ store_dir: {store:?}, sync_interval: always }}\n\
             cluster {{ name: three, listen: \"127.0.0.1:{port}\", routes: [ {routes} ] }}\n"
        );
        Server::of(&config, folder)
    };
    ports.iter().enumerate().map(start).collect()
}

async fn open(servers: &[Server], run: &str) -> Nats {
    let urls: Vec<String> = servers.iter().map(Server::url).collect();
    let (urls, name) = (urls.join(","), run.parse::<RunName>().unwrap());
    let began = Instant::now();
    // Until they have agreed who leads.
    while let Err(error) = Nats::create(&urls, name.clone(), ConnectOptions::new(), ROOM).await {
        assert!(began.elapsed() < Duration::from_secs(120), "{error}");
    }
    Nats::open(&urls, name, ConnectOptions::new(), &[])
        .await
        .unwrap()
}

/// The number of the server that decides what a stream keeps.
async fn leader(servers: &[Server], stream: &str) -> usize {
    let began = Instant::now();
    loop {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "{stream} has no leader"
        );
        let urls: Vec<String> = servers.iter().map(Server::url).collect();
        let client = async_nats::connect(urls).await.unwrap();
        let asked = client
            .request(format!("$JS.API.STREAM.INFO.{stream}"), "".into())
            .await;
        let Ok(answer) = asked else {
            continue;
        };
        let info: Value = serde_json::from_slice(&answer.payload).unwrap();
        if let Some(name) = info["cluster"]["leader"].as_str() {
            return name.trim_start_matches('n').parse().unwrap();
        }
    }
}

#[test]
fn three_servers_conform() {
    let servers = three_servers();
    runtime().block_on(async {
        conforms(open(&servers, "one").await, ROOM.lease).await;
    });
}

/// All that was acknowledged stays, and calls go on by themselves, while others take the leader's place.
#[test]
fn a_leader_that_is_killed_takes_nothing_with_it() {
    let mut servers = three_servers();
    runtime().block_on(async {
        let engine = open(&servers, "two").await;
        let other_run = open(&servers, "three").await;
        let patience = engine.now() + Duration::from_secs(120);
        let mut revision = 0;
        for n in 0..40u64 {
            if n == 20 {
                let leads = leader(&servers, "NAS_two_CELL").await;
                servers[leads].kill();
            }
            let value = n.to_le_bytes().to_vec();
            while engine.once(Fact::Child(n), value.clone()).await.is_err() {
                assert!(engine.now() < patience, "fact {n}");
            }
            // Of unknown outcome: it may be there, and a follower may not know yet.
            loop {
                assert!(engine.now() < patience, "cell {n}");
                let swap = engine
                    .swap(Cell::Shard(0), revision, value.clone())
                    .await
                    .unwrap();
                if swap == Swap::Done {
                    revision = newest(&engine, &value).await;
                    break;
                }
                if let Ok((now, Some(kept))) = engine.cell(Cell::Shard(0)).await
                    && kept == value
                {
                    revision = now;
                    break;
                }
            }
        }
        for n in 0..40u64 {
            let other = b"another".to_vec();
            let kept = loop {
                match engine.once(Fact::Child(n), other.clone()).await {
                    Ok(kept) => break kept,
                    Err(error) => assert!(engine.now() < patience, "{error}"),
                }
            };
            assert_eq!(kept, n.to_le_bytes(), "fact {n}");
        }
        // With two of three left.
        facts(&other_run).await;
        cells(&other_run).await;
    });
}

/// The revision of a value that was just written.
async fn newest(engine: &Nats, value: &[u8]) -> u64 {
    loop {
        if let Ok((revision, Some(kept))) = engine.cell(Cell::Shard(0)).await
            && kept == value
        {
            return revision;
        }
    }
}
