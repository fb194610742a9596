//! Downloads from a server in the test that does what servers do when they fail.

mod ends;
mod server;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nas_engine::data::Dataset;
use nas_engine::data::fetch::{
    Alternative, Event, FetchError, Kind, Patience, Published, RemoteFile, fetch,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use server::{ARCHIVE, Reply, server};

fn leaked<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// The archive of the tests, as if it were published.
fn published() -> Published {
    let sha256: String = Sha256::digest(ARCHIVE)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let file = RemoteFile {
        name: "archive.tar.gz",
        bytes: ARCHIVE.len() as u64,
        sha256: leaked(sha256),
    };
    let missing = RemoteFile {
        name: "first.tar.gz",
        ..file
    };
    let alternative = |file| Alternative {
        base: "http://127.0.0.1:1",
        files: leaked([file]),
    };
    Published {
        name: "test-set",
        title: "Test set",
        kind: Kind::Cifar10,
        alternatives: leaked([alternative(missing), alternative(file)]),
        classes: &[],
    }
}

const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(30),
    stall: Duration::from_secs(30),
    retries: 2,
    delay: Duration::from_millis(1),
};

/// How a fetch from such a server ended.
struct Ended {
    folder: TempDir,
    result: Result<(), FetchError>,
    asked: Vec<String>,
    tries: usize,
}

impl Ended {
    fn message(&self) -> String {
        let error = self.result.as_ref().unwrap_err();
        let folder = self.folder.path().display().to_string();
        error.to_string().replace(&folder, "DIR")
    }

    /// Bytes that are kept for the next try.
    fn kept(&self) -> u64 {
        let part = self
            .folder
            .path()
            .join("downloads/test-set/first.tar.gz.part");
        part.metadata().map_or(0, |metadata| metadata.len())
    }
}

fn fetch_from(replies: &[Reply]) -> Ended {
    fetch_into(
        tempfile::tempdir().unwrap(),
        replies,
        "/archive.tar.gz",
        PATIENCE,
    )
}

fn fetch_into(folder: TempDir, replies: &[Reply], path: &str, patience: Patience) -> Ended {
    let (address, asked) = server(replies.to_vec());
    let (out, downloads) = (folder.path().join("out"), folder.path().join("downloads"));
    let mut tries = 0;
    let mut tell = |event: Event| tries += usize::from(matches!(event, Event::Begun { .. }));
    let url = format!("{address}{path}");
    let result = fetch(
        &published(),
        Some(&url),
        &out,
        &downloads,
        patience,
        &AtomicBool::new(false),
        &mut tell,
    )
    .map(drop);
    match &result {
        Ok(()) => {
            let data = Dataset::open(&out, None).unwrap();
            assert_eq!((data.n_train(), data.n_test()), (20, 4));
            let is_left = |left: fs::ReadDir| left.count() > 0;
            assert!(!fs::read_dir(&downloads).is_ok_and(is_left));
        }
        Err(_) => assert!(!out.exists()),
    }
    // A folder is there only where there is something to go on with.
    let kept = fs::read_dir(downloads.join("test-set"));
    assert!(kept.is_err() || kept.is_ok_and(|kept| kept.count() > 0));
    let asked = asked.lock().unwrap().clone();
    Ended {
        folder,
        result,
        asked,
        tries,
    }
}

#[test]
fn what_breaks_off_is_gone_on_with() {
    let ended = fetch_from(&[
        Reply::Cut(700),
        Reply::Cut(1100),
        Reply::Status(503),
        Reply::Good,
    ]);
    ended.result.as_ref().unwrap();
    assert_eq!(ended.asked.len(), 4);
    assert!(!ended.asked[0].contains("range:"), "{:?}", ended.asked);
    assert!(
        ended.asked[1].contains("range: bytes=700-"),
        "{:?}",
        ended.asked
    );
    assert!(
        ended.asked[1].contains("if-range: \"one\""),
        "{:?}",
        ended.asked
    );
    assert!(
        ended.asked[3].contains("range: bytes=1100-"),
        "{:?}",
        ended.asked
    );
}

#[test]
fn servers_of_all_kinds_serve() {
    for replies in [
        &[Reply::Good][..],
        &[Reply::Cut(700), Reply::NoRanges],
        &[Reply::Cut(700), Reply::OtherRange, Reply::Good],
        &[Reply::Cut(700), Reply::Status(416), Reply::Good],
        &[Reply::Cut(700), Reply::Changed],
        &[Reply::Redirect, Reply::Good],
        &[Reply::Garbage, Reply::Good],
        &[Reply::Status(500), Reply::Status(429), Reply::Good],
    ] {
        let ended = fetch_from(replies);
        assert!(ended.result.is_ok(), "{replies:?}: {}", ended.message());
        assert_eq!(ended.asked.len(), replies.len(), "{replies:?}");
    }
}

/// A folder of files: the first form that is there.
#[test]
fn a_mirror_may_have_one_form_alone() {
    let replies = [Reply::Status(404), Reply::Good];
    let ended = fetch_into(tempfile::tempdir().unwrap(), &replies, "/mirror/", PATIENCE);
    ended.result.as_ref().unwrap();
    assert!(
        ended.asked[0].starts_with("get /mirror/first.tar.gz "),
        "{:?}",
        ended.asked
    );
    assert!(
        ended.asked[1].starts_with("get /mirror/archive.tar.gz "),
        "{:?}",
        ended.asked
    );
}

