//! Reads patch files: mails as `git format-patch` writes them, with trailers that programs read.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kdistro_formats::{Digest, Tag, release::is_cve};
use kdistro_verify::hash::sha256;

/// Header lines that a patch file may have.
const HEADERS: &[&str] =
    &["From", "Date", "Subject", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"];

/// Trailers that are allowed and say nothing to this program.
const OTHER_TRAILERS: &[&str] = &[
    "Acked-by",
    "Cc",
    "Co-authored-by",
    "Helped-by",
    "Reported-by",
    "Reviewed-by",
    "Signed-off-by",
    "Suggested-by",
    "Tested-by",
];

/// The only severity that is said of a patch: that one fixes a vulnerability says the rest.
const CRITICAL: &str = "critical";

/// A patch file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The file's name, `NNNN-subject.patch`.
    pub name: String,
    /// The digest of its exact bytes.
    pub digest: Digest,
    /// The first line of the commit message.
    pub subject: String,
    /// The vulnerabilities it fixes, such as `CVE-2026-56852`, in the order given.
    pub fixes: Vec<String>,
    /// Whether what it fixes waits for no maintenance window of a subscriber.
    pub critical: bool,
    /// Where upstream stands.
    pub upstream: Upstream,
    /// The upstream tag that makes the patch needless.
    pub drop_when: Option<Tag>,
    pub(crate) content: Vec<u8>,
}

/// What upstream knows of a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The address of the change or of the discussion.
    Submitted(String),
    /// Why it is not submitted.
    NotSubmitted(String),
}

/// Something wrong with a patch file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchProblem {
    /// The file's name.
    pub file: String,
    /// The line, from 1 on; none when the file as a whole is meant.
    pub line: Option<usize>,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for PatchProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// Reads a patch file strictly, and lists all that is wrong with it.
pub fn parse(name: &str, content: &[u8]) -> Result<Patch, Vec<PatchProblem>> {
    let mut reader = Reader { file: name, problems: Vec::new() };
    if !is_patch_name(name) {
        reader.report(None, "is not named `NNNN-subject.patch`");
    }
    let mail = Mail::split(content, &mut reader);
    let subject = reader.headers(&mail);
    let trailers = reader.trailers(&mail);
    let patch = subject.zip(trailers.upstream).map(|(subject, upstream)| Patch {
        name: name.to_owned(),
        digest: sha256(content),
        subject,
        fixes: trailers.fixes,
        critical: trailers.critical,
        upstream,
        drop_when: trailers.drop_when,
        content: content.to_vec(),
    });
    patch.filter(|_| reader.problems.is_empty()).ok_or(reader.problems)
}

/// Tells whether a name is `NNNN-subject.patch`.
fn is_patch_name(name: &str) -> bool {
    let parts = name.strip_suffix(".patch").and_then(|name| name.split_once('-'));
    let word = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    parts.is_some_and(|(number, subject)| {
        let digits = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        digits && !subject.is_empty() && subject.chars().all(word)
    })
}

/// The parts of a mail before its diff, each line with its number from 1 on.
#[derive(Default)]
struct Mail {
    headers: Vec<(usize, String)>,
    body: Vec<(usize, String)>,
}

impl Mail {
    fn split(content: &[u8], reader: &mut Reader<'_>) -> Self {
        let mut mail = Self::default();
        let (mut in_headers, mut in_diff, mut has_diff) = (true, false, false);
        for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
            let is_from = is_from_line(line);
            if number == 1 && !is_from {
                reader.report(Some(1), "does not begin with `From <commit> <date>`");
            }
            if number > 1 && is_from {
                reader.report(Some(number), "begins a second mail; expected one a file");
            }
            has_diff |= line.starts_with(b"diff --git ");
            in_diff |= !in_headers && ends_message(line);
            if in_diff || (number == 1 && is_from) {
                continue;
            }
            let Ok(line) = std::str::from_utf8(line) else {
                reader.report(Some(number), "is not UTF-8");
                continue;
            };
            if line.ends_with('\r') {
                reader.report(Some(number), "ends with a carriage return");
            } else if in_headers && line.is_empty() {
                in_headers = false;
            } else if in_headers {
                mail.headers.push((number, line.to_owned()));
            } else {
                mail.body.push((number, line.to_owned()));
            }
        }
        if !has_diff {
            reader.report(None, "holds no diff; expected a line `diff --git …`");
        }
        mail
    }
}

