//! The first difference of two programs (ELF), by section.

use object::{File, Object, ObjectSection};

use super::{at_byte, go};

/// Returns the first differing section; none when one of them is no ELF, or where all sections agree.
pub(super) fn first_difference(a: &[u8], b: &[u8]) -> Option<String> {
    if !a.starts_with(b"\x7fELF") || !b.starts_with(b"\x7fELF") {
        return None;
    }
    let (left, right) = (sections(a)?, sections(b)?);
    let build =
        go::first_difference(&left, &right).map(|text| format!("{text}; ")).unwrap_or_default();
    let mut pairs = left.iter().zip(&right);
    let named = pairs.find(|(left, right)| left.0 != right.0);
    if let Some((left, right)) = named {
        return Some(format!(
            "{build}section `{}` stands where `{}` does in the second",
            left.0, right.0
        ));
    }
    if left.len() != right.len() {
        return Some(format!("{build}they have {} and {} sections", left.len(), right.len()));
    }
    let mut pairs = left.iter().zip(&right);
    let (name, place) =
        pairs.find_map(|(left, right)| Some((left.0, at_byte(left.1, right.1)?)))?;
    Some(format!("{build}section `{name}` {place}"))
}

/// The sections of a program in the file's order: names and contents.
fn sections(bytes: &[u8]) -> Option<Vec<(&str, &[u8])>> {
    let file = File::parse(bytes).ok()?;
    let read = |section: object::Section<'_, '_>| -> Option<(&str, &[u8])> {
        let (start, size) = section.file_range().unwrap_or((0, 0));
        let (start, size) = (usize::try_from(start).ok()?, usize::try_from(size).ok()?);
        let content = bytes.get(start..start.checked_add(size)?)?;
        Some((name_of(bytes, &section)?, content))
    };
    let sections: Vec<_> = file.sections().map(read).collect::<Option<_>>()?;
    // Sections that overlap could be compared without end.
    let total = sections.iter().try_fold(0_usize, |sum, (_, bytes)| sum.checked_add(bytes.len()));
    total.is_some_and(|total| total / 2 <= bytes.len()).then_some(sections)
}

/// The name of a section as a part of `bytes`, which outlives the parsed file.
fn name_of<'a>(bytes: &'a [u8], section: &object::Section<'_, '_>) -> Option<&'a str> {
    let name = section.name_bytes().ok()?;
    let start = (name.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
    std::str::from_utf8(bytes.get(start..start.checked_add(name.len())?)?).ok()
}

/// Where a section lies in a program.
#[cfg(test)]
pub(super) fn range_of(bytes: &[u8], name: &str) -> Option<std::ops::Range<usize>> {
    let file = File::parse(bytes).ok()?;
    let (start, size) = file.section_by_name(name)?.file_range()?;
    let start = usize::try_from(start).ok()?;
    Some(start..start + usize::try_from(size).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_that_overlap_are_not_compared() {
        // A program of 64 bits, least byte first, as every host of ours has it. Source: elf(5).
        let mut program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(sections(&program).is_some());
        let length = program.len() as u64;
        let table =
            usize::try_from(u64::from_le_bytes(program[40..48].try_into().unwrap())).unwrap();
        let count = usize::from(u16::from_le_bytes(program[60..62].try_into().unwrap()));
        let mut changed = 0;
        for header in program[table..table + count * 64].as_chunks_mut::<64>().0 {
            if header[4..8] == [1, 0, 0, 0] {
                header[24..32].fill(0);
                header[32..40].copy_from_slice(&length.to_le_bytes());
                changed += 1;
            }
        }
        assert!(changed > 2 && File::parse(&*program).is_ok());
        assert!(sections(&program).is_none());
    }
}
