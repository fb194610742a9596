//! The members of a tar archive that are wanted, compressed or not. Nothing is unpacked to disk: a member is
//! known by its name, read into memory up to a length that is known beforehand, and all else is passed over.

use std::io::{self, Read};
use std::path::Path;

use tar::{Archive, Entry, EntryType};

use super::pipeline::pipeline;
use super::stop::Stop;
use super::{ImportError, gz, packed};
use crate::text;

/// What an archive may unpack to; the published ones come to 187 MB.
const MOST_BYTES: u64 = 1 << 30;

/// Longest name of a member, and longest header that gives one.
const MOST_NAME_BYTES: u64 = 1 << 16;

/// What is read of an archive.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Names of the members, whatever folder of the archive they lie in.
    pub names: &'a [&'a str],
    /// Most bytes of each.
    pub most_bytes: u64,
}

/// A member on its way.
struct Member {
    /// Which of those that are wanted.
    wanted: usize,
    bytes: Vec<u8>,
}

/// How a member is called, and, of a link, what it stands for.
struct Names {
    path: Vec<u8>,
    target: Vec<u8>,
}

/// Where a pass through an archive stands.
#[derive(Default)]
struct Pass {
    /// Name and target of the next member, where they are too long for its header.
    long_name: Option<Vec<u8>>,
    long_target: Option<Vec<u8>>,
    /// Members that were met, by the index of those that are wanted.
    met: Vec<usize>,
    /// Those that are hard links, and the path of what they stand for.
    links: Vec<(usize, Vec<u8>)>,
}

/// Gives each member that is wanted to `work`: read in the order of the archive, hard links last, worked on
/// by several threads in any order.
///
/// # Errors
/// Names the archive and the member of what is wrong; that of `work`.
pub(super) fn read(
    path: &Path,
    wanted: Wanted,
    stop: Stop,
    work: impl Fn(usize, &[u8]) -> Result<(), ImportError> + Sync,
) -> Result<(), ImportError> {
    if let Some(problem) = packed::archive(path) {
        return Err(ImportError::unusable(path, problem));
    }
    let file = gz::open(path).map_err(|error| failed(path, &error))?.file;
    read_from(path, file, wanted, stop, &work, || {
        Ok(gz::open(path).map_err(|error| failed(path, &error))?.file)
    })
}

/// As [`read`], from bytes, of which `again` gives a second copy.
pub(super) fn read_from<R: Read>(
    path: &Path,
    file: R,
    wanted: Wanted,
    stop: Stop,
    work: &(impl Fn(usize, &[u8]) -> Result<(), ImportError> + Sync),
    again: impl FnOnce() -> Result<R, ImportError>,
) -> Result<(), ImportError> {
    let mut pass = Pass::default();
    go_through(path, file, &mut pass, (wanted, stop), None, work)?;
    if pass.links.is_empty() {
        return Ok(());
    }
    let mut left = pass.links;
    go_through(
        path,
        again()?,
        &mut Pass::default(),
        (wanted, stop),
        Some(&mut left),
        work,
    )?;
    match left.first() {
        None => Ok(()),
        Some((link, target)) => Err(ImportError::unusable(
            path,
            format!(
                "{} is a link to {}, which is not in it; pack the file itself",
                wanted.names[*link],
                target.escape_ascii()
            ),
        )),
    }
}

