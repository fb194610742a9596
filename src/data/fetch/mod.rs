//! Published data sets, fetched from where they are published or from a mirror, checked by their SHA-256,
//! and imported.

mod download;
mod error;
mod partial;
mod published;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use download::Client;
pub use download::{Event, Patience};
pub use error::FetchError;
pub use published::{Alternative, DATA_SETS, Kind, Published, RemoteFile};

use ureq::http::Uri;

use super::cache;
use super::import::{
    Cifar, Created, IdxOptions, ImportError, Imported, Labels, NewFolder, import_cifar, import_idx,
};

/// The folder that downloads are kept in until they are imported: `downloads` below the cache folder.
///
/// # Errors
/// If the user has no cache folder.
pub fn downloads_dir() -> Result<PathBuf, FetchError> {
    let cache = cache::dir().ok_or(FetchError::NoCacheFolder)?;
    Ok(cache.join("downloads"))
}

/// Fetches a data set and imports it to the new data folder `out`. Files lie below `downloads` meanwhile,
/// where a later call goes on with what an earlier one has left; they are removed when all is imported.
///
/// `url` is a mirror in place of where the data set is published: a folder of files by their published
/// names, or, of a data set that is one file, that file. Whatever it gives is checked like the original.
///
/// Where `stop` is set, it ends; what was downloaded stays.
///
/// # Errors
/// See [`FetchError`].
pub fn fetch(
    published: &Published,
    url: Option<&str>,
    out: &Path,
    downloads: &Path,
    patience: Patience,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Event),
) -> Result<Imported, FetchError> {
    // That there is a place for it, before hundreds of megabytes are fetched.
    drop(NewFolder::create(out, 1)?);
    let folder = downloads.join(published.name);
    let _created = Created::on_the_way_to(&folder);
    let fetched = fetch_by_way_of(&folder, published, url, out, (patience, stop), tell);
    // Where there is nothing in it to go on with.
    let _ = fs::remove_dir(folder);
    fetched
}

/// Downloads to `folder`, and imports to `out`.
fn fetch_by_way_of(
    folder: &Path,
    published: &Published,
    url: Option<&str>,
    out: &Path,
    (patience, stop): (Patience, &AtomicBool),
    tell: &mut dyn FnMut(Event),
) -> Result<Imported, FetchError> {
    fs::create_dir_all(folder).map_err(|source| FetchError::Write {
        path: folder.into(),
        source,
    })?;
    let files = download_all(published, url, folder, &Client::new(patience, stop), tell)?;
    let imported = match published.kind {
        Kind::Cifar10 => import_cifar(Cifar::Ten, &files[0], out, stop)?,
        Kind::Cifar100 => import_cifar(Cifar::Hundred(Labels::Fine), &files[0], out, stop)?,
        Kind::Idx => import_idx(&files, out, &idx_options(published), stop)?,
    };
    for file in files {
        // What is left costs room and no more.
        let _ = fs::remove_file(file);
    }
    Ok(imported)
}

/// All files of a data set; of one that is published in several forms, those of the first that is there.
fn download_all(
    published: &Published,
    url: Option<&str>,
    folder: &Path,
    client: &Client,
    tell: &mut dyn FnMut(Event),
) -> Result<Vec<PathBuf>, FetchError> {
    if let Some(url) = url.filter(|url| !is_address(url)) {
        return Err(FetchError::Url { url: url.into() });
    }
    let names_a_file = |url: &str| {
        let url = url.split(['?', '#']).next().unwrap_or(url);
        let last = url.rsplit('/').next().unwrap_or_default();
        [".gz", ".tgz", ".tar"]
            .iter()
            .any(|ending| last.ends_with(ending))
    };
    let alternatives = published.alternatives;
    if let Some(url) = url.filter(|url| names_a_file(url)) {
        let only: Vec<RemoteFile> = alternatives
            .iter()
            .filter_map(|alternative| match alternative.files {
                [file] => Some(*file),
                _ => None,
            })
            .collect();
        if only.is_empty() {
            return Err(FetchError::Url { url: url.into() });
        }
        return Ok(vec![client.download(url, &only, folder, tell)?]);
    }
    if let Some(url) = url.filter(|url| url.contains(['?', '#'])) {
        // The names of files would stand behind the question.
        return Err(FetchError::Url { url: url.into() });
    }
    let mut missing = None;
    for alternative in alternatives {
        let base = url.unwrap_or(alternative.base).trim_end_matches('/');
        let mut paths = Vec::new();
        for file in alternative.files {
            let url = format!("{base}/{}", file.name);
            match client.download(&url, &[*file], folder, tell) {
                Ok(path) => paths.push(path),
                Err(error @ FetchError::NotThere { .. }) if paths.is_empty() => {
                    missing.get_or_insert(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if paths.len() == alternative.files.len() {
            return Ok(paths);
        }
    }
    Err(missing.expect("what is not there was noted"))
}

/// Whether an address can be asked at all: https or http, a host, a port that there is.
fn is_address(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let Some(authority) = uri.authority().filter(|place| !place.host().is_empty()) else {
        return false;
    };
    // With a name and a password before it, perhaps.
    let place = authority.as_str().rsplit('@').next().unwrap_or_default();
    let port = place.strip_prefix(authority.host());
    let port = port.and_then(|rest| rest.strip_prefix(':'));
    matches!(uri.scheme_str(), Some("https" | "http"))
        && port.is_none_or(|port| port.is_empty() || port.parse::<u16>().is_ok())
}

fn idx_options(published: &Published) -> IdxOptions {
    IdxOptions {
        fit: None,
        test_share: None,
        split_seed: 0,
        name: Some(published.title.into()),
        classes: Some(
            published
                .classes
                .iter()
                .map(|class| (*class).into())
                .collect(),
        ),
    }
}

impl From<ImportError> for FetchError {
    fn from(error: ImportError) -> FetchError {
        FetchError::Import(error)
    }
}
