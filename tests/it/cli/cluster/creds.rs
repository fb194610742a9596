//! A user's .creds file, as servers in operator mode know users: one that is good, one whose time is over.

use std::fs;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::super::{program, run, text};
use crate::cluster::server::Server;

/// A claim of one about another, signed.
fn token(by: &KeyPair, about: &KeyPair, expires: Option<SystemTime>, nats: Value) -> String {
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let mut claim = json!({
        "jti": about.public_key(),
        "iat": seconds(SystemTime::now()) - 7_200,
        "iss": by.public_key(),
        "sub": about.public_key(),
        "name": "test",
        "nats": nats,
    });
    if let Some(expires) = expires {
        claim["exp"] = seconds(expires).into();
    }
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let encode = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", encode(header), encode(claim));
    let signature = by.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}

#[test]
fn a_creds_file_is_taken_until_its_time_is_over() {
    let operator = KeyPair::new_operator();
    let (account, user) = (KeyPair::new_account(), KeyPair::new_user());
    let unlimited = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1,
    });
    let of_account = json!({"type": "account", "version": 2, "limits": unlimited});
    let config = format!(
        "listen: \"127.0.0.1:-1\"\noperator: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {} }}\n",
        token(
            &operator,
            &operator,
            None,
            json!({"type": "operator", "version": 2})
        ),
        account.public_key(),
        token(&operator, &account, None, of_account),
    );
    let server = Server::of(&config, tempfile::tempdir().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let status = |expires: SystemTime| {
        let of_user = json!({
            "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {},
        });
        let file = folder.path().join("user.creds");
        let creds = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            token(&account, &user, Some(expires), of_user),
            user.seed().unwrap()
        );
        fs::write(&file, creds).unwrap();
        let mut command = program();
        command.args(["cluster", "status", "night", "--server", &server.url()]);
        let ended = run(command.args(["--credentials", &text(&file)]));
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        ended.stderr
    };
    let hour = Duration::from_secs(3_600);
    // It lets one in, and is a server without streams.
    let good = status(SystemTime::now() + hour);
    assert!(good.contains("start it with JetStream"), "{good}");
    let over = status(SystemTime::now() - hour);
    assert!(over.contains("give --credentials FILE"), "{over}");
}