fn is_from_line(line: &[u8]) -> bool {
    let id = line.strip_prefix(b"From ").and_then(|rest| rest.split_at_checked(40));
    id.is_some_and(|(id, rest)| id.iter().all(u8::is_ascii_hexdigit) && rest.starts_with(b" "))
}

/// Source: git, `mailinfo.c`, `patchbreak`.
fn ends_message(line: &[u8]) -> bool {
    let dashes = line.strip_prefix(b"---");
    line.starts_with(b"diff -")
        || line.starts_with(b"Index: ")
        || dashes.is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

#[derive(Default)]
struct Trailers {
    fixes: Vec<String>,
    critical: bool,
    upstream: Option<Upstream>,
    drop_when: Option<Tag>,
}

struct Reader<'a> {
    file: &'a str,
    problems: Vec<PatchProblem>,
}

impl Reader<'_> {
    fn report(&mut self, line: Option<usize>, message: impl Into<String>) {
        let problem = PatchProblem { file: self.file.to_owned(), line, message: message.into() };
        self.problems.push(problem);
    }

    /// Checks the headers and returns the subject.
    fn headers(&mut self, mail: &Mail) -> Option<String> {
        let mut found: Vec<(String, String)> = Vec::new();
        for (number, name, value) in unfolded(&mail.headers) {
            let Some(name) = name else {
                self.report(Some(number), format!("`{value}` is not a header line"));
                continue;
            };
            if !HEADERS.contains(&name.as_str()) {
                self.report(Some(number), format!("header `{name}` is not one of {HEADERS:?}"));
            } else if found.iter().any(|(known, _)| *known == name) {
                self.report(Some(number), format!("header `{name}` stands twice"));
            } else if name == "Content-Transfer-Encoding" && !matches!(&*value, "7bit" | "8bit") {
                self.report(Some(number), format!("encoding `{value}`; expected `8bit`"));
            } else if name == "Content-Type" && !value.to_lowercase().contains("charset=utf-8") {
                self.report(Some(number), format!("type `{value}`; expected charset UTF-8"));
            }
            found.push((name, value));
        }
        for name in ["From", "Date", "Subject"] {
            if !found.iter().any(|(known, _)| known == name) {
                self.report(None, format!("has no header `{name}`"));
            }
        }
        let (_, subject) = found.into_iter().find(|(name, _)| name == "Subject")?;
        let decoded = decode_words(&subject);
        let subject = decoded.split_once("] ").filter(|(tag, _)| tag.starts_with("[PATCH"));
        Some(subject.map_or(decoded.as_str(), |(_, rest)| rest).to_owned())
    }

    /// Reads the last paragraph of the message, which must hold nothing but trailers.
    fn trailers(&mut self, mail: &Mail) -> Trailers {
        let mut trailers = Trailers::default();
        for (number, name, value) in unfolded(last_paragraph(&mail.body)) {
            match name.as_deref() {
                Some("Fixes") if !is_cve(&value) => {
                    self.report(Some(number), format!("fixes `{value}`; expected `CVE-…`"));
                }
                Some("Fixes") if trailers.fixes.contains(&value) => {
                    self.report(Some(number), format!("fixes `{value}` twice"));
                }
                Some("Fixes") => trailers.fixes.push(value),
                Some("Severity") if trailers.critical => {
                    self.report(Some(number), "a second trailer `Severity`");
                }
                Some("Severity") if value == CRITICAL => trailers.critical = true,
                Some("Severity") => self.report(
                    Some(number),
                    format!("severity `{value}`; expected `{CRITICAL}`, and none for all else"),
                ),
                Some("Upstream") if trailers.upstream.is_some() => {
                    self.report(Some(number), "a second trailer `Upstream`");
                }
                Some("Upstream") => match parse_upstream(&value) {
                    None => self.report(Some(number), expected_upstream(&value)),
                    upstream => trailers.upstream = upstream,
                },
                Some("Drop-when") => match value.parse() {
                    Ok(_) if trailers.drop_when.is_some() => {
                        self.report(Some(number), "a second trailer `Drop-when`");
                    }
                    Ok(tag) => trailers.drop_when = Some(tag),
                    Err(error) => self.report(Some(number), error.to_string()),
                },
                Some(name) if OTHER_TRAILERS.contains(&name) => {}
                Some(name) => self.report(Some(number), format!("trailer `{name}` is not known")),
                None if value.starts_with("(cherry picked from commit ") => {}
                None => self.report(
                    Some(number),
                    format!("`{value}` is not a trailer; the last paragraph holds nothing else"),
                ),
            }
        }
        if trailers.critical && trailers.fixes.is_empty() {
            self.report(None, "is critical, and has no trailer `Fixes: CVE-…`");
        }
        if trailers.upstream.is_none() && self.problems.is_empty() {
            self.report(
                None,
                "has no trailer `Upstream: <url>` or `Upstream: not submitted, because …`",
            );
        }
        trailers
    }
}

