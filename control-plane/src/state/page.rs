//! Lists in pieces: a sorted list, where the last piece ended, and how much is wanted.

use crate::error::ApiError;

/// The most that one answer holds, as in ECS.
const MAX: i64 = 100;

/// The part of the sorted `all` after `token` (the last item of the part before), and the token for the next.
pub(super) fn page(
    all: Vec<String>,
    token: Option<&str>,
    wanted: Option<i64>,
) -> Result<(Vec<String>, Option<String>), ApiError> {
    page_with(all, token, wanted, |item, last| item > last)
}

/// The same for a list in any order, where `after(item, last)` says whether `item` comes after `last`.
pub(super) fn page_with(
    all: Vec<String>,
    token: Option<&str>,
    wanted: Option<i64>,
    after: impl Fn(&str, &str) -> bool,
) -> Result<(Vec<String>, Option<String>), ApiError> {
    let wanted = wanted.unwrap_or(MAX);
    if !(1..=MAX).contains(&wanted) {
        return Err(ApiError::invalid(format!("maxResults: got {wanted}, must be 1 to {MAX}")));
    }
    let mut rest = all.into_iter().filter(|item| token.is_none_or(|token| after(item, token)));
    let part: Vec<String> = rest.by_ref().take(wanted as usize).collect();
    let next = rest.next().and(part.last().cloned());
    Ok((part, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_together_are_the_whole_and_the_last_has_no_token() {
        let all: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        let (mut seen, mut token) = (Vec::new(), None);
        loop {
            let (part, next) = page(all.clone(), token.as_deref(), Some(3)).unwrap();
            seen.extend(part);
            if next.is_none() {
                break;
            }
            token = next;
        }
        assert_eq!(seen, all);
        assert_eq!(page(all.clone(), None, Some(7)).unwrap().1, None);
        assert!(page(all, None, Some(0)).is_err());
    }
}
