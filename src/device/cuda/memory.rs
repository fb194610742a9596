//! Memory of a device that was given back, for whoever asks next: an allocation of the driver waits
//! for all that the device is at, and children come and go.

/// Blocks that nobody uses.
#[derive(Debug, Default)]
pub struct Spare {
    blocks: Vec<Block>,
}

/// A piece of device memory as the driver gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins.
    pub address: u64,
    /// Its size.
    pub bytes: usize,
}

impl Spare {
    /// The smallest block with room for `bytes`, unless most of it would lie idle.
    pub fn take(&mut self, bytes: usize) -> Option<Block> {
        let fits = |block: &Block| bytes <= block.bytes && block.bytes / 2 <= size_class(bytes);
        let fitting = self.blocks.iter().enumerate().filter(|(_, b)| fits(b));
        let (i, _) = fitting.min_by_key(|(_, block)| block.bytes)?;
        Some(self.blocks.swap_remove(i))
    }

    /// Keeps a block that nothing uses any more.
    pub fn give(&mut self, block: Block) {
        self.blocks.push(block);
    }

    /// Every block, to be given back to the driver.
    pub fn drain(&mut self) -> Vec<Block> {
        std::mem::take(&mut self.blocks)
    }

    /// Bytes of all blocks.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.bytes).sum()
    }
}

/// What to ask the driver for, so that the next child's block of about this size is this one:
/// at most an eighth or 256 bytes more.
pub fn size_class(bytes: usize) -> usize {
    let step = (bytes.max(256).next_power_of_two() / 16).max(256);
    bytes.max(1).next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_what_was_asked_for_and_an_eighth_more_at_most() {
        for bytes in (0..5000).chain([1 << 20, (1 << 30) + 1, 3 << 30]) {
            let class = size_class(bytes);
            assert!(
                bytes <= class && class.is_multiple_of(256),
                "{bytes}: {class}"
            );
            assert!(class <= 256 + bytes + bytes / 8, "{bytes}: {class}");
            assert_eq!(size_class(class), class, "{bytes}");
        }
    }

    #[test]
    fn the_smallest_block_that_fits_is_taken_and_none_that_is_mostly_idle() {
        let mut spare = Spare::default();
        let block = |address, bytes| Block { address, bytes };
        for given in [block(1, 4096), block(2, 1024), block(3, 1 << 30)] {
            spare.give(given);
        }
        assert_eq!(spare.take(900), Some(block(2, 1024)));
        assert_eq!(spare.take(900), None, "4096 bytes are too many for it");
        assert_eq!(spare.take(4000), Some(block(1, 4096)));
        assert_eq!(spare.take(4000), None);
        assert_eq!(spare.bytes(), 1 << 30);
        assert_eq!(spare.drain(), [block(3, 1 << 30)]);
        assert_eq!(spare.take(1 << 30), None);
    }
}
