//! Sizes as Incus writes them (<https://linuxcontainers.org/incus/docs/main/reference/instance_units/>).

/// How many bytes a size is: `2GiB`, `500MB`, `1024`; `None` for what is not a size (`50%`).
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Whether two settings say the same, `2GiB` and `2048MiB` included.
pub(super) fn same(one: &str, other: &str) -> bool {
    one == other || bytes(one).is_some_and(|size| bytes(other) == Some(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_compared_as_bytes() {
        assert_eq!(bytes("2GiB"), Some(2 << 30));
        assert_eq!(bytes("1kB"), Some(1_000));
        assert_eq!(bytes("512"), Some(512));
        for bad in ["", "GiB", "50%", "2 gib", "99999999999TiB", "1.5GiB", "-1"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        assert!(same("2GiB", "2048MiB") && same("50%", "50%"));
        assert!(!same("2GiB", "2GB") && !same("50%", "51%"));
    }
}
