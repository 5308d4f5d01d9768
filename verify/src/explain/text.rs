//! The first difference of two texts.

/// Characters shown of a line.
const SHOWN: usize = 120;

/// Returns the first differing line; none when one of them is no text.
pub(super) fn first_difference(a: &[u8], b: &[u8]) -> Option<String> {
    let (left, right) = (as_text(a)?, as_text(b)?);
    let (mut left, mut right) = (left.split('\n'), right.split('\n'));
    let mut number = 0_usize;
    loop {
        number += 1;
        match (left.next(), right.next()) {
            (Some(left), Some(right)) if left == right => {}
            (Some(left), Some(right)) => {
                let from = first_shown(left, right);
                let (left, right) = (shown(left, from), shown(right, from));
                return Some(format!("line {number} is `{left}` and `{right}`"));
            }
            (Some(line), None) => {
                return Some(format!("line {number}, `{}`, is only in the first", shown(line, 0)));
            }
            (None, Some(line)) => {
                return Some(format!("line {number}, `{}`, is only in the second", shown(line, 0)));
            }
            (None, None) => return None,
        }
    }
}

fn as_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(text)
}

/// From which character on two lines are shown: the first, but where the difference would not be seen then.
fn first_shown(left: &str, right: &str) -> usize {
    let same = left.chars().zip(right.chars()).take_while(|(left, right)| left == right).count();
    if same < SHOWN { 0 } else { same - SHOWN / 4 }
}

fn shown(line: &str, from: usize) -> String {
    let start = if from == 0 { "" } else { "…" };
    let text = line.chars().skip(from).take(SHOWN).flat_map(char::escape_debug);
    let end = if line.chars().nth(from + SHOWN).is_some() { "…" } else { "" };
    format!("{start}{}{end}", text.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_part_of_a_long_line_that_differs() {
        let line = |end: &str| format!("{}{end}{}\n", "a".repeat(500), "b".repeat(500));
        let text = first_difference(line("left").as_bytes(), line("right").as_bytes()).unwrap();
        let (start, end) = ("a".repeat(30), "b".repeat(SHOWN));
        let left = format!("…{start}left{}…", &end[..SHOWN - 34]);
        let right = format!("…{start}right{}…", &end[..SHOWN - 35]);
        assert_eq!(text, format!("line 1 is `{left}` and `{right}`"));
        assert_eq!(first_difference(b"a\nb", b"a\nc").unwrap(), "line 2 is `b` and `c`");
    }
}
