//! Growing pauses between tries, none the same for two agents.

use std::time::Duration;

/// Pauses from the first to the longest, each `factor` times the one before, give or take a fifth.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    factor: f64,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration, factor: f64) -> Self {
        Self { first, longest, factor, next: first }
    }

    /// The pause to make now; `random` is between 0 and 1.
    pub(super) fn pause(&mut self, random: f64) -> Duration {
        let pause = self.next;
        self.next = pause.mul_f64(self.factor).min(self.longest);
        pause.mul_f64(0.8 + 0.4 * random.clamp(0.0, 1.0))
    }

    /// Begins from the first again.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A number between 0 and 1.
pub(super) fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without the kernel's random source every agent makes the same pause, which is worse and no harm.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

/// 32 hexadecimal digits that nobody else has.
pub(super) fn token() -> String {
    let mut bytes = [0; 16];
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4), 2.0);
        let pauses: Vec<u64> = (0..4).map(|_| backoff.pause(0.5).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 4]);
        backoff.reset();
        assert_eq!(backoff.pause(0.0), Duration::from_millis(800));
        assert!((0.0..=1.0).contains(&random()));
    }
}
