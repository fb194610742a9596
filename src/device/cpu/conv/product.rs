//! Register tiles: the two products that all of a convolution's time goes into.
//!
//! Both hold `N x NZ` vectors of sums in registers, N tiles (or input channels) times NZ vectors of
//! outputs, and need NZ loads and N broadcasts for N * NZ multiply-adds.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::reach::Tile;
use crate::device::cpu::simd::{Isa, Kernel, Simd};
use crate::shape::PLANE;

/// Rows (tiles or channels) and columns (vectors of outputs) of any register tile at most.
const MAX_ROWS: usize = 8;
const MAX_VECTORS: usize = 4;

/// Vectors of outputs that a register tile spans at most: one more than products of language models
/// have, for rows are plenty and 64 outputs common.
pub(super) const fn most_vectors(lanes: usize) -> usize {
    if lanes == 16 { MAX_VECTORS } else { 2 }
}

/// Rows that fill the registers beside `vectors` vectors of outputs.
fn rows(isa: Isa, vectors: usize) -> usize {
    let (rows, columns) = isa.register_tile();
    (rows * columns / vectors).min(MAX_ROWS)
}

/// Pieces that register tiles take: twice, how many of how many rows.
type Pieces = [(usize, usize); 2];

/// Cuts `n` into the fewest pieces of at most `most`, as equal as can be: how many of which length,
/// the longer ones first. Short pieces leave multipliers idle, so 8 is 4 + 4, not 6 + 2.
fn cut(n: usize, most: usize) -> Pieces {
    let pieces = n.div_ceil(most).max(1);
    let longer = n % pieces;
    [(longer, n / pieces + 1), (pieces - longer, n / pieces)]
}

/// An input plane of 8 channels as it lies in memory, how many of them are used, and floats from an
/// image to the next.
#[derive(Clone, Copy)]
pub(super) struct InputPlane {
    pub at: *const f32,
    pub channels: usize,
    pub image: usize,
}

/// For every tile, `out[tile][z] (+)= Σ input[plane][tile + part][channel] * weights[..][z]` over
/// planes, the parts that the tiles reach, and channels.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// Input planes; `skip` floats are added to each address.
    pub inputs: &'a [InputPlane],
    pub skip: usize,
    /// Rows and columns of parts; of how many columns, and parts, the weights are.
    pub parts: &'a [Range<usize>; 2],
    pub part_cols: usize,
    pub all_parts: usize,
    /// Floats of an input plane from a row of parts to the next.
    pub row_pitch: usize,
    /// The tiles, and the offset of each in `out`.
    pub tiles: &'a [Tile],
    pub out_tiles: &'a [u32],
    /// `[plane][part][channel][vectors * LANES]`
    pub weights: *const f32,
    /// The first vector of the first tile.
    pub out: *mut f32,
    pub vectors: usize,
    /// Floats from a plane of 8 outputs to the next.
    pub out_plane: usize,
    /// Planes of 8 outputs to write.
    pub out_planes: usize,
    /// Whether to add to `out`, or to set it.
    pub add: bool,
    /// Floats from a weight to that which is asked for ahead of time: of transforms that of the next
    /// point, as all weights together are larger than the second-level cache.
    pub ahead: usize,
}

impl Product<'_> {
    /// # Safety
    /// All addresses that the offsets make are readable, those of `out` writable, and the vector
    /// count is 1 to that of the instruction set's register tile.
    pub unsafe fn run(self, isa: Isa) {
        let mut first = 0;
        for (pieces, rows) in cut(self.tiles.len(), rows(isa, self.vectors)) {
            let range = first..first + pieces * rows;
            first = range.end;
            let piece = Product {
                tiles: &self.tiles[range.clone()],
                out_tiles: &self.out_tiles[range],
                ..self
            };
            if pieces > 0 && rows > 0 {
                // SAFETY: the caller's promise, for some of its tiles.
                unsafe { dispatch(isa, self.vectors, rows, piece) }
            }
        }
    }
}

/// For every entry (input channel of a part of a plane), `out[entry][z] (+)= Σ input[tile + entry]
/// * dm[tile][z]` over a box of tiles: images, rows, columns.
#[derive(Clone, Copy)]
pub(super) struct FilterProduct<'a> {
    /// The offset of an entry plus that of a tile, from here, is an input.
    pub input: *const f32,
    pub entries: &'a [u32],
    /// Images, rows and columns of tiles, and floats from one to the next in the input, and in `dm`.
    pub tiles: [usize; 3],
    pub input_pitch: [usize; 3],
    pub dm_pitch: [usize; 3],
    /// The first vector of the first tile; floats from a vector to the next.
    pub dm: *const f32,
    pub dm_vector: usize,
    pub vectors: usize,
    /// The first vector of the first entry; floats from an entry, from a vector, to the next.
    pub out: *mut f32,
    pub out_entry: usize,
    pub out_vector: usize,
    /// Whether to add to `out`, or to set it.
    pub add: bool,
}