/// One pass through an archive, to its very end: a compressed one then has compared its check sum. Takes what
/// is wanted by name, or what `links` stand for, and those off the list.
fn go_through<R: Read>(
    path: &Path,
    file: R,
    pass: &mut Pass,
    (wanted, stop): (Wanted, Stop),
    mut links: Option<&mut Vec<(usize, Vec<u8>)>>,
    work: &(impl Fn(usize, &[u8]) -> Result<(), ImportError> + Sync),
) -> Result<(), ImportError> {
    // One more, so that a longer one is told from one that ends there.
    let mut archive = Archive::new(file.take(MOST_BYTES + 1));
    let entries = archive.entries().map_err(|error| failed(path, &error))?;
    // Raw: names in headers of their own are read here, for the crate reads them at any length.
    let mut entries = entries.raw(true);
    let mut waiting = Vec::new();
    let next = || {
        while waiting.is_empty() {
            stop.check()?;
            let Some(entry) = entries.next() else {
                return Ok(None);
            };
            let mut entry = entry.map_err(|error| failed(path, &error))?;
            let chosen = match &mut links {
                None => pass.member(&mut entry, wanted),
                Some(links) => pass.target(&mut entry, links, wanted),
            };
            waiting = chosen.map_err(|problem| ImportError::unusable(path, problem))?;
        }
        Ok(waiting.pop())
    };
    pipeline(stop, next, |member: Member| {
        work(member.wanted, &member.bytes)
    })?;
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(|error| failed(path, &error))?;
    match rest.limit() {
        0 => Err(ImportError::unusable(
            path,
            format!(
                "unpacks to more than {}; it is none of the published archives, give one of them",
                text::bytes(MOST_BYTES)
            ),
        )),
        _ => Ok(()),
    }
}

impl Pass {
    /// A member by its name, where it is wanted.
    fn member<R: Read>(
        &mut self,
        entry: &mut Entry<R>,
        wanted: Wanted,
    ) -> Result<Vec<Member>, String> {
        let Some(Names { path, target }) = self.names(entry)? else {
            return Ok(Vec::new());
        };
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let kind = entry.header().entry_type();
        let of_name = wanted
            .names
            .iter()
            .position(|wanted| wanted.as_bytes() == name);
        let Some(index) = of_name.filter(|_| !kind.is_dir()) else {
            return Ok(Vec::new());
        };
        let shown = path.escape_ascii().to_string();
        if path.starts_with(b"/") || path.split(|&byte| byte == b'/').any(|part| part == b"..") {
            return Err(format!(
                "the path of the member {shown} leads out of the archive; pack it again with paths below it"
            ));
        }
        if self.met.contains(&index) {
            return Err(format!(
                "the member {shown} is there twice; pack it again with one of them"
            ));
        }
        self.met.push(index);
        match kind {
            EntryType::Regular | EntryType::Continuous => {
                let bytes = contents(entry, &shown, wanted.most_bytes)?;
                Ok(vec![Member {
                    wanted: index,
                    bytes,
                }])
            }
            EntryType::Link => {
                self.links.push((index, normal(&target)));
                Ok(Vec::new())
            }
            EntryType::Symlink => Err(format!(
                "the member {shown} is a symbolic link; pack the file itself (tar --dereference)"
            )),
            _ => Err(format!(
                "the member {shown} is neither a file nor a link to one; pack the file itself"
            )),
        }
    }

    /// A member that links stand for, by its path.
    fn target<R: Read>(
        &mut self,
        entry: &mut Entry<R>,
        links: &mut Vec<(usize, Vec<u8>)>,
        wanted: Wanted,
    ) -> Result<Vec<Member>, String> {
        let Some(Names { path, .. }) = self.names(entry)? else {
            return Ok(Vec::new());
        };
        let is_file = matches!(
            entry.header().entry_type(),
            EntryType::Regular | EntryType::Continuous
        );
        let (here, elsewhere): (Vec<_>, Vec<_>) = links
            .drain(..)
            .partition(|(_, target)| is_file && *target == normal(&path));
        *links = elsewhere;
        if here.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = contents(entry, &path.escape_ascii().to_string(), wanted.most_bytes)?;
        let member = |(wanted, _)| Member {
            wanted,
            bytes: bytes.clone(),
        };
        Ok(here.into_iter().map(member).collect())
    }

