//! Texts become tokens: layouts, vocabulary, cache, and bad files.

use std::fs;
use std::path::Path;

use nas_engine::data::DataKind;
use nas_engine::data::corpus::{Corpus, CorpusError, Level, TextPart};
use tempfile::TempDir;

/// A folder with some files, and one for the cache.
fn folder(files: &[(&str, &[u8])]) -> (TempDir, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    (dir, tempfile::tempdir().unwrap())
}

fn open(
    dir: &Path,
    level: Level,
    most: Option<usize>,
    cache: &TempDir,
) -> Result<Corpus, CorpusError> {
    Corpus::open(dir, level, most, cache.path())
}

fn words(corpus: &Corpus, part: TextPart) -> Vec<&str> {
    let words = corpus.vocabulary().words();
    let tokens = corpus.tokens(part).iter();
    tokens
        .map(|&token| words[token as usize].as_str())
        .collect()
}

const TRAIN: &[u8] = b" the cat sat \n on the mat \n\n";

#[test]
fn words_are_numbered_as_they_first_appear() {
    for names in [
        ["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"],
        ["wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"],
        ["train.txt", "valid.txt", "test.txt"],
    ] {
        let files = [
            (names[0], TRAIN),
            (names[1], b"the dog\n"),
            (names[2], b"mat mat"),
        ];
        let (dir, cache) = folder(&files);
        let corpus = open(dir.path(), Level::Word, None, &cache).unwrap();
        let expected = ["the", "cat", "sat", "<eos>", "on", "mat", "<unk>"];
        assert_eq!(corpus.vocabulary().words(), expected);
        assert_eq!(corpus.tokens(TextPart::Train), [0, 1, 2, 3, 4, 0, 5, 3, 3]);
        assert_eq!(
            words(&corpus, TextPart::Validation),
            ["the", "<unk>", "<eos>"]
        );
        assert_eq!(words(&corpus, TextPart::Test), ["mat", "mat"]);
        assert_eq!(TextPart::ALL.map(|part| corpus.n_lines(part)), [3, 1, 0]);
        // printf 'the\ncat\nsat\n<eos>\non\nmat\n<unk>' | sha256sum
        assert!(corpus.vocabulary().sha256().starts_with("ec5fbbade4aab86d"));
    }
}

/// `<unk>` keeps its place where the training text has it, and the size counts it.
#[test]
fn a_limit_keeps_the_most_frequent() {
    let train = b"b a <unk> a c b a d\n";
    let (dir, cache) = folder(&[
        ("train.txt", train),
        ("valid.txt", b"a b"),
        ("test.txt", b"b c"),
    ]);
    let vocabulary = |most| {
        let corpus = open(dir.path(), Level::Word, Some(most), &cache).unwrap();
        corpus.vocabulary().words().join(" ")
    };
    assert_eq!(vocabulary(2), "a <unk>");
    assert_eq!(vocabulary(3), "b a <unk>");
    assert_eq!(vocabulary(4), "b a <unk> c", "of equals the first");
    assert_eq!(vocabulary(100), "b a <unk> c d <eos>");
    let corpus = open(dir.path(), Level::Word, Some(3), &cache).unwrap();
    assert_eq!(words(&corpus, TextPart::Test), ["b", "<unk>"]);
    for most in [0, 1] {
        let error = open(dir.path(), Level::Word, Some(most), &cache).unwrap_err();
        assert!(
            error.to_string().contains("give --vocabulary 2 or more"),
            "{error}"
        );
    }
}

#[test]
fn characters_are_of_any_alphabet() {
    let (dir, cache) = folder(&[
        ("train.txt", "aß \nß".as_bytes()),
        ("valid.txt", b"a\n"),
        ("test.txt", "ßx".as_bytes()),
    ]);
    let corpus = open(dir.path(), Level::Char, None, &cache).unwrap();
    assert_eq!(
        corpus.vocabulary().words(),
        ["a", "ß", " ", "<eos>", "<unk>"]
    );
    assert_eq!(corpus.tokens(TextPart::Train), [0, 1, 2, 3, 1]);
    assert_eq!(corpus.tokens(TextPart::Test), [1, 4]);
}

/// 90, 5 and 5 of a hundred tokens, and words of the later parts may be unknown.
#[test]
fn a_single_file_is_split_by_position() {
    let text: String = (0..43).map(|i| format!("w{} ", i % 20)).collect();
    let (dir, cache) = folder(&[("book", text.as_bytes())]);
    let corpus = open(&dir.path().join("book"), Level::Word, None, &cache).unwrap();
    let lens = TextPart::ALL.map(|part| corpus.tokens(part).len());
    assert_eq!(lens, [38, 2, 3]);
    assert_eq!(words(&corpus, TextPart::Test), ["w0", "w1", "w2"]);
}

/// Encoded once; what was damaged since is encoded again.
#[test]
fn what_is_encoded_is_kept() {
    let files: [(&str, &[u8]); 3] = [
        ("train.txt", TRAIN),
        ("valid.txt", b"the\n"),
        ("test.txt", b"on\n"),
    ];
    let (dir, cache) = folder(&files);
    let first = open(dir.path(), Level::Word, None, &cache).unwrap();
    let kept: Vec<_> = fs::read_dir(cache.path()).unwrap().collect();
    assert_eq!(kept.len(), 1);
    let tokens = kept[0].as_ref().unwrap().path().join("training.tokens");
    let written = fs::metadata(&tokens).unwrap().modified().unwrap();
    let second = open(dir.path(), Level::Word, None, &cache).unwrap();
    assert_eq!(
        first.tokens(TextPart::Train),
        second.tokens(TextPart::Train)
    );
    assert_eq!(fs::metadata(&tokens).unwrap().modified().unwrap(), written);
    drop((first, second));
    for damage in [&[9u8, 9, 9, 9][..], &[0, 0, 0], &[]] {
        fs::write(&tokens, damage).unwrap();
        let again = open(dir.path(), Level::Word, None, &cache).unwrap();
        assert_eq!(again.tokens(TextPart::Train), [0, 1, 2, 3, 4, 0, 5, 3, 3]);
    }
}

