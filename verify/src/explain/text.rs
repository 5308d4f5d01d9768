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
                return Some(format!("line {number} is `{}` and `{}`", shown(left), shown(right)));
            }
            (Some(line), None) => {
                return Some(format!("line {number}, `{}`, is only in the first", shown(line)));
            }
            (None, Some(line)) => {
                return Some(format!("line {number}, `{}`, is only in the second", shown(line)));
            }
            (None, None) => return None,
        }
    }
}

fn as_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(text)
}

fn shown(line: &str) -> String {
    let mut text: String = line.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if line.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    text
}