#[test]
fn what_is_not_the_published_file_is_not_kept() {
    for (reply, words) in [
        (Reply::Corrupt, "has the sha256 "),
        (Reply::Length(ARCHIVE.len() + 5), "bytes, not 1,"),
        (Reply::Length(3), "has 3 bytes, not 1,"),
        (Reply::Endless, "goes on after the 1,"),
        (
            Reply::Status(404),
            "the server does not give the file (404)",
        ),
    ] {
        let ended = fetch_from(&[reply]);
        assert!(
            ended.message().contains(words),
            "{reply:?}: {}",
            ended.message()
        );
        assert_eq!((ended.kept(), ended.asked.len()), (0, 1), "{reply:?}");
        let is_other = matches!(ended.result, Err(FetchError::Other { .. }));
        assert_eq!(is_other, !matches!(reply, Reply::Status(_)), "{reply:?}");
    }
}

/// The pieces of a file that was there before, and is another one, cost one more try and no more.
#[test]
fn pieces_that_do_not_belong_together_are_fetched_anew() {
    let folder = tempfile::tempdir().unwrap();
    let downloads = folder.path().join("downloads/test-set");
    fs::create_dir_all(&downloads).unwrap();
    fs::write(downloads.join("first.tar.gz.part"), [7; 100]).unwrap();
    let ended = fetch_into(
        folder,
        &[Reply::Good, Reply::Good],
        "/archive.tar.gz",
        PATIENCE,
    );
    ended.result.as_ref().unwrap();
    assert!(
        ended.asked[0].contains("range: bytes=100-"),
        "{:?}",
        ended.asked
    );
    assert!(!ended.asked[1].contains("range:"), "{:?}", ended.asked);
}

#[test]
fn a_network_that_stays_down_keeps_what_there_is() {
    let replies = [
        Reply::Cut(700),
        Reply::Status(503),
        Reply::Status(503),
        Reply::Status(503),
    ];
    let ended = fetch_from(&replies[..3]);
    assert!(
        matches!(ended.result, Err(FetchError::Network { bytes: 700, .. })),
        "{}",
        ended.message()
    );
    assert!(
        ended
            .message()
            .contains("700 bytes are kept; to go on, give the same command again"),
        "{}",
        ended.message()
    );
    assert_eq!((ended.kept(), ended.tries), (700, 1));
    // The same command again.
    let ended = fetch_into(ended.folder, &[Reply::Good], "/archive.tar.gz", PATIENCE);
    ended.result.as_ref().unwrap();
    assert!(
        ended.asked[0].contains("range: bytes=700-"),
        "{:?}",
        ended.asked
    );
}

/// What a wrong answer says, as of a network that wants a sign-in, is no reason to lose what there is.
#[test]
fn a_wrong_answer_leaves_what_there_is() {
    let whole = |head: &'static str| Reply::Says(head, 18);
    let ranges = [
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 18\r\nContent-Range: bytes 700-717/718",
        "HTTP/1.1 416 No\r\nContent-Length: 0\r\nContent-Range: bytes */718",
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 18\r\nContent-Range: bytes 0-17/718",
    ];
    let page = whole("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 18");
    for (replies, words) in [
        (&[page][..], "has 18 bytes, not 1,"),
        (
            &[whole(
                "HTTP/1.1 200 OK\r\nContent-Type: text/HTML; charset=utf-8",
            )],
            "is a web page (text/HTML; charset=utf-8), not the file",
        ),
        (&[whole(ranges[0])], "has 718 bytes, not 1,"),
        (&[whole(ranges[1]), page], "has 18 bytes, not 1,"),
        (&[whole(ranges[2]), page], "has 18 bytes, not 1,"),
        (&[whole(ranges[1]), Reply::Status(404)], "(404)"),
    ] {
        let cut = [Reply::Cut(700), Reply::Status(404)];
        let ended = fetch_from(&cut);
        assert_eq!(ended.kept(), 700);
        let ended = fetch_into(ended.folder, replies, "/archive.tar.gz", PATIENCE);
        assert!(ended.message().contains(words), "{}", ended.message());
        if let Err(error @ FetchError::Other { bytes: 700, .. }) = &ended.result {
            let words = "but 700 bytes from before are; to go on, give the same command again";
            assert!(error.to_string().contains(words), "{error}");
        } else {
            assert!(words.contains("404"), "{}", ended.message());
        }
        assert_eq!(ended.kept(), 700, "{words}");
        let ended = fetch_into(ended.folder, &[Reply::Good], "/archive.tar.gz", PATIENCE);
        ended.result.as_ref().unwrap();
        let asked = &ended.asked[0];
        assert!(asked.contains("range: bytes=700-"), "{asked}");
        assert!(asked.contains("if-range: \"one\""), "{asked}");
    }
}

/// Each try begins anew: that one gets further than the one before is no progress.
#[test]
fn a_server_without_ranges_is_given_up_too() {
    let replies = [700, 600, 650, 600, 650].map(Reply::CutAnew);
    let ended = fetch_from(&replies);
    assert!(
        matches!(ended.result, Err(FetchError::Network { .. })),
        "{}",
        ended.message()
    );
    assert_eq!(ended.tries, 1 + PATIENCE.retries as usize);
    // Ever further is.
    let replies = [600, 650, 700, 750, 800].map(Reply::CutAnew);
    let ended = fetch_from(&[&replies[..], &[Reply::NoRanges]].concat());
    ended.result.as_ref().unwrap();
}

/// As shops of files and mirrors give them.
#[test]
fn addresses_may_have_a_question() {
    for (path, is_good) in [
        ("/archive.tar.gz?download=1", true),
        ("/archive.tar.gz#top", true),
        ("/mirror?list=1", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ended = fetch_into(folder, &[Reply::Good], path, PATIENCE);
        match ended.result {
            Ok(()) => assert!(is_good, "{path}"),
            Err(FetchError::Url { .. }) => assert!(!is_good, "{path}"),
            Err(error) => panic!("{path}: {error}"),
        }
    }
}