#[test]
fn bad_texts_are_named() {
    let three = |train: &'static [u8], valid: &'static [u8]| {
        folder(&[
            ("train.txt", train),
            ("valid.txt", valid),
            ("test.txt", b"the\n"),
        ])
    };
    let cases: [((TempDir, TempDir), &str); 10] = [
        (folder(&[]), "no text in"),
        (folder(&[("train.txt", TRAIN)]), "valid.txt is missing"),
        (folder(&[("test.txt", TRAIN)]), "train.txt is missing"),
        (three(b"", b"the"), "train.txt: the training part is empty"),
        (
            three(TRAIN, b" "),
            "valid.txt: the validation part is empty",
        ),
        (
            three(b"the", b"the"),
            "train.txt: the training part is a single word",
        ),
        (
            three(TRAIN, b"dog bone"),
            "valid.txt: no word of the validation part is in the vocabulary",
        ),
        // The ends of lines are known, and do not count.
        (
            three(TRAIN, b"dog bone\n\nbone\n"),
            "valid.txt: no word of the validation part is in the vocabulary",
        ),
        (
            three(b"fine\nthe \xff\n", b"the"),
            "train.txt: line 2 is not UTF-8",
        ),
        (three(TRAIN, b"\xc3"), "valid.txt: line 1 is not UTF-8"),
    ];
    for ((dir, cache), words) in cases {
        let error = open(dir.path(), Level::Word, None, &cache).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_single_file_may_be_too_short_to_split() {
    for (text, words) in [
        ("", "the training part is empty"),
        ("word", "the training part is empty"),
        ("a b", "the training part is a single word"),
        ("a b c d", "the validation part is empty"),
    ] {
        let (dir, cache) = folder(&[("book", text.as_bytes())]);
        let error = open(&dir.path().join("book"), Level::Word, None, &cache).unwrap_err();
        assert!(error.to_string().contains(words), "{text:?}: {error}");
    }
}

/// The numbers of data/README.md; most of it is known, and the parts are whole lines.
#[test]
fn the_bundled_text_needs_no_file() {
    let cache = tempfile::tempdir().unwrap();
    let bundled = |level, most| Corpus::bundled_in(cache.path(), level, most).unwrap();
    let corpus = bundled(Level::Word, Some(1_000));
    let n_tokens = TextPart::ALL.map(|part| corpus.tokens(part).len());
    assert_eq!(n_tokens, [82_845, 10_948, 8_501]);
    assert_eq!(
        TextPart::ALL.map(|part| corpus.n_lines(part)),
        [3_055, 421, 303]
    );
    assert_eq!(corpus.vocabulary().len(), 1_000);
    for part in TextPart::ALL {
        let share = corpus.n_unknown(part) as f64 / corpus.tokens(part).len() as f64;
        assert!((0.04..0.08).contains(&share), "{part:?}: {share}");
    }
    let begin = &words(&corpus, TextPart::Train)[..12];
    assert_eq!(
        begin.join(" "),
        "the book of the generation of jesus christ , the son of"
    );
    let all = bundled(Level::Word, None);
    assert_eq!(all.vocabulary().len(), 3_160 + 2, "with <eos> and <unk>");
    let characters = bundled(Level::Char, None);
    assert_eq!(
        characters.vocabulary().len(),
        26 + 9 + 3,
        "letters, marks, blank, <eos>, <unk>"
    );

    // What was damaged is unpacked again.
    let damaged = all.files()[1].clone();
    fs::write(&damaged, "other words").unwrap();
    let again = bundled(Level::Word, None);
    assert_eq!(again.sha256(), all.sha256());
    assert_eq!(
        again.tokens(TextPart::Validation),
        all.tokens(TextPart::Validation)
    );
}

#[test]
fn images_and_texts_are_told_apart_by_their_files() {
    let file = |name: &'static str| folder(&[(name, b"x")]).0;
    for name in [
        "data_batch_1.bin",
        "data_batch_7.bin",
        "test_batch.bin",
        "cifar-10-batches-py",
    ] {
        assert_eq!(
            DataKind::of(file(name).path()).unwrap(),
            DataKind::Images,
            "{name}"
        );
    }
    for name in ["ptb.valid.txt", "wiki.test.tokens", "train.txt"] {
        let dir = file(name);
        assert_eq!(DataKind::of(dir.path()).unwrap(), DataKind::Text, "{name}");
        assert_eq!(
            DataKind::of(&dir.path().join(name)).unwrap(),
            DataKind::Text
        );
    }
    // Not a text of one line that is no UTF-8.
    for name in ["data_batch_1.bin", "cifar-10-binary.tar.gz"] {
        assert_eq!(
            DataKind::of(&file(name).path().join(name)).unwrap(),
            DataKind::Images
        );
    }
    let both = folder(&[("test_batch.bin", b"x"), ("train.txt", b"x")]).0;
    for (path, words) in [
        (both.path(), "both images and a text"),
        (file("notes.txt").path(), "neither images (data_batch_1.bin"),
        (&both.path().join("absent"), "it does not exist"),
    ] {
        let error = DataKind::of(path).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
