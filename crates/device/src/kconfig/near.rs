//! Which known name was probably meant.

/// The nearest of `known` to `name`, when it is near enough to be a slip: two edits, one for names under eight
/// characters. The first of equally near ones.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far = if name.len() < 8 { 2 } else { 3 };
    known
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) < far)
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(edits, _)| *edits < far)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Characters to insert, delete, replace, or swap with their neighbour to come from one text to the other.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before = vec![0; to.len() + 1];
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for row in 1..=from.len() {
        let mut line = vec![row; to.len() + 1];
        for column in 1..=to.len() {
            let same = from[row - 1] == to[column - 1];
            let mut least = (above[column] + 1)
                .min(line[column - 1] + 1)
                .min(above[column - 1] + usize::from(!same));
            if row > 1
                && column > 1
                && from[row - 1] == to[column - 2]
                && from[row - 2] == to[column - 1]
            {
                least = least.min(before[column - 2] + 1);
            }
            line[column] = least;
        }
        before = std::mem::replace(&mut above, line);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_a_slip_and_a_gap_are_one_edit_each() {
        assert_eq!(edits("interval", "intervla"), 1);
        assert_eq!(edits("interval", "intervel"), 1);
        assert_eq!(edits("interval", "interva"), 1);
        assert_eq!(edits("", "abc"), 3);
    }

    #[test]
    fn what_is_far_away_is_no_suggestion() {
        assert_eq!(nearest("LOG", ["LAG_S"]), None);
        assert_eq!(
            nearest("intervall-s", ["spread-s", "interval-s"]),
            Some("interval-s")
        );
    }
}
