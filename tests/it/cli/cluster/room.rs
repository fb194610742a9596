//! A server without room: roles wait, and go on where they were once there is some.

use std::time::{Duration, Instant};

use async_nats::jetstream;

use super::{Place, check};
use crate::cluster::nats::runtime;
use crate::cluster::server::Server;

/// A server that keeps at most so many bytes.
fn config(store: &std::path::Path, bytes: u64) -> String {
    format!(
        "listen: \"127.0.0.1:-1\"\n\
         jetstream {{ store_dir: {store:?}, sync_interval: always, max_file_store: {bytes} }}\n"
    )
}

#[test]
fn roles_wait_for_room_and_go_on() {
    let mut place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    place.server = Server::of(&config(&store, 2_000_000), folder);
    assert_eq!(place.init("full", &[]).code, 0);
    // Somebody else's stream takes what there is.
    runtime().block_on(async {
        let client = async_nats::connect(place.server.url()).await.unwrap();
        let context = jetstream::new(client);
        let stream = jetstream::stream::Config {
            name: "OTHER".into(),
            ..Default::default()
        };
        context.create_stream(stream).await.unwrap();
        loop {
            let sent = context
                .publish("OTHER", vec![0; 100_000].into())
                .await
                .unwrap();
            if let Err(error) = sent.await {
                assert!(error.to_string().contains("10023"), "{error}");
                break;
            }
        }
    });
    let mut roles = [
        place.start("apply", "full", &[]),
        place.start("replica", "full", &[]),
        place.worker("full", "a"),
    ];
    let status = place.status("full");
    let words = status["server"].as_str().unwrap_or_default();
    assert!(words.contains("make some, then restart it"), "{status}");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        for role in &mut roles {
            assert!(role.try_wait().unwrap().is_none(), "it waits");
        }
    }
    place.server.reconfigure(&config(&store, 200_000_000));
    place.wait("full", 10);
    for role in &mut roles {
        assert_eq!(role.wait().unwrap().code(), Some(0));
    }
    let status = place.status("full");
    assert_eq!(status["server"], serde_json::Value::Null);
    check(&place, &status, 10);
}