    /// The names of a member; nothing of a header that tells of the next one.
    fn names<R: Read>(&mut self, entry: &mut Entry<R>) -> Result<Option<Names>, String> {
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => self.long_name = Some(name_of(entry)?),
            EntryType::GNULongLink => self.long_target = Some(name_of(entry)?),
            EntryType::XHeader => self.extended(&contents(entry, "a header", MOST_NAME_BYTES)?)?,
            EntryType::XGlobalHeader => {}
            EntryType::GNUSparse => return Err(SPARSE.into()),
            _ => {
                let header = entry.header();
                let path = self.long_name.take();
                let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
                let target = self.long_target.take();
                let target = target.unwrap_or_else(|| {
                    header
                        .link_name_bytes()
                        .map(|name| name.into_owned())
                        .unwrap_or_default()
                });
                return Ok(Some(Names { path, target }));
            }
        }
        Ok(None)
    }

    /// The records of a header of the format POSIX 2001: lines of length, key and value.
    fn extended(&mut self, mut records: &[u8]) -> Result<(), String> {
        let wrong = || {
            "has an extended header that cannot be read; pack it again with tar --format=ustar"
                .to_string()
        };
        while !records.is_empty() {
            let space = records
                .iter()
                .position(|&byte| byte == b' ')
                .ok_or_else(wrong)?;
            let length = std::str::from_utf8(&records[..space]).ok();
            let length: usize = length
                .and_then(|length| length.parse().ok())
                .ok_or_else(wrong)?;
            let record = records.get(space + 1..length).ok_or_else(wrong)?;
            records = &records[length..];
            let record = record.strip_suffix(b"\n").ok_or_else(wrong)?;
            let equals = record
                .iter()
                .position(|&byte| byte == b'=')
                .ok_or_else(wrong)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.long_name = Some(value.into()),
                b"linkpath" => self.long_target = Some(value.into()),
                b"size" => {
                    return Err("has a member of more than 8 GB; give the published archive".into());
                }
                _ if key.starts_with(b"GNU.sparse.") => return Err(SPARSE.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

const SPARSE: &str =
    "has sparse members, whose bytes are not all there; pack it again without --sparse";

/// All bytes of a member.
fn contents<R: Read>(entry: &mut Entry<R>, name: &str, most: u64) -> Result<Vec<u8>, String> {
    let size = entry
        .header()
        .entry_size()
        .map_err(|_| format!("{name} has a size that is no number; copy or download it again"))?;
    if size > most {
        return Err(format!(
            "{name} has {} bytes, where at most {} are expected; it is none of the published archives, \
             give one of them",
            text::count(size),
            text::count(most)
        ));
    }
    // Grows with what is really there.
    let mut bytes = Vec::new();
    let read = entry.read_to_end(&mut bytes);
    match read {
        Ok(n) if n as u64 == size => Ok(bytes),
        Ok(n) => Err(format!(
            "ends early, within {name} ({} of {} bytes); copy or download it again",
            text::count(n as u64),
            text::count(size)
        )),
        Err(error) => Err(format!("{error}, within {name}; copy or download it again")),
    }
}

/// A name in a header of its own, without the zero that ends it.
fn name_of<R: Read>(entry: &mut Entry<R>) -> Result<Vec<u8>, String> {
    let mut name = contents(entry, "the name of a member", MOST_NAME_BYTES)?;
    let end = name
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(name.len());
    name.truncate(end);
    Ok(name)
}

/// A path without `.` and empty parts.
fn normal(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|&byte| byte == b'/');
    let parts: Vec<&[u8]> = parts.filter(|part| !matches!(*part, b"" | b".")).collect();
    parts.join(&b'/')
}

/// What went wrong in reading an archive. What is no fault of the system is one of the archive, in words of
/// our own: those of the crate quote the bytes that it takes for a header.
fn failed(path: &Path, error: &io::Error) -> ImportError {
    let otherwise = "is no whole archive: where a member should begin there is none; copy or download it \
                     again";
    gz::failed(path, error, otherwise)
}
