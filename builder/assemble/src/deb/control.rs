//! The control file of a Debian package.

use super::DebError;

/// Name, version, architecture and the other fields of a Debian package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// `Package`, such as `libc6`.
    pub package: String,
    /// `Version`, such as `2.36-9+deb12u10`.
    pub version: String,
    /// `Architecture`, such as `amd64` or `all`.
    pub architecture: String,
    text: String,
}

impl Control {
    /// Reads the text of a control file.
    pub(super) fn parse(text: &str) -> Result<Self, DebError> {
        let text = text.trim_end_matches('\n').to_owned();
        let mut names = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let is_continued = line.starts_with([' ', '\t']) && number > 0;
            if is_continued && !line.trim().is_empty() {
                continue;
            }
            let name = line.split_once(':').map(|(name, _)| name.to_ascii_lowercase());
            let is_name = |name: &String| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
            };
            match name.filter(is_name) {
                Some(name) if !names.contains(&name) => names.push(name),
                Some(name) => return Err(wrong(format!("line {} has `{name}` again", number + 1))),
                None => return Err(wrong(format!("line {} is not `Name: value`", number + 1))),
            }
        }
        let needed = |name: &str, allowed: &str| match field(&text, name) {
            Some(value) if is_word(value, allowed) => Ok(value.to_owned()),
            Some(value) => Err(wrong(format!("its {name} is `{}`", value.escape_debug()))),
            None => Err(wrong(format!("it has no {name}"))),
        };
        Ok(Self {
            package: needed("Package", "+-.")?,
            version: needed("Version", "+-.~:")?,
            architecture: needed("Architecture", "-")?,
            text,
        })
    }

    /// Returns the first line of a field, or `None` when there is no such field.
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.text, name)
    }

    /// Returns the paragraph that dpkg would have in its list of what is installed.
    ///
    /// Source: dpkg's `lib/dpkg/dump.c`: the control file with the state after the name.
    pub fn status(&self) -> String {
        let mut status = String::new();
        for line in self.text.lines() {
            status.push_str(line);
            status.push('\n');
            if line.to_ascii_lowercase().starts_with("package:") {
                status.push_str("Status: install ok installed\n");
            }
        }
        status
    }
}

fn wrong(what: String) -> DebError {
    DebError::Control { what }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let fields = text.lines().filter(|line| !line.starts_with([' ', '\t']));
    let mut pairs = fields.filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn is_word(value: &str, allowed: &str) -> bool {
    let first = value.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    first && value.chars().all(|c| c.is_ascii_alphanumeric() || allowed.contains(c))
}
