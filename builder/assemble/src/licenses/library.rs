//! Names the licences that a text holds, by comparing it with those of the SPDX list.
//!
//! The comparison is that of `askalono`, kept in the `spdx` crate. The order in which its own scanner breaks ties
//! is not the same in every run, so the search over the list is done here, in the order of names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use kdistro_formats::Digest;
use kdistro_verify::hash::sha256;
use spdx::detection::{LicenseEntry, Store, TextData};

/// The version of the SPDX licence list that identification uses.
pub const LICENSE_LIST: &str = spdx::identifiers::VERSION;

/// How alike two texts must be, from 0 to 1; what `askalono` uses.
const THRESHOLD: f32 = 0.9;

/// So alike that the text holds nothing else.
const ALONE: f32 = 0.99;

/// The most licences that one text is searched for.
const MOST: usize = 12;

/// The longest text that is compared: longer ones are no licences.
const LONGEST: usize = 256 << 10;

/// The licence list that comes with the `spdx` crate cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the SPDX licence list cannot be read: {0}")]
pub struct LibraryError(String);

/// The texts of the SPDX licence list, and what was identified with them.
///
/// Loading takes a tenth of a second and some 30 MB: one is enough for a whole release.
pub struct Library {
    /// Name and forms of each licence, sorted by name.
    licenses: Vec<(String, Vec<TextData>)>,
    known: Mutex<BTreeMap<Digest, Vec<String>>>,
}

impl Library {
    /// Loads the licence list.
    pub fn load() -> Result<Self, LibraryError> {
        let store = Store::load_inline().map_err(|error| LibraryError(error.to_string()))?;
        let wanted = store.iter().filter_map(|(name, entry)| Some((stated(name)?, forms(entry))));
        let mut licenses: Vec<_> = wanted.collect();
        licenses.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self { licenses, known: Mutex::default() })
    }

    /// Returns the SPDX names of the licences that the text holds, sorted; none when it is like none of the list.
    ///
    /// Texts that were seen before, also for other holders of the copyright, cost nothing.
    pub fn identify(&self, text: &str) -> Vec<String> {
        let text = &without_holders(text);
        let digest = sha256(text.as_bytes());
        if let Some(found) = self.lock().get(&digest) {
            return found.clone();
        }
        let found: Vec<_> = self.search(text).into_iter().collect();
        self.lock().insert(digest, found.clone());
        found
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Vec<String>>> {
        // The map is whole between two calls, whatever a thread that died did elsewhere.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the most similar licence, strikes out its lines, and looks again.
    fn search(&self, text: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        if text.is_empty() || text.len() > LONGEST {
            return found;
        }
        let mut rest = TextData::new(text);
        for _ in 0..MOST {
            let Some((name, data, score)) = self.most_similar(&rest) else { break };
            if score >= ALONE {
                found.insert(name.to_owned());
                break;
            }
            let Some((name, part)) = self.part(&rest, data) else {
                // The bounds are searched for greedily; the whole may be more alike than the part found.
                if score >= THRESHOLD {
                    found.insert(name.to_owned());
                }
                break;
            };
            found.insert(name.to_owned());
            rest = part.white_out();
            if rest.lines().iter().all(|line| line.trim().is_empty()) {
                break;
            }
        }
        found
    }

    /// Finds the part of a text that is most like `data`, and names the licence that this part is most like.
    ///
    /// That may be another one: beside a second licence, the longest of similar texts looks best.
    fn part(&self, text: &TextData, data: &TextData) -> Option<(&str, TextData)> {
        let (part, _) = text.optimize_bounds(data);
        let (name, data, _) = self.most_similar(&part)?;
        let (part, score) = text.optimize_bounds(data);
        (score >= THRESHOLD).then_some((name, part))
    }

    /// Returns the most similar licence; of several as similar the first by name.
    fn most_similar(&self, text: &TextData) -> Option<(&str, &TextData, f32)> {
        let mut best: Option<(&str, &TextData, f32)> = None;
        for (name, forms) in &self.licenses {
            for data in forms {
                let score = data.match_score(text);
                if best.is_none_or(|(_, _, so_far)| score > so_far) {
                    best = Some((name, data, score));
                }
            }
        }
        best
    }
}

/// Leaves out empty lines, and those that only say who holds the copyright since when.
fn without_holders(text: &str) -> String {
    let says_who = |line: &str| {
        let rest = line.get(..9).filter(|word| word.eq_ignore_ascii_case("copyright"));
        let rest = rest.and_then(|_| line.get(9..)).unwrap_or_default().trim_start();
        let is_sign = rest.get(..3).is_some_and(|sign| sign.eq_ignore_ascii_case("(c)"));
        is_sign || rest.starts_with(|c: char| c.is_ascii_digit() || c == '\u{a9}')
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !says_who(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the text of a licence, its other forms, and what stands in front of files under it.
fn forms(entry: &LicenseEntry) -> Vec<TextData> {
    let LicenseEntry { original, alternates, headers, .. } = entry;
    let mut forms: Vec<_> =
        [original].into_iter().chain(alternates).chain(headers).cloned().collect();
    // Many leave out the part that says how to apply the Apache licence, and are then more like another licence.
    let is_end = |line: &String| line.trim().eq_ignore_ascii_case("end of terms and conditions");
    if let Some(end) = original.lines().iter().position(is_end) {
        forms.push(original.with_view(0, end));
    }
    forms
}

/// Returns the name by which a licence of the list is stated; `None` for names that the list gave up.
///
/// The text of the GNU licences does not say whether later versions may be used; `-only` promises less.
fn stated(name: &str) -> Option<String> {
    let id = spdx::license_id(name).filter(|id| !id.is_deprecated())?;
    let family = name.strip_suffix("-or-later").map(|name| name.trim_end_matches("-invariants"));
    let only = family.and_then(|family| spdx::license_id(&format!("{family}-only")));
    Some(only.unwrap_or(id).name.to_owned())
}
