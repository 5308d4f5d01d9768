//! The outer archive of a Debian package.

use super::DebError;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;

/// A member of the outer archive.
pub(super) struct Member<'a> {
    pub(super) name: String,
    pub(super) bytes: &'a [u8],
}

/// The two members that matter.
pub(super) struct Package<'a> {
    pub(super) control: Member<'a>,
    pub(super) data: Member<'a>,
}

/// Splits a package: `debian-binary`, then the control archive, then the data archive, and nothing else.
///
/// Source: deb(5); members whose names begin with `_` may stand before the data archive and are left out.
pub(super) fn split(deb: &[u8]) -> Result<Package<'_>, DebError> {
    let malformed = |offset, what: &str| DebError::Malformed { offset, what: what.to_owned() };
    let mut rest =
        deb.strip_prefix(MAGIC).ok_or_else(|| malformed(0, "it is not an ar archive"))?;
    let mut members = Vec::new();
    while !rest.is_empty() {
        let offset = deb.len() - rest.len();
        let (member, after) = next(rest).map_err(|what| malformed(offset, what))?;
        if !member.name.starts_with('_') {
            members.push(member);
        }
        rest = after;
    }
    let names = members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ");
    let wrong = || {
        malformed(
            0,
            &format!("it holds {names}; expected debian-binary, control.tar.*, data.tar.*"),
        )
    };
    let [version, control, data] = <[Member<'_>; 3]>::try_from(members).map_err(|_| wrong())?;
    let is_known = version.name == "debian-binary" && version.bytes.starts_with(b"2.");
    if is_known && control.name.starts_with("control.tar") && data.name.starts_with("data.tar") {
        Ok(Package { control, data })
    } else {
        Err(wrong())
    }
}

fn next(bytes: &[u8]) -> Result<(Member<'_>, &[u8]), &'static str> {
    let (header, rest) =
        bytes.split_at_checked(HEADER).ok_or("it ends in the middle of a header")?;
    if !header.ends_with(b"`\n") {
        return Err("a header of ar does not end as it must");
    }
    let field = |from: usize, to: usize| {
        std::str::from_utf8(header.get(from..to)?).ok().map(|text| text.trim_end_matches(' '))
    };
    let name = field(0, 16).ok_or("a name is not UTF-8")?;
    let name = name.strip_suffix('/').unwrap_or(name).to_owned();
    let digits = field(48, 58).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let size: usize = digits.and_then(|text| text.parse().ok()).ok_or("a size is no number")?;
    let (content, rest) = rest.split_at_checked(size).ok_or("it ends in the middle of a member")?;
    if size.is_multiple_of(2) || rest.is_empty() {
        return Ok((Member { name, bytes: content }, rest));
    }
    let rest = rest.strip_prefix(b"\n").ok_or("the padding is not a line feed")?;
    Ok((Member { name, bytes: content }, rest))
}
