//! The licence of something put together, concluded from those of its parts.

use std::collections::BTreeSet;

use super::{Program, document::NO_ASSERTION};

/// The licences of everything that is linked into a program.
pub(super) fn linked_licenses(program: &Program) -> impl Iterator<Item = &str> {
    let go = program.go.iter().flat_map(|go| {
        let modules = go.modules.iter().map(|module| &module.license);
        modules.chain([&go.standard_library])
    });
    let packages = program.packages.iter().map(|package| &package.license);
    go.chain(packages).map(|license| license.expression.as_str())
}

/// Combines licences that all bind; no assertion is made where one of them is not known.
pub(super) fn conclude<'a>(expressions: impl IntoIterator<Item = &'a str>) -> String {
    let expressions: BTreeSet<_> = expressions.into_iter().collect();
    if expressions.is_empty() || expressions.contains("") {
        return NO_ASSERTION.to_owned();
    }
    if expressions.len() == 1 {
        return expressions.into_iter().collect();
    }
    let mut parts = BTreeSet::new();
    for expression in expressions {
        if expression.contains(" OR ") {
            parts.insert(format!("({expression})"));
        } else {
            parts.extend(expression.split(" AND ").map(str::to_owned));
        }
    }
    parts.into_iter().collect::<Vec<_>>().join(" AND ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_bind_and_an_unknown_one_leaves_the_whole_unknown() {
        assert_eq!(conclude(["MIT", "MIT"]), "MIT");
        assert_eq!(conclude(["MIT AND ISC", "ISC", "Apache-2.0"]), "Apache-2.0 AND ISC AND MIT");
        assert_eq!(conclude(["MIT OR ISC"]), "MIT OR ISC");
        assert_eq!(conclude(["MIT OR ISC", "0BSD"]), "(MIT OR ISC) AND 0BSD");
        assert_eq!(conclude(["MIT", ""]), NO_ASSERTION);
        assert_eq!(conclude([]), NO_ASSERTION);
    }
}
