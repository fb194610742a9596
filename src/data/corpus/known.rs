//! Texts that many people have: their files, by the digests and the numbers that are published.

use md5::{Digest, Md5};
use serde::Serialize;
use sha2::Sha256;

use super::{Corpus, CorpusError, Layout, TextPart};
use crate::text;

/// A text that many people have.
#[derive(Debug)]
pub struct Known {
    /// What it is called.
    pub name: &'static str,
    pub(super) layout: Layout,
    /// Lines of the parts.
    pub(super) n_lines: [usize; 3],
    /// MD5 of the files, where it is published.
    pub(super) md5: Option<[&'static str; 3]>,
}

/// Mikolov's preparation of the Penn Treebank: 929,589, 73,760 and 82,430 words with the ends of
/// lines, of 10,000 different ones.
pub(super) const PTB: Known = Known {
    name: "Penn Treebank",
    layout: Layout::Ptb,
    n_lines: [42_068, 3_370, 3_761],
    md5: Some([
        "f26c4b92c5fdc7b3f8c7cdcb991d8420",
        "aa0affc06ff7c36e977d7cd49e3839bf",
        "8b80168b89c18661a38ef683c0dc3721",
    ]),
};

/// Published for WikiText are the digests of the archives, not of the files in them.
static KNOWN: [Known; 3] = [
    PTB,
    Known {
        name: "WikiText-2",
        layout: Layout::Wiki,
        n_lines: [36_718, 3_760, 4_358],
        md5: None,
    },
    Known {
        name: "WikiText-103",
        layout: Layout::Wiki,
        n_lines: [1_801_350, 3_760, 4_358],
        md5: None,
    },
];

/// What a file of a text is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TextFileFacts {
    /// Its name, without the folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its lines, the records of a text.
    pub records: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Its MD5 in hexadecimal, by which texts are published.
    pub md5: String,
    /// Whether it is the file of a known text; nothing where no digest is published for its name.
    pub official: Option<bool>,
}

impl TextFileFacts {
    /// Of a file whose bytes are those of the `index`-th file of a layout.
    pub(super) fn new(name: String, bytes: &[u8], layout: Layout, index: usize) -> TextFileFacts {
        let md5 = text::hex(&Md5::digest(bytes));
        TextFileFacts {
            name,
            bytes: bytes.len() as u64,
            records: n_lines(bytes) as u64,
            sha256: text::hex(&Sha256::digest(bytes)),
            official: official(layout, index, &md5),
            md5,
        }
    }
}

/// Lines that end.
pub(super) fn n_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// Whether the `index`-th file of a layout is that of a known text, judged by its MD5.
fn official(layout: Layout, index: usize, md5: &str) -> Option<bool> {
    let published = |known: &&Known| known.md5.is_some();
    let same = |known: &Known| known.md5.is_some_and(|files| files[index] == md5);
    if KNOWN.iter().any(same) {
        return Some(true);
    }
    let of_layout = |known: &Known| known.layout == layout;
    KNOWN
        .iter()
        .filter(published)
        .any(of_layout)
        .then_some(false)
}

impl Corpus {
    /// What its files are, read again.
    ///
    /// # Errors
    /// If one cannot be read any more.
    pub fn file_facts(&self) -> Result<Vec<TextFileFacts>, CorpusError> {
        let facts = |(index, path): (usize, &std::path::PathBuf)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let bytes = self.source.bytes(index)?;
            Ok(TextFileFacts::new(
                name.into_owned(),
                &bytes,
                self.layout(),
                index,
            ))
        };
        self.files().iter().enumerate().map(facts).collect()
    }

    /// The known text that this is, by the digests of all its files, or where none are published by
    /// their numbers of lines; the second tells which.
    pub fn known(&self, files: &[TextFileFacts]) -> Option<(&'static Known, KnownBy)> {
        let lines = TextPart::ALL.map(|part| self.n_lines(part));
        let by = |known: &Known| match known.md5 {
            Some(md5) => {
                let same = files.iter().map(|file| &file.md5).eq(md5);
                same.then_some(KnownBy::Md5)
            }
            None => {
                let same = known.layout == self.layout() && known.n_lines == lines;
                same.then_some(KnownBy::Lines)
            }
        };
        KNOWN
            .iter()
            .find_map(|known| by(known).map(|by| (known, by)))
    }
}

/// By what a text is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// The digests of its files.
    Md5,
    /// The numbers of its lines.
    Lines,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_in_its_own_place() {
        let [train, valid, _] = PTB.md5.unwrap();
        assert_eq!(official(Layout::Ptb, 0, train), Some(true));
        assert_eq!(official(Layout::Parts, 0, train), Some(true));
        assert_eq!(official(Layout::Ptb, 0, valid), Some(false));
        assert_eq!(official(Layout::Parts, 0, valid), None);
        assert_eq!(official(Layout::Wiki, 1, "00"), None);
        // RFC 1321, A.5.
        let facts = TextFileFacts::new("f".into(), b"message digest", Layout::File, 0);
        assert_eq!(facts.md5, "f96b697d7cb7938d525a2f31aaf161d0");
    }
}
