//! Bad inputs made of good ones.

use nas_engine::rng::Rng;

/// What readers stumble over, in texts and in binary files.
const SPIKES: [&[u8]; 20] = [
    b"99999999999999999999999",
    b"-1",
    b"1e999",
    b"1e-999",
    b"nan",
    b"null",
    b"true",
    b"\"\"",
    b"[]",
    b"{}",
    b"\\u0000",
    b"\xef\xbb\xbf",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\r\n",
    b"\n\n",
    b"=",
    b"#",
    b"\xc3\xa4\xcc\x88",
];

/// One of the good inputs with one to four changes, rarely none.
pub fn mutate(good: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = good[below(rng, good.len())].clone();
    for _ in 0..1 + rng.below(4) {
        change(&mut input, good, rng);
    }
    input
}

fn below(rng: &mut Rng, n: usize) -> usize {
    rng.below(n.max(1) as u32) as usize
}

/// A stretch of the input, mostly short.
fn stretch(length: usize, rng: &mut Rng) -> std::ops::Range<usize> {
    let from = below(rng, length + 1);
    let longest = match rng.below(4) {
        0 => length,
        _ => 16,
    };
    from..(from + below(rng, longest + 1)).min(length)
}

fn change(input: &mut Vec<u8>, good: &[Vec<u8>], rng: &mut Rng) {
    let length = input.len();
    let at = below(rng, length);
    match rng.below(10) {
        0 if length > 0 => input[at] ^= 1 << rng.below(8),
        1 if length > 0 => input[at] = rng.u32() as u8,
        2 => drop(input.drain(stretch(length, rng))),
        3 => {
            let again = input[stretch(length, rng)].to_vec();
            input.splice(at..at, again);
        }
        4 => input.truncate(at),
        5 => {
            let other = &good[below(rng, good.len())];
            let piece = other[stretch(other.len(), rng)].to_vec();
            input.splice(stretch(length, rng), piece);
        }
        6 => {
            let random: Vec<u8> = (0..rng.below(32)).map(|_| rng.u32() as u8).collect();
            input.splice(at..at, random);
        }
        // Depth, which a reader that calls itself pays for with its stack.
        7 if rng.below(20) == 0 => {
            let deep = [&b"["[..], b"{\"a\":", b"(", b"[["][below(rng, 4)].repeat(3_000);
            input.splice(at..at, deep);
        }
        // A number in the place of a number.
        7 | 8 => {
            let digits: Vec<usize> = (0..length)
                .filter(|&at| input[at].is_ascii_digit())
                .collect();
            if !digits.is_empty() {
                let digit = digits[below(rng, digits.len())];
                input.splice(digit..=digit, SPIKES[below(rng, 4)].iter().copied());
            }
        }
        _ => {
            let spike = SPIKES[below(rng, SPIKES.len())];
            input.splice(at..at, spike.iter().copied());
        }
    }
}
