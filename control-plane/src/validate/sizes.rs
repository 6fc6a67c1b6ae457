//! CPU and memory of a task, which ECS takes as text: `256` or `0.25 vCPU`, `512` or `0.5 GB`.

/// A task's `cpu` in units (1024 = one vCPU).
pub(crate) fn parse_cpu(text: &str) -> Option<i64> {
    parse(text, &["vcpu"], 1024.0)
}

/// A task's `memory` in MiB.
pub(crate) fn parse_memory(text: &str) -> Option<i64> {
    parse(text, &["gb"], 1024.0)
}

/// A whole number, or a decimal with one of `units` behind it that stands for `factor`.
fn parse(text: &str, units: &[&str], factor: f64) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    for unit in units {
        if let Some(number) = text.strip_suffix(unit) {
            let number = number.trim();
            // f64 also reads `inf`, `nan` and exponents, which are no sizes.
            if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
                return None;
            }
            let scaled = number.parse::<f64>().ok()? * factor;
            return (scaled < 1e12 && scaled.fract() == 0.0).then_some(scaled as i64);
        }
    }
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, units) in [("256", 256), ("0.25 vCPU", 256), (".5vcpu", 512), ("1 VCPU", 1024), ("2.0 vCPU", 2048)] {
            assert_eq!(parse_cpu(text), Some(units), "{text}");
        }
        for (text, mib) in [("512", 512), ("1 GB", 1024), ("0.5GB", 512), ("30gb", 30720)] {
            assert_eq!(parse_memory(text), Some(mib), "{text}");
        }
        for text in ["", "x", "-1", "1.5", "inf vCPU", "1e3 vCPU", "vCPU", "0.0001 vCPU", "99999999999999999999"] {
            assert_eq!(parse_cpu(text), None, "{text}");
        }
    }
}
