//! Draws, and views against the formula written out.

use nas_engine::data::{Augment, Draw, VIEW_LEN, view};
use nas_engine::rng::{Purpose, Rng};

// paper P6.3, P6.4
#[test]
fn draws_are_uniform_and_of_their_address() {
    let n = 81_000;
    let (mut cells, mut flips) = ([0u32; 81], 0);
    for record in 0..n {
        let draw = Draw::new(5, 2, record);
        cells[usize::from(draw.dy) * 9 + usize::from(draw.dx)] += 1;
        flips += u32::from(draw.flip);
    }
    // Deviations: sqrt(81000 · 1/81 · 80/81) = 31, sqrt(81000 / 4) = 142; five of them.
    assert!(
        cells.iter().all(|&count| count.abs_diff(1_000) < 158),
        "{cells:?}"
    );
    assert!(flips.abs_diff(n / 2) < 712, "{flips} of {n} flipped");

    let distinct = |draws: Vec<Draw>| {
        let first = draws[0];
        draws.iter().filter(|&&draw| draw != first).count()
    };
    assert!(distinct((0..20).map(|epoch| Draw::new(5, epoch, 9)).collect()) > 10);
    assert!(distinct((0..20).map(|seed| Draw::new(seed, 2, 9)).collect()) > 10);
    assert_eq!(Draw::new(5, 2, 9), Draw::new(5, 2, 9));
}

/// The views in f64, step by step and without a shortcut.
mod formula {
    use super::{Augment, Draw};

    type Image = Vec<Vec<Vec<f64>>>;

    pub fn view(image: &[u8], augment: Augment, draw: Option<Draw>) -> Vec<f64> {
        let image = whitened(image);
        let view = match (augment, draw) {
            (Augment::UpsampleCrop, Some(draw)) => cropped(&upsampled(&image), draw),
            (Augment::PadCrop, Some(draw)) => cropped(&padded(&image), draw),
            (Augment::PadCrop, None) => image,
            (Augment::UpsampleCrop | Augment::None, _) => cropped(
                &upsampled(&image),
                Draw {
                    dy: 4,
                    dx: 4,
                    flip: false,
                },
            ),
        };
        view.concat().concat()
    }

    fn whitened(image: &[u8]) -> Image {
        let x: Vec<f64> = image.iter().map(|&byte| f64::from(byte) / 255.0).collect();
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let deviation = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let divisor = deviation.max(1.0 / n.sqrt());
        let rows: Vec<Vec<f64>> = x
            .chunks(32)
            .map(|row| row.iter().map(|x| (x - mean) / divisor).collect())
            .collect();
        rows.chunks(32).map(<[_]>::to_vec).collect()
    }

    fn upsampled(image: &Image) -> Image {
        // The four neighbours of a point, the image repeated beyond its edge.
        let at = |plane: &Vec<Vec<f64>>, y: f64, x: f64| {
            let pixel =
                |y: f64, x: f64| plane[y.clamp(0.0, 31.0) as usize][x.clamp(0.0, 31.0) as usize];
            let (top, left) = (y.floor(), x.floor());
            let (down, right) = (y - top, x - left);
            (1.0 - down) * (1.0 - right) * pixel(top, left)
                + (1.0 - down) * right * pixel(top, left + 1.0)
                + down * (1.0 - right) * pixel(top + 1.0, left)
                + down * right * pixel(top + 1.0, left + 1.0)
        };
        let source = |i: usize| (i as f64 + 0.5) * 32.0 / 40.0 - 0.5;
        let resize = |plane: &Vec<Vec<f64>>| {
            let row = |y| (0..40).map(|x| at(plane, source(y), source(x))).collect();
            (0..40).map(row).collect()
        };
        image.iter().map(resize).collect()
    }

    fn padded(image: &Image) -> Image {
        let pad = |plane: &Vec<Vec<f64>>| {
            let mut wide = vec![vec![0.0; 40]; 40];
            for (y, row) in plane.iter().enumerate() {
                wide[y + 4][4..36].copy_from_slice(row);
            }
            wide
        };
        image.iter().map(pad).collect()
    }

