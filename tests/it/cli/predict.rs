//! `predict`: pictures of test records are seen as `eval` sees the records.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use image::{ImageFormat, RgbImage};
use nas_engine::data::Dataset;
use serde_json::Value;

use super::bad_input::refused;
use super::{data_folder, example, json, nas, object, program, run, text};

const N_TEST: usize = 60;

/// Writes the test records of a data folder as pictures, `class/record.png`; their number.
fn write_pictures(data: &Path, out: &Path) -> usize {
    let dataset = Dataset::open(data, None).unwrap();
    for record in 0..dataset.n_test() {
        let (label, planes) = dataset.record(dataset.n_train() + record);
        let folder = out.join(label.to_string());
        fs::create_dir_all(&folder).unwrap();
        let pixel = |x: u32, y: u32| {
            let at = (y * 32 + x) as usize;
            image::Rgb([planes[at], planes[1024 + at], planes[2048 + at]])
        };
        let picture = RgbImage::from_fn(32, 32, pixel);
        picture
            .save_with_format(folder.join(format!("{record:03}.png")), ImageFormat::Png)
            .unwrap();
    }
    dataset.n_test()
}

#[test]
fn pictures_are_seen_as_eval_sees_their_records() {
    let data = data_folder(200, N_TEST);
    let place = tempfile::tempdir().unwrap();
    let weights = text(&place.path().join("small.safetensors"));
    let arch = example("small.json");
    let data_path = text(data.path());
    json(&[
        "train",
        "--arch",
        &arch,
        "--data",
        &data_path,
        "--epochs",
        "2",
        "--batch",
        "16",
        "--augment",
        "pad-crop",
        "--save",
        &weights,
    ]);
    let pictures = place.path().join("pictures");
    assert_eq!(write_pictures(data.path(), &pictures), N_TEST);
    let pictures = text(&pictures);
    let seen = json(&["predict", "--weights", &weights, &pictures]);
    let seen = seen["predictions"].as_array().unwrap();
    assert_eq!(seen.len(), N_TEST);
    let is_right = |one: &&Value| {
        let file = Path::new(one["file"].as_str().unwrap());
        let label = file.parent().unwrap().file_name().unwrap();
        let probabilities: Vec<f64> = one["probabilities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p.as_f64().unwrap())
            .collect();
        assert_eq!(probabilities.len(), 10);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let most = probabilities.iter().copied().fold(0.0, f64::max);
        assert_eq!(one["probability"].as_f64().unwrap(), most);
        one["class"].as_str() == label.to_str()
    };
    let n_right = seen.iter().filter(is_right).count();
    let eval = json(&[
        "eval",
        "--weights",
        &weights,
        "--data",
        &data_path,
        "--split",
        "test",
    ]);
    assert_eq!(eval["correct"], n_right);
    assert!(
        n_right > N_TEST / 5,
        "{n_right}: nothing was learned, so nothing is tested"
    );

    // The mean cross-entropy of the right classes is eval's loss.
    let loss = |one: &Value| {
        let file = Path::new(one["file"].as_str().unwrap());
        let label: usize = file
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        -one["probabilities"][label].as_f64().unwrap().ln()
    };
    let mean = seen.iter().map(loss).sum::<f64>() / N_TEST as f64;
    let expected = eval["loss"].as_f64().unwrap();
    assert!(
        (mean / expected - 1.0).abs() < 1e-5,
        "{mean}, not {expected}"
    );

    let csv = nas(&["predict", "--weights", &weights, "--csv", &pictures]);
    let lines: Vec<&str> = csv.stdout.lines().collect();
    assert_eq!(lines[0], "file,class,probability,0,1,2,3,4,5,6,7,8,9");
    assert_eq!(lines.len(), N_TEST + 1);
    assert!(lines.iter().all(|line| line.split(',').count() == 13));
}

/// The records of comma-separated values, by RFC 4180.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (vec![], vec![], String::new());
    let mut quoted = false;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => field.extend(rest.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            c => field.push(c),
        }
    }
    assert!(!quoted && field.is_empty() && record.is_empty(), "{text:?}");
    records
}

/// Weights of `small.json`, trained for an epoch on a data folder.
fn trained(data: &Path, place: &Path) -> String {
    let weights = text(&place.join("small.safetensors"));
    let (arch, data) = (example("small.json"), text(data));
    let train = [
        "train", "--arch", &arch, "--data", &data, "--save", &weights,
    ];
    json(&[&train[..], &["--epochs", "1", "--batch", "16"]].concat());
    weights
}

/// A file's name by its bytes, and as each form of the result has it.
struct Name {
    bytes: &'static [u8],
    json: &'static str,
    csv: &'static str,
    words: &'static str,
}

