//! Addresses, good and bad.

use super::*;

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

pub fn try_once(folder: &Path, url: &str) -> FetchError {
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
