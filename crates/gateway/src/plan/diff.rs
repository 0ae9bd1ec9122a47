//! Differences of two texts, line by line, the way `diff -u` shows them.

use std::fmt::Write as _;
use std::path::Path;

/// Lines that are the same around each difference.
const CONTEXT: usize = 3;
/// More lines than this are not compared one by one: both texts are shown whole.
const LINES_MAX: usize = 4096;

/// Unified difference of `old` and `new`; empty when they are equal. Without a last line break nothing is said of it.
pub fn unified(path: &Path, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let (a, b): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let edits = edits(&a, &b);
    let shown = path.display();
    let from = if old.is_empty() {
        "/dev/null".to_owned()
    } else {
        shown.to_string()
    };
    let mut text = format!("--- {from}\n+++ {shown}\n");
    for hunk in hunks(&edits) {
        write_hunk(&mut text, &edits[hunk]);
    }
    text
}

/// A line with what happens to it and its numbers in both texts, from 0.
#[derive(Clone, Copy)]
struct Edit<'a> {
    sign: char,
    line: &'a str,
    old: usize,
    new: usize,
}

/// The shortest way from `a` to `b` that keeps a longest common subsequence.
fn edits<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<Edit<'a>> {
    let start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let end = a[start..]
        .iter()
        .rev()
        .zip(b[start..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let (a_end, b_end) = (a.len() - end, b.len() - end);
    let mut edits = Vec::new();
    let mut push = |sign, line, old, new| {
        edits.push(Edit {
            sign,
            line,
            old,
            new,
        });
    };
    for (index, line) in a.iter().enumerate().take(start) {
        push(' ', line, index, index);
    }
    let (rows, columns) = (a_end - start, b_end - start);
    let common = if rows <= LINES_MAX && columns <= LINES_MAX {
        lengths(&a[start..a_end], &b[start..b_end])
    } else {
        Vec::new()
    };
    let length = |row: usize, column: usize| {
        common
            .get(row * (columns + 1) + column)
            .copied()
            .unwrap_or(0)
    };
    let (mut i, mut j) = (0, 0);
    while i < rows || j < columns {
        let (old, new) = (start + i, start + j);
        let keeps = i < rows && j < columns && a[old] == b[new] && !common.is_empty();
        if keeps {
            push(' ', a[old], old, new);
            (i, j) = (i + 1, j + 1);
        } else if i < rows && (j == columns || length(i + 1, j) >= length(i, j + 1)) {
            push('-', a[old], old, new);
            i += 1;
        } else {
            push('+', b[new], old, new);
            j += 1;
        }
    }
    for index in 0..end {
        push(' ', a[a_end + index], a_end + index, b_end + index);
    }
    edits
}

/// Length of the longest common subsequence of the rests, row by row.
fn lengths(a: &[&str], b: &[&str]) -> Vec<u32> {
    let width = b.len() + 1;
    let mut table = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            table[i * width + j] = if a[i] == b[j] {
                table[(i + 1) * width + j + 1] + 1
            } else {
                table[(i + 1) * width + j].max(table[i * width + j + 1])
            };
        }
    }
    table
}

/// Ranges of edits with their context, those that touch as one.
fn hunks(edits: &[Edit<'_>]) -> Vec<std::ops::Range<usize>> {
    let mut hunks: Vec<std::ops::Range<usize>> = Vec::new();
    for (index, _) in edits
        .iter()
        .enumerate()
        .filter(|(_, edit)| edit.sign != ' ')
    {
        let range = index.saturating_sub(CONTEXT)..(index + CONTEXT + 1).min(edits.len());
        match hunks.last_mut() {
            Some(last) if last.end >= range.start => last.end = range.end,
            _ => hunks.push(range),
        }
    }
    hunks
}

fn write_hunk(text: &mut String, edits: &[Edit<'_>]) {
    let count = |sign| edits.iter().filter(|edit| edit.sign != sign).count();
    let (old, new) = (count('+'), count('-'));
    // An empty side names the line before it.
    let number = |first: usize, count: usize| first + usize::from(count > 0);
    let _ = writeln!(
        text,
        "@@ -{},{old} +{},{new} @@",
        number(edits[0].old, old),
        number(edits[0].new, new)
    ); // writing to a String cannot fail
    for edit in edits {
        let _ = writeln!(text, "{}{}", edit.sign, edit.line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_the_middle_is_shown_with_its_neighbours() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let new = "a\nb\nc\nd\nX\ne\nf\ng\nh\n";
        assert_eq!(
            unified(Path::new("/m"), old, new),
            "--- /m\n+++ /m\n@@ -2,6 +2,7 @@\n b\n c\n d\n+X\n e\n f\n g\n"
        );
    }

    #[test]
    fn a_new_file_comes_from_nothing() {
        assert_eq!(
            unified(Path::new("/f"), "", "a\nb\n"),
            "--- /dev/null\n+++ /f\n@@ -0,0 +1,2 @@\n+a\n+b\n"
        );
        assert_eq!(unified(Path::new("/f"), "a\n", "a\n"), "");
    }

    #[test]
    fn distant_differences_are_two_hunks() {
        let old: String = (0..20).map(|n| format!("{n}\n")).collect();
        let new = old.replacen("1\n", "one\n", 1).replace("18\n", "");
        let text = unified(Path::new("/f"), &old, &new);
        assert_eq!(text.matches("@@ -").count(), 2, "{text}");
        assert!(
            text.contains("-1\n+one\n") && text.contains("-18\n"),
            "{text}"
        );
    }
}
