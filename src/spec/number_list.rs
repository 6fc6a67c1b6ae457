//! Lists of numbers as the kernel writes them: `0-3,7`.

/// The highest number that is taken: no kernel has more processors or memory nodes than this.
const HIGHEST: usize = 8191;

/// The numbers of a list as bits, the first 64 in the first word. Empty for an empty list.
pub fn parse(text: &str) -> Result<Vec<u64>, String> {
    let mut words = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| text.parse::<usize>().ok()).flatten().filter(|n| *n <= HIGHEST)
        };
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(format!("`{part}` is not a number or a range of numbers up to {HIGHEST}"));
        };
        if first > last {
            return Err(format!("range `{part}` goes down"));
        }
        if words.len() <= last / 64 {
            words.resize(last / 64 + 1, 0);
        }
        (first..=last).for_each(|n| words[n / 64] |= 1 << (n % 64));
    }
    Ok(words)
}

/// The numbers that are in `bits`, upwards.
pub fn numbers(bits: &[u64]) -> impl Iterator<Item = usize> {
    (0..bits.len() * 64).filter(|n| bits[n / 64] >> (n % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_bits() {
        assert_eq!(parse("0-3,7"), Ok(vec![0b1000_1111]));
        assert_eq!(parse(" 1, 64 "), Ok(vec![0b10, 1]));
        assert_eq!(parse("63-64"), Ok(vec![1 << 63, 1]));
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(numbers(&parse("64,0-2").unwrap()).collect::<Vec<_>>(), [0, 1, 2, 64]);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for bad in ["a", "1-", "-1", "3-1", "1-2-3", "+1", "8192", "99999999999999999999"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
