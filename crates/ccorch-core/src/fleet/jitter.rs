//! Jitter without a source of randomness: a hash of who asks and how often, so that loops do not move in step and a
//! recorded run can be played again.

/// A number below `span` (0 when that is 0) that depends on all that is given.
pub fn below(span: u64, seed: u64, who: &str, nth: u64) -> u64 {
    // FNV-1a and the finisher of SplitMix64: spread matters, secrecy does not.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
    for byte in who.bytes().chain(nth.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    if span == 0 { 0 } else { hash % span }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_repeats_and_it_spreads() {
        assert_eq!(below(0, 1, "a", 2), 0);
        let all: Vec<u64> = (0..1000).map(|n| below(100, 7, "builder", n)).collect();
        assert_eq!(all, (0..1000).map(|n| below(100, 7, "builder", n)).collect::<Vec<_>>());
        let low = all.iter().filter(|n| **n < 50).count();
        assert!((400..600).contains(&low), "{low}");
    }
}