impl FilterProduct<'_> {
    /// # Safety
    /// All addresses that the offsets make are readable, those of `out` writable, and the vector
    /// count is 1 to that of the instruction set's register tile.
    pub unsafe fn run(self, isa: Isa) {
        // The compiler brings the inputs of all rows into registers first: of 3 vectors, 8 rows would be
        // more than AVX-512 has.
        let most = rows(isa, self.vectors).min([8, 8, 8, 6, 4][self.vectors]);
        let mut first = 0;
        for (pieces, rows) in cut(self.entries.len(), most) {
            let range = first..first + pieces * rows;
            let piece = FilterProduct {
                entries: &self.entries[range.clone()],
                out: self.out.wrapping_add(first * self.out_entry),
                ..self
            };
            first = range.end;
            if pieces > 0 && rows > 0 {
                // SAFETY: the caller's promise, for some of its entries.
                unsafe { dispatch(isa, self.vectors, rows, piece) }
            }
        }
    }
}

/// Arguments whose kernel is compiled for every shape of register tile.
trait RegisterTile: Copy {
    unsafe fn tile<S: Simd, const NZ: usize, const N: usize>(self);
}

/// The shape of a register tile as types.
struct Shaped<T, const NZ: usize, const N: usize>(T);

impl<T: RegisterTile, const NZ: usize, const N: usize> Kernel for Shaped<T, NZ, N> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // Shapes that the instruction set does not use are not compiled.
        let (rows, columns) = S::REGISTER_TILE;
        if NZ <= most_vectors(S::LANES) && NZ * N <= rows * columns {
            // SAFETY: the caller's promise.
            unsafe { self.0.tile::<S, NZ, N>() }
        } else {
            unreachable!("register tiles fit the registers")
        }
    }
}

/// Enters the kernel for `vectors` x `rows`.
unsafe fn dispatch<T: RegisterTile>(isa: Isa, vectors: usize, rows: usize, args: T) {
    macro_rules! shapes {
        ($nz:literal: $($n:literal)*) => {
            match rows {
                // SAFETY: the caller's promise.
                $($n => unsafe { isa.run(Shaped::<T, $nz, $n>(args)) },)*
                _ => unreachable!("at most {MAX_ROWS} rows"),
            }
        };
    }
    match vectors {
        1 => shapes!(1: 1 2 3 4 5 6 7 8),
        2 => shapes!(2: 1 2 3 4 5 6 7 8),
        3 => shapes!(3: 1 2 3 4 5 6 7 8),
        4 => shapes!(4: 1 2 3 4 5 6 7 8),
        _ => unreachable!("at most {MAX_VECTORS} vectors"),
    }
}

impl RegisterTile for Product<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd, const NZ: usize, const N: usize>(self) {
        let (tiles, _) = self.tiles.as_chunks::<N>();
        let (out_tiles, _) = self.out_tiles.as_chunks::<N>();
        let [rows, cols] = self.parts;
        for (tiles, out_tile) in tiles.iter().zip(out_tiles) {
            // SAFETY: the caller promises the instructions and every address that offsets make.
            unsafe {
                let mut sums = [[S::splat(0.0); NZ]; N];
                let mut plane = self.weights;
                // Where the tiles lie from a plane's first position does not change within a source:
                // one address moves, not one of each tile.
                for inputs in self.inputs.chunk_by(|a, b| a.image == b.image) {
                    let image = inputs[0].image;
                    let x = tiles.map(|tile| tile.image as usize * image + tile.at as usize);
                    for input in inputs {
                        let part = input.channels * NZ * S::LANES;
                        let mut from = input.at.wrapping_add(self.skip);
                        for row in rows.clone() {
                            let at = (row * self.part_cols + cols.start) * part;
                            let mut weights = plane.wrapping_add(at);
                            let mut pixel = from;
                            for _ in cols.clone() {
                                for channel in 0..input.channels {
                                    let channel = pixel.wrapping_add(channel);
                                    let x = x.map(|x| channel.wrapping_add(x));
                                    multiply_add(&mut sums, x, weights, S::LANES);
                                    S::prefetch(weights.wrapping_add(self.ahead));
                                    weights = weights.add(NZ * S::LANES);
                                }
                                pixel = pixel.wrapping_add(PLANE);
                            }
                            from = from.wrapping_add(self.row_pitch);
                        }
                        plane = plane.wrapping_add(self.all_parts * part);
                    }
                }
                let sums = leave_registers(&sums);
                for (sums, &offset) in sums.assume_init_ref().iter().zip(out_tile) {
                    for (z, &sum) in sums.iter().enumerate() {
                        self.write(sum, offset as usize, z * S::HALVES);
                    }
                }
            }
        }
    }
}