/// Returns the last paragraph, or nothing when it has no line like a trailer.
fn last_paragraph(body: &[(usize, String)]) -> &[(usize, String)] {
    let end = body.iter().rposition(|(_, line)| !line.trim().is_empty()).map_or(0, |at| at + 1);
    let body = body.get(..end).unwrap_or_default();
    let start = body.iter().rposition(|(_, line)| line.trim().is_empty()).map_or(0, |at| at + 1);
    let last = body.get(start..).unwrap_or_default();
    let is_trailer = |line: &str| split_name(line).is_some_and(|(name, _)| is_trailer_name(name));
    if last.iter().any(|(_, line)| is_trailer(line)) { last } else { &[] }
}

fn is_trailer_name(name: &str) -> bool {
    ["Fixes", "Severity", "Upstream", "Drop-when"].contains(&name) || OTHER_TRAILERS.contains(&name)
}

fn split_name(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    (word && !name.is_empty()).then(|| (name, value.trim()))
}

/// Joins continuation lines to the line they belong to: number, name (none when there is no colon), value.
fn unfolded(lines: &[(usize, String)]) -> Vec<(usize, Option<String>, String)> {
    let mut joined: Vec<(usize, Option<String>, String)> = Vec::new();
    for (number, line) in lines {
        let is_continued = line.starts_with([' ', '\t']);
        match (joined.last_mut(), split_name(line)) {
            (Some((_, _, value)), _) if is_continued => {
                value.push(' ');
                value.push_str(line.trim());
            }
            (_, Some((name, value))) if !is_continued => {
                joined.push((*number, Some(name.to_owned()), value.to_owned()));
            }
            _ => joined.push((*number, None, line.trim().to_owned())),
        }
    }
    joined
}

fn parse_upstream(value: &str) -> Option<Upstream> {
    let is_address = value.starts_with("https://") && value.len() > "https://".len();
    if is_address && !value.contains(char::is_whitespace) {
        return Some(Upstream::Submitted(value.to_owned()));
    }
    let reason = value.strip_prefix("not submitted, because ")?.trim();
    (!reason.is_empty()).then(|| Upstream::NotSubmitted(reason.to_owned()))
}

fn expected_upstream(value: &str) -> String {
    format!("`Upstream: {value}`; expected `https://…` or `not submitted, because …`")
}

/// Decodes `=?UTF-8?q?…?=` words; what is not understood stays as it is. Source: RFC 2047.
fn decode_words(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let (before, from) = rest.split_at(start);
        let Some((decoded, next)) = decode_word(from) else { break };
        // White space between two words only separates them.
        if !(after_word && before.trim().is_empty()) {
            result.push_str(before);
        }
        result.push_str(&decoded);
        after_word = true;
        rest = next;
    }
    result + rest
}

fn decode_word(text: &str) -> Option<(String, &str)> {
    let rest = text.strip_prefix("=?")?;
    let (charset, rest) = rest.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (word, rest) = rest.split_once("?=")?;
    let bytes = match encoding {
        "q" | "Q" => decode_quoted(word)?,
        "b" | "B" => STANDARD.decode(word).ok()?,
        _ => return None,
    };
    charset.eq_ignore_ascii_case("utf-8").then_some(())?;
    Some((String::from_utf8(bytes).ok()?, rest))
}

fn decode_quoted(word: &str) -> Option<Vec<u8>> {
    let mut bytes = word.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'_' => b' ',
            b'=' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(decoded)
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
