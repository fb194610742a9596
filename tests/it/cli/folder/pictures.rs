//! What becomes of the pictures of a folder, and how they are shown.

use super::*;

/// Sizes decide how a picture is fitted, unless it is said.
#[test]
fn pictures_are_fitted() {
    let folder = three_classes();
    let fruit = folder.path().join("fruit");
    let fit = |out: &str| {
        let text = fs::read_to_string(folder.path().join(out).join("dataset.toml")).unwrap();
        text.parse::<toml::Table>().unwrap()["fit"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    file(
        &fruit.join("apple"),
        "small.ppm",
        picture(20, 31, [200, 0, 0]),
    );
    imported(folder.path(), "small", &[]);
    assert_eq!(fit("small"), "pad");
    file(
        &fruit.join("apple"),
        "large.ppm",
        picture(33, 31, [201, 0, 0]),
    );
    imported(folder.path(), "both", &[]);
    assert_eq!(fit("both"), "pad, resize");
    imported(folder.path(), "crop", &["--fit", "crop"]);
    assert_eq!(fit("crop"), "crop");
    let ended = import(folder.path(), "pad", &["--fit", "pad"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("large.ppm: is 33 x 31, and --fit pad takes"),
        "{ended:?}"
    );
}

/// What Pillow does with a tag and with 16 bits is said once, with the number of pictures.
#[test]
fn surprises_are_told() {
    let folder = three_classes();
    let pear = folder.path().join("fruit/pear");
    // Deep grey, and a TIFF of one pixel that is turned by its tag.
    file(&pear, "deep.pgm", b"P5 1 1 65535\n\x80\x01");
    let entry = |tag: u16, kind: u16, value: u32| {
        let [tag, kind] = [tag, kind].map(u16::to_le_bytes);
        [&tag[..], &kind, &1u32.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    let entries = [
        entry(256, 3, 1),
        entry(257, 3, 1),
        entry(258, 3, 8),
        entry(259, 3, 1),
        entry(262, 3, 1),
        entry(273, 4, 8),
        entry(274, 3, 6),
        entry(277, 3, 1),
        entry(279, 4, 1),
    ];
    let mut tiff = b"II*\0\x0c\0\0\0\xff\0\0\0\x09\0".to_vec();
    tiff.extend(entries.concat());
    tiff.extend([0; 4]);
    file(&pear, "turned.tif", &tiff);
    // Beside the class folders: a TIFF, and a text that begins as pictures do.
    file(&folder.path().join("fruit"), "stray", &tiff);
    file(
        &folder.path().join("fruit"),
        "notes",
        "P1 is a kind of pear",
    );
    let ended = import(folder.path(), "out", &[]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for words in [
        "1 picture grey with 16 bits",
        "1 picture turned by the orientation tag (TIFF",
        "1 picture lies beside the class folders",
        "fruit/stray: of no class, and left out",
    ] {
        assert!(ended.stderr.contains(words), "{words} {ended:?}");
    }
}

/// A PNG with a row of every class; `--augmented` shows other pixels.
#[test]
fn a_contact_sheet_is_drawn() {
    let folder = data_folder(200, 20);
    let path = text(folder.path());
    let sheets =
        [("plain.png", &[][..]), ("augmented.png", &["--augmented"])].map(|(name, more)| {
            let sheet = text(&folder.path().join(name));
            let shown = json(&[&["data", "show", &path, "--sheet", &sheet][..], more].concat());
            assert_eq!(shown["sheet"], sheet);
            let bytes = fs::read(sheet).unwrap();
            // Width and height of a PNG.
            let [width, height] =
                [16, 20].map(|at| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()));
            assert!(
                width > 1000 && height > 10 * 64 && height < 10 * 100,
                "{width} x {height}"
            );
            bytes
        });
    assert!(sheets[0].starts_with(b"\x89PNG") && sheets[0] != sheets[1]);
    let cannot = text(&folder.path().join("absent/sheet.png"));
    for (arguments, words) in [
        (&["data", "show", &*path, "--augmented"][..], "--sheet"),
        (
            &["data", "show", &path, "--sheet", &cannot],
            "cannot write --sheet",
        ),
        (&["data", "show", &path, "--sheet", &path], "is a folder"),
        (&["data", "verify", &path, "--sheet", "a.png"], "--sheet"),
        (
            &["data", "show", "--space", "cell", "--sheet", "a.png"],
            "goes with images",
        ),
    ] {
        let mut command = program();
        command.env("NAS_ENGINE_CACHE_DIR", folder.path().join("cache"));
        let ended = run(command.args(arguments).current_dir(folder.path()));
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(words), "{words} {ended:?}");
    }
}
