//! Fetches that end before anything is imported: no answer, no address, no place, a signal.

use super::*;

#[test]
fn a_server_that_stalls_is_given_up() {
    let patience = Patience {
        stall: Duration::from_secs(1),
        retries: 0,
        ..PATIENCE
    };
    let begun = std::time::Instant::now();
    let ended = fetch_into(
        tempfile::tempdir().unwrap(),
        &[Reply::Stall(700)],
        "/archive.tar.gz",
        patience,
    );
    assert!(
        matches!(ended.result, Err(FetchError::Network { .. })),
        "{}",
        ended.message()
    );
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn addresses_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut tell = |_: Event| {};
    for url in [
        "ftp://host/archive.tar.gz",
        "archive.tar.gz",
        "file:///etc/passwd",
        "",
        "http://",
        "https:///archive.tar.gz",
        "http://:80/archive.tar.gz",
        "http://127.0.0.1:1/x y/archive.tar.gz",
        "http://[::1",
        "http://127.0.0.1:99999/archive.tar.gz",
    ] {
        let (out, downloads) = (folder.path().join("out"), folder.path().join("downloads"));
        let error = fetch(
            &published(),
            Some(url),
            &out,
            &downloads,
            PATIENCE,
            &AtomicBool::new(false),
            &mut tell,
        )
        .unwrap_err();
        assert!(matches!(error, FetchError::Url { .. }), "{url}: {error}");
    }
    // Nobody listens there.
    let error = try_once(folder.path(), "http://127.0.0.1:1/archive.tar.gz");
    assert!(
        matches!(error, FetchError::Network { bytes: 0, .. }),
        "{error}"
    );
}

fn try_once(folder: &Path, url: &str) -> FetchError {
    let (out, downloads) = (folder.join("out"), folder.join("downloads"));
    let patience = Patience {
        retries: 0,
        ..PATIENCE
    };
    fetch(
        &published(),
        Some(url),
        &out,
        &downloads,
        patience,
        &AtomicBool::new(false),
        &mut |_| {},
    )
    .unwrap_err()
}

/// Before hundreds of megabytes are fetched.
#[test]
fn a_place_that_is_taken_is_told_first() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("out")).unwrap();
    fs::write(folder.path().join("out/file"), "x").unwrap();
    let error = try_once(folder.path(), "http://127.0.0.1:1/archive.tar.gz");
    assert!(error.to_string().contains("is there already"), "{error}");
}

/// Between two pieces, and while it waits to try again: what there is stays, and is gone on with.
#[test]
fn a_download_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let (out, downloads) = (folder.path().join("out"), folder.path().join("downloads"));
    let patience = Patience {
        delay: Duration::from_secs(60),
        ..PATIENCE
    };
    for (replies, bytes) in [(vec![Reply::Status(503)], 0), (vec![Reply::Cut(700)], 700)] {
        let (address, _) = server(replies);
        let stop = AtomicBool::new(false);
        let mut tell = |event: Event| {
            let waits = matches!(event, Event::Again { .. });
            stop.fetch_or(waits, Ordering::Relaxed);
        };
        let url = format!("{address}/archive.tar.gz");
        let begun = std::time::Instant::now();
        let error = fetch(
            &published(),
            Some(&url),
            &out,
            &downloads,
            patience,
            &stop,
            &mut tell,
        );
        let error = error.unwrap_err();
        let is_stopped = matches!(error, FetchError::Stopped { bytes: kept, .. } if kept == bytes);
        assert!(is_stopped, "{error}");
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{:?}",
            begun.elapsed()
        );
        assert!(!out.exists());
    }
    let (address, asked) = server(vec![Reply::Good]);
    let stop = AtomicBool::new(true);
    let url = format!("{address}/archive.tar.gz");
    let error = fetch(
        &published(),
        Some(&url),
        &out,
        &downloads,
        patience,
        &stop,
        &mut |_| {},
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("was stopped; 700 bytes are kept"), "{error}");
    assert!(asked.lock().unwrap().is_empty());
}