/// Names that hold what separates values, ends lines, speaks to terminals, or is no text.
#[test]
fn names_of_files_are_what_they_are_in_every_form() {
    let data = data_folder(100, 10);
    let place = tempfile::tempdir().unwrap();
    fs::write(
        data.path().join("dataset.toml"),
        "classes = ['a,b', 'a \"b\"', \"a\\nb\", '3', '4', '5', '6', '7', '8', '9']\n",
    )
    .unwrap();
    let weights = trained(data.path(), place.path());
    let pictures = place.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    let picture = RgbImage::from_pixel(32, 32, image::Rgb([9, 99, 199]));
    let plain = pictures.join("plain.png");
    picture.save_with_format(&plain, ImageFormat::Png).unwrap();
    let as_it_is = |name: &'static str| Name {
        bytes: name.as_bytes(),
        json: name,
        csv: name,
        words: name,
    };
    let not_utf8 = |bytes, name| Name {
        bytes,
        ..as_it_is(name)
    };
    let names = [
        Name {
            words: r"a\nb\r\nc.png",
            ..as_it_is("a\nb\r\nc.png")
        },
        Name {
            words: r"a\rb.png",
            ..as_it_is("a\rb.png")
        },
        Name {
            csv: r"a\x1b[31m.png",
            words: r"a\x1b[31m.png",
            ..as_it_is("a\x1b[31m.png")
        },
        as_it_is("a \"b\".png"),
        as_it_is("a,b.png"),
        as_it_is("\u{e4}.png"),
        not_utf8(b"\xe4.png", r"\xe4.png"),
        not_utf8(b"\xe5.png", r"\xe5.png"),
    ];
    for Name { bytes, .. } in &names {
        fs::copy(&plain, pictures.join(OsStr::from_bytes(bytes))).unwrap();
    }
    fs::remove_file(&plain).unwrap();
    let folder = text(&pictures);
    let predict = ["predict", "--weights", &weights, &folder];
    let seen = json(&predict);
    let mut files: Vec<&str> = seen["predictions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            one["file"]
                .as_str()
                .unwrap()
                .strip_prefix(&*folder)
                .unwrap()
        })
        .collect();
    files.sort_unstable();
    let sorted = |which: fn(&Name) -> &'static str| {
        let mut all: Vec<String> = names
            .iter()
            .map(|name| format!("/{}", which(name)))
            .collect();
        all.sort_unstable();
        all
    };
    assert_eq!(files, sorted(|name| name.json));
    let csv = nas(&[&predict[..], &["--csv"]].concat());
    assert_eq!(csv.code, 0, "{csv:?}");
    let all = records(&csv.stdout);
    assert_eq!(
        all[0][..6],
        ["file", "class", "probability", "a,b", "a \"b\"", "a\nb"]
    );
    assert!(all.iter().all(|record| record.len() == 13), "{csv:?}");
    let mut files: Vec<&str> = all[1..]
        .iter()
        .map(|record| record[0].strip_prefix(&*folder).unwrap())
        .collect();
    files.sort_unstable();
    assert_eq!(files, sorted(|name| name.csv));
    let words = nas(&predict).stdout;
    assert_eq!(words.lines().count(), 1 + names.len(), "{words}");
    for name in sorted(|name| name.words) {
        assert!(words.contains(&name), "{name} in {words}");
    }
}

#[test]
fn what_is_no_picture_is_told_and_left_out() {
    let data = data_folder(100, 10);
    let place = tempfile::tempdir().unwrap();
    let weights = trained(data.path(), place.path());
    let pictures = place.path().join("pictures");
    write_pictures(data.path(), &pictures);
    fs::write(pictures.join("notes.txt"), "no picture").unwrap();
    // Whoever reads a pipe waits for whoever writes to it.
    let pipe = pictures.join("pipe.png");
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    std::os::unix::fs::symlink(".", pictures.join("self")).unwrap();
    let missing = text(&place.path().join("missing.png"));
    let pictures = text(&pictures);
    let ended = run(program().args([
        "predict",
        "--weights",
        &weights,
        &pictures,
        &missing,
        "--json",
    ]));
    let seen = object(&ended);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(seen["predictions"].as_array().unwrap().len(), 10);
    let skipped: Vec<&str> = seen["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["file"].as_str().unwrap())
        .collect();
    let names = skipped.iter().map(|file| file.rsplit('/').next().unwrap());
    let names: Vec<&str> = names.collect();
    assert_eq!(names, ["self", "notes.txt", "pipe.png", "missing.png"]);
    let ended = nas(&["predict", "--weights", &weights, &missing]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("missing.png"), "{ended:?}");
    let empty = text(&place.path().join("empty"));
    fs::create_dir(&empty).unwrap();
    let ended = nas(&["predict", "--weights", &weights, &empty]);
    assert_eq!(ended.code, 3, "{ended:?}");
    refused(
        &["predict", "--weights", &missing, &pictures],
        3,
        "weights",
        &["missing.png"],
    );
}
