//! `Containerfile`: what it copies is there, what it makes runs as nobody in particular.

use std::fs;

use super::path;

/// Instructions, with their continued lines.
fn instructions() -> Vec<Vec<String>> {
    let text = fs::read_to_string(path("Containerfile")).unwrap();
    let text = text.replace("\\\n", " ");
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

#[test]
fn an_image_is_made_of_what_is_here() {
    let all = instructions();
    let ignored = fs::read_to_string(path(".containerignore")).unwrap();
    assert_eq!(fs::read_to_string(path(".dockerignore")).unwrap(), ignored);
    let mut n_copied = 0;
    for words in all.iter().filter(|words| words[0] == "COPY") {
        let sources = &words[1..words.len() - 1];
        if sources[0].starts_with("--from=") {
            assert_eq!(sources[0], "--from=build");
            continue;
        }
        for source in sources {
            assert!(path(source).exists(), "{source}");
            assert!(
                !ignored.lines().any(|line| line == source),
                "{source} is ignored"
            );
            n_copied += 1;
        }
    }
    assert!(n_copied >= 5);
    for words in all.iter().filter(|words| words[0] == "FROM") {
        let (_, tag) = words[1].rsplit_once(':').expect("a tag");
        assert!(tag != "latest");
    }
    let last = all.iter().rposition(|words| words[0] == "FROM").unwrap();
    let of_image = |name: &str| {
        let mut found = all[last..].iter().filter(|words| words[0] == name);
        found
            .next_back()
            .unwrap_or_else(|| panic!("{name}"))
            .clone()
    };
    let (user, _) = of_image("USER")[1]
        .split_once(':')
        .map(|(u, g)| (u.to_owned(), g.to_owned()))
        .unwrap();
    assert!(
        user.parse::<u32>().unwrap() > 0,
        "no root, by number for Kubernetes to see"
    );
    assert_eq!(of_image("ENTRYPOINT")[1..], ["[\"nas-engine\"]"]);
}

/// The toolchain that builds it is one that the program says it needs, or later.
#[test]
fn the_toolchain_is_new_enough() {
    let manifest = fs::read_to_string(path("Cargo.toml")).unwrap();
    let needs = manifest.split("rust-version = \"").nth(1).unwrap();
    let version = |text: &str| -> Vec<u32> {
        let end = text
            .find(|c: char| c != '.' && !c.is_ascii_digit())
            .unwrap();
        text[..end]
            .split('.')
            .map(|part| part.parse().unwrap())
            .collect()
    };
    let all = instructions();
    let (_, tag) = all[0][1].rsplit_once("rust:").unwrap();
    assert!(version(tag) >= version(needs));
}