    fn cropped(image: &Image, draw: Draw) -> Image {
        let crop = |plane: &Vec<Vec<f64>>| {
            let row = |y: usize| {
                let mut row =
                    plane[y + usize::from(draw.dy)][usize::from(draw.dx)..][..32].to_vec();
                if draw.flip {
                    row.reverse();
                }
                row
            };
            (0..32).map(row).collect()
        };
        image.iter().map(crop).collect()
    }
}

/// Noise, noise of little contrast (deviation below the floor), one bright pixel, black.
fn images() -> Vec<[u8; 3072]> {
    let mut rng = Rng::new(11, Purpose::Test, 0);
    let noise = std::array::from_fn(|_| rng.below(256) as u8);
    let faint = std::array::from_fn(|_| 250 + rng.below(3) as u8);
    let mut pixel = [0; 3072];
    pixel[2 * 1024 + 31 * 32 + 31] = 255;
    vec![noise, faint, pixel, [0; 3072]]
}

// paper P6.2, P6.3
#[test]
fn views_follow_the_formula() {
    let draws = (0..9).flat_map(|dy| (0..9).map(move |dx| (dy, dx)));
    let draws: Vec<Option<Draw>> = draws
        .flat_map(|(dy, dx)| [false, true].map(|flip| Some(Draw { dy, dx, flip })))
        .chain([None])
        .collect();
    let mut out = [0f32; VIEW_LEN];
    for (image_idx, image) in images().iter().enumerate() {
        for augment in Augment::ALL {
            for &draw in &draws {
                out.fill(f32::NAN);
                view(image, augment, draw, &mut out);
                let expected = formula::view(image, augment, draw);
                for (i, (&x, &y)) in out.iter().zip(&expected).enumerate() {
                    // Three roundings of 2^-24 each; and those of the formula in f64.
                    let close = (f64::from(x) - y).abs() <= 3.1 * 2f64.powi(-24) * y.abs() + 1e-12;
                    assert!(
                        close,
                        "image {image_idx} {augment} {draw:?} at {i}: {x}, formula {y}"
                    );
                }
            }
        }
    }
}

#[test]
fn views_of_two_halves_are_known() {
    // Black left half, white right half: mean 1/2, deviation 1/2, so whitened to -1 and 1.
    let image: [u8; 3072] = std::array::from_fn(|i| if i % 32 < 16 { 0 } else { 255 });
    let row = |augment, draw| {
        let mut out = [0f32; VIEW_LEN];
        view(&image, augment, draw, &mut out);
        let (rows, []) = out.as_chunks::<32>() else {
            unreachable!("3 x 32 rows of 32")
        };
        (rows[0], rows[50])
    };
    let halves: [f32; 32] = std::array::from_fn(|x| if x < 16 { -1.0 } else { 1.0 });
    assert_eq!(row(Augment::PadCrop, None), (halves, halves));

    // Columns 19 and 20 of the 40 lie at 15.1 and 15.9 of the 32.
    let mut resized = halves;
    (resized[15], resized[16]) = (-0.8, 0.8);
    assert_eq!(row(Augment::UpsampleCrop, None), (resized, resized));
    assert_eq!(
        row(
            Augment::None,
            Some(Draw {
                dy: 8,
                dx: 0,
                flip: true
            })
        ),
        (resized, resized)
    );

    // Nothing above row 0, four zeros left of column 0; flipped, they are on the right.
    let mut shifted: [f32; 32] = std::array::from_fn(|x| if x < 20 { -1.0 } else { 1.0 });
    shifted[..4].fill(0.0);
    let draw = |flip| Some(Draw { dy: 0, dx: 0, flip });
    assert_eq!(row(Augment::PadCrop, draw(false)), ([0.0; 32], shifted));
    shifted.reverse();
    assert_eq!(row(Augment::PadCrop, draw(true)), ([0.0; 32], shifted));
}

#[test]
fn augmentations_have_one_name_everywhere() {
    for augment in Augment::ALL {
        let name = augment.to_string();
        assert_eq!(name.parse::<Augment>().unwrap(), augment);
        assert_eq!(
            serde_json::to_string(&augment).unwrap(),
            format!("\"{name}\"")
        );
    }
    let message = "crop".parse::<Augment>().unwrap_err().to_string();
    assert!(
        message.contains("`crop`") && message.contains("upsample-crop"),
        "{message}"
    );
}
