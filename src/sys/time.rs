//! Wall-clock time where this machine is.

/// A moment as a clock on the wall shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Year.
    pub year: i32,
    /// Day of the year, from 0.
    pub day_of_year: i32,
    /// Month, from 0.
    pub month: usize,
    /// Day of the month, from 1.
    pub day: i32,
    /// Hour.
    pub hour: i32,
    /// Minute.
    pub minute: i32,
}

/// Seconds since the epoch in the machine's time zone. Only for processes with one thread that changes the environment:
/// the C library reads `TZ`.
pub fn local(seconds: i64) -> Option<LocalTime> {
    let mut broken = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: localtime_r reads the number and writes the struct it is given, both of which live across the call; it
    // keeps no pointer to either.
    let done = unsafe { libc::localtime_r(&raw const seconds, broken.as_mut_ptr()) };
    if done.is_null() {
        return None;
    }
    // SAFETY: localtime_r gave its argument back, which means that it has filled in every field.
    let broken = unsafe { broken.assume_init() };
    Some(LocalTime {
        year: broken.tm_year + 1900,
        day_of_year: broken.tm_yday,
        month: usize::try_from(broken.tm_mon).ok()?,
        day: broken.tm_mday,
        hour: broken.tm_hour,
        minute: broken.tm_min,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_later_is_another_day_at_the_same_time() {
        // Neither day is one on which clocks change, anywhere.
        let (one, other) = (local(1_768_000_000).unwrap(), local(1_768_086_400).unwrap());
        assert_eq!((one.year, one.hour, one.minute), (other.year, other.hour, other.minute));
        assert_eq!(one.day_of_year + 1, other.day_of_year);
    }
}
