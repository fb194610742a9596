//! Register tiles: the two products that all of a convolution's time goes into.
//!
//! Both hold `N x NZ` vectors of sums in registers, N tiles (or input channels) times NZ vectors of
//! outputs, and need NZ loads and N broadcasts for N * NZ multiply-adds.

use std::mem::MaybeUninit;

use crate::device::cpu::simd::{Isa, Kernel, Simd};

/// Rows (tiles or channels) and columns (vectors of outputs) of any register tile at most.
const MAX_ROWS: usize = 8;
const MAX_VECTORS: usize = 3;

/// Rows that fill the registers beside `vectors` vectors of outputs.
fn rows(isa: Isa, vectors: usize) -> usize {
    let (rows, columns) = isa.register_tile();
    (rows * columns / vectors).min(MAX_ROWS)
}

/// Pieces that register tiles take: twice, how many of how many rows.
pub(super) type Pieces = [(usize, usize); 2];

/// For each number of vectors, how `n` tiles are cut into register tiles.
pub(super) fn tile_pieces(isa: Isa, n: usize) -> [Pieces; MAX_VECTORS + 1] {
    std::array::from_fn(|vectors| cut(n, rows(isa, vectors.max(1))))
}

/// For each number of vectors, how `n` entries are cut into register tiles. The compiler brings the
/// inputs of all rows into registers first: of 3 vectors, 8 rows would be more than AVX-512 has.
pub(super) fn entry_pieces(isa: Isa, n: usize) -> [Pieces; MAX_VECTORS + 1] {
    std::array::from_fn(|vectors| {
        let most = rows(isa, vectors.max(1));
        cut(n, if vectors == 3 { most.min(6) } else { most })
    })
}

/// Cuts `n` into the fewest pieces of at most `most`, as equal as can be: how many of which length,
/// the longer ones first. Short pieces leave multipliers idle, so 8 is 4 + 4, not 6 + 2.
fn cut(n: usize, most: usize) -> Pieces {
    let pieces = n.div_ceil(most).max(1);
    let longer = n % pieces;
    [(longer, n / pieces + 1), (pieces - longer, n / pieces)]
}

/// An input plane of 8 channels as it lies in memory, and how many of them are used.
#[derive(Clone, Copy)]
pub(super) struct InputPlane {
    pub at: *const f32,
    pub channels: usize,
}

/// For every tile, `out[tile][z] (+)= Σ input[plane][tile + part][channel] * weights[..][z]` over
/// planes, parts and channels.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// Input planes; `skip` floats are added to each address.
    pub inputs: &'a [InputPlane],
    pub skip: usize,
    /// Offset of each part.
    pub parts: &'a [u32],
    /// Offset of each tile in an input plane, and in `out`, and how they are cut.
    pub tiles: &'a [u32],
    pub out_tiles: &'a [u32],
    pub pieces: Pieces,
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
    /// Floats from a weight to that of the next point, which is asked for ahead of time: all
    /// weights together are larger than the second-level cache.
    pub next_weights: usize,
}

impl Product<'_> {
    /// # Safety
    /// All addresses that the offsets make are readable, those of `out` writable, and the vector
    /// count is 1 to that of the instruction set's register tile.
    pub unsafe fn run(self, isa: Isa) {
        let mut first = 0;
        for (pieces, rows) in self.pieces {
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
/// * dm[tile][z]` over the tiles.
#[derive(Clone, Copy)]
pub(super) struct FilterProduct<'a> {
    /// The offset of an entry plus that of a tile, from here, is an input.
    pub input: *const f32,
    pub entries: &'a [u32],
    /// How the entries are cut.
    pub pieces: Pieces,
    pub tiles: &'a [u32],
    /// The first vector of the first tile; floats from a tile, from a vector, to the next.
    pub dm: *const f32,
    pub tile_pitch: usize,
    pub vector_pitch: usize,
    pub vectors: usize,
    /// `[entry][vectors * LANES]`
    pub out: *mut f32,
    /// Whether to add to `out`, or to set it.
    pub add: bool,
}

impl FilterProduct<'_> {
    /// # Safety
    /// All addresses that the offsets make are readable, those of `out` writable, and the vector
    /// count is 1 to that of the instruction set's register tile.
    pub unsafe fn run(self, isa: Isa) {
        let mut first = 0;
        for (pieces, rows) in self.pieces {
            let range = first..first + pieces * rows;
            let piece = FilterProduct {
                entries: &self.entries[range.clone()],
                out: self.out.wrapping_add(first * self.vectors * isa.lanes()),
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
        if NZ <= columns && NZ * N <= rows * columns {
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
        _ => unreachable!("at most {MAX_VECTORS} vectors"),
    }
}

impl RegisterTile for Product<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd, const NZ: usize, const N: usize>(self) {
        let (tiles, _) = self.tiles.as_chunks::<N>();
        let (out_tiles, _) = self.out_tiles.as_chunks::<N>();
        for (tile, out_tile) in tiles.iter().zip(out_tiles) {
            let tile = tile.map(|offset| offset as usize);
            // SAFETY: the caller promises the instructions and every address that offsets make.
            unsafe {
                let mut sums = [[S::splat(0.0); NZ]; N];
                let mut weights = self.weights;
                for input in self.inputs {
                    for &part in self.parts {
                        let x = input.at.add(self.skip + part as usize);
                        for channel in 0..input.channels {
                            let x = tile.map(|offset| x.add(offset + channel));
                            multiply_add(&mut sums, x, weights, S::LANES);
                            S::prefetch(weights.wrapping_add(self.next_weights));
                            weights = weights.add(NZ * S::LANES);
                        }
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
        for entry in entries {
            // SAFETY: the caller promises the instructions and every address that offsets make.
            unsafe {
                let inputs = entry.map(|offset| self.input.add(offset as usize));
                let mut sums = [[S::splat(0.0); NZ]; N];
                let mut dm = self.dm;
                if self.add {
                    for i in 0..NZ * N {
                        S::prefetch(out.wrapping_add(i * S::LANES));
                    }
                }
                for &tile in self.tiles {
                    let x = inputs.map(|input| input.add(tile as usize));
                    multiply_add(&mut sums, x, dm, self.vector_pitch);
                    dm = dm.add(self.tile_pitch);
                }
                let sums = leave_registers(&sums);
                for sum in sums.assume_init_ref().iter().flatten() {
                    let sum = if self.add { *sum + S::load(out) } else { *sum };
                    sum.store(out);
                    out = out.add(S::LANES);
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