impl Product<'_> {
    /// Writes a vector of sums to the output planes from `plane`.
    #[inline(always)]
    unsafe fn write<S: Simd>(&self, mut sum: S, offset: usize, plane: usize) {
        let halves = (self.out_planes - plane).min(S::HALVES);
        // SAFETY: the caller promises the planes that exist; a half that does not exist is read
        // from the one before it and not written.
        unsafe {
            let out = self.out.add(offset + plane * self.out_plane);
            if self.add {
                sum = sum + S::load_halves(out, out.add((halves - 1) * self.out_plane));
            }
            sum.store_halves(out, self.out_plane, halves);
        }
    }
}

impl RegisterTile for FilterProduct<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd, const NZ: usize, const N: usize>(self) {
        let mut out = self.out;
        let (entries, _) = self.entries.as_chunks::<N>();
        let [images, rows, cols] = self.tiles;
        for entry in entries {
            // SAFETY: the caller promises the instructions and every address that offsets make.
            unsafe {
                let inputs = entry.map(|offset| self.input.wrapping_add(offset as usize));
                let mut sums = [[S::splat(0.0); NZ]; N];
                if self.add {
                    for n in 0..N {
                        for z in 0..NZ {
                            S::prefetch(out.wrapping_add(n * self.out_entry + z * self.out_vector));
                        }
                    }
                }
                for image in 0..images {
                    for row in 0..rows {
                        let at = |pitch: [usize; 3]| image * pitch[0] + row * pitch[1];
                        let mut x = at(self.input_pitch);
                        let mut dm = self.dm.wrapping_add(at(self.dm_pitch));
                        for _ in 0..cols {
                            let x_tile = inputs.map(|input| input.add(x));
                            multiply_add(&mut sums, x_tile, dm, self.dm_vector);
                            x += self.input_pitch[2];
                            dm = dm.wrapping_add(self.dm_pitch[2]);
                        }
                    }
                }
                let sums = leave_registers(&sums);
                for sums in sums.assume_init_ref() {
                    for (z, sum) in sums.iter().enumerate() {
                        let out = out.add(z * self.out_vector);
                        let sum = if self.add { *sum + S::load(out) } else { *sum };
                        sum.store(out);
                    }
                    out = out.wrapping_add(self.out_entry);
                }
            }
        }
    }
}

/// `sums[n][z] += x[n] * y[z]`, the vectors of y `pitch` floats apart.
///
/// # Safety
/// The floats and NZ vectors are readable.
#[inline(always)]
unsafe fn multiply_add<S: Simd, const NZ: usize, const N: usize>(
    sums: &mut [[S; NZ]; N],
    x: [*const f32; N],
    y: *const f32,
    pitch: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut columns = [S::splat(0.0); NZ];
        for (z, column) in columns.iter_mut().enumerate() {
            *column = S::load(y.add(z * pitch));
        }
        for (sums, x) in sums.iter_mut().zip(x) {
            let x = S::splat(*x);
            for (sum, &column) in sums.iter_mut().zip(&columns) {
                *sum = x.mul_add(column, *sum);
            }
        }
    }
}

/// Copies sums to memory, for loops that the compiler does not unroll: were they to index the sums
/// themselves, every step of the product would store all of them.
#[inline(always)]
fn leave_registers<S: Simd, const NZ: usize, const N: usize>(
    sums: &[[S; NZ]; N],
) -> MaybeUninit<[[S; NZ]; N]> {
    let mut room = MaybeUninit::<[[S; NZ]; N]>::uninit();
    let at = room.as_mut_ptr().cast::<S>();
    for (n, sums) in sums.iter().enumerate() {
        for (z, &sum) in sums.iter().enumerate() {
            // SAFETY: the room has N * NZ vectors; all of them are written.
            unsafe { at.add(n * NZ + z).write(sum) }
        }
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_few_and_nearly_equal() {
        for most in 1..=8 {
            for n in 0..40 {
                let [(a, longer), (b, shorter)] = cut(n, most);
                assert_eq!(a * longer + b * shorter, n);
                assert!(
                    shorter <= most && (a == 0 || longer <= most),
                    "{n} by {most}"
                );
                assert_eq!(a + b, n.div_ceil(most).max(1), "{n} by {most}");
            }
        }
    }
}
