//! Life intervals to offsets in one arena: buffers whose lives meet never overlap.

/// Alignment of every buffer, in bytes: a cache line, and a vector of 16 floats.
pub const ALIGNMENT: usize = 64;

/// What the planner must place.
#[derive(Clone, Copy, Debug)]
pub struct MemoryRequest {
    /// Size in bytes.
    pub bytes: usize,
    /// First and last step that touches it, both included.
    pub live: (usize, usize),
}

impl MemoryRequest {
    fn meets(&self, other: &MemoryRequest) -> bool {
        self.live.0 <= other.live.1 && other.live.0 <= self.live.1
    }
}

/// Places every request, largest first, at the lowest offset that is free throughout its life.
/// `guard` bytes after each buffer stay unused. Returns the offsets and the size of the arena.
pub fn place(requests: &[MemoryRequest], guard: usize) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(requests[i].bytes)); // stable: equal sizes in order
    let mut offsets = vec![0; requests.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(requests.len()); // by offset
    let mut total = 0;
    for i in order {
        let size = requests[i]
            .bytes
            .saturating_add(guard)
            .next_multiple_of(ALIGNMENT);
        let mut at = 0;
        for &j in placed.iter().filter(|&&j| requests[j].meets(&requests[i])) {
            if at + size <= offsets[j] {
                break;
            }
            let end = offsets[j] + (requests[j].bytes + guard).next_multiple_of(ALIGNMENT);
            at = at.max(end);
        }
        offsets[i] = at;
        total = total.max(at + size);
        let rank = placed.partition_point(|&j| offsets[j] <= at);
        placed.insert(rank, i);
    }
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_buffer_makes_room() {
        let r = |bytes, a, b| MemoryRequest {
            bytes,
            live: (a, b),
        };
        let (offsets, total) = place(&[r(128, 0, 1), r(128, 1, 2), r(128, 2, 3)], 0);
        assert_eq!(total, 256);
        assert_eq!(offsets[0], offsets[2]);
        assert_ne!(offsets[0], offsets[1]);
    }

    #[test]
    fn guards_separate_neighbours() {
        let r = MemoryRequest {
            bytes: 64,
            live: (0, 0),
        };
        assert_eq!(place(&[r, r], 64), (vec![0, 128], 256));
    }
}
