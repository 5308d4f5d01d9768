//! The first difference of two tar archives.

use std::{
    collections::BTreeSet,
    io::{self, Cursor},
};

use tar::Archive;

use super::Room;

/// Where `ustar` stands in a tar header.
const MAGIC: std::ops::Range<usize> = 257..262;

/// The most bytes of names and attributes that are kept: an archive can consist of nothing else.
const LONGEST_ATTRIBUTES: usize = 64 << 20;

/// A field that is no number, such as an empty one.
const UNREADABLE: &str = "no number";

/// What a tar says about one entry.
struct Entry<'a> {
    path: String,
    kind: String,
    mode: String,
    owner: String,
    mtime: String,
    link: String,
    extensions: String,
    content: &'a [u8],
}

impl Entry<'_> {
    /// About how many bytes are kept of it beside its content, which lies in the archive.
    fn kept(&self) -> usize {
        let Self { path, kind, mode, owner, mtime, link, extensions, content: _ } = self;
        let texts = [path, kind, mode, owner, mtime, link, extensions];
        size_of::<Self>() + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

/// Returns the first difference of two archives; none when one of them is no tar, or where all entries agree.
pub(super) fn first_difference(a: &[u8], b: &[u8], room: Room) -> Option<String> {
    let (left, right) = (entries(a, LONGEST_ATTRIBUTES)?, entries(b, LONGEST_ATTRIBUTES)?);
    in_paths(&left, &right).or_else(|| {
        let mut pairs = left.iter().zip(&right);
        pairs.find_map(|(left, right)| in_entry(left, right, room))
    })
}

fn in_paths(left: &[Entry<'_>], right: &[Entry<'_>]) -> Option<String> {
    let paths = |entries: &[Entry<'_>]| -> BTreeSet<String> {
        entries.iter().map(|entry| entry.path.clone()).collect()
    };
    let (first, second) = (paths(left), paths(right));
    if let Some(path) = first.difference(&second).next() {
        return Some(format!("`{path}` is only in the first"));
    }
    if let Some(path) = second.difference(&first).next() {
        return Some(format!("`{path}` is only in the second"));
    }
    let mut pairs = left.iter().zip(right).enumerate();
    let order = pairs.find(|(_, (left, right))| left.path != right.path);
    if let Some((index, (left, right))) = order {
        return Some(format!("entry {} is `{}` and `{}`", index + 1, left.path, right.path));
    }
    let (left, right) = (left.len(), right.len());
    (left != right).then(|| format!("they have {left} and {right} entries"))
}

fn in_entry(left: &Entry<'_>, right: &Entry<'_>, room: Room) -> Option<String> {
    let path = &left.path;
    attribute("type", &left.kind, &right.kind)
        .or_else(|| attribute("mode", &left.mode, &right.mode))
        .or_else(|| attribute("owner", &left.owner, &right.owner))
        .or_else(|| attribute("mtime", &left.mtime, &right.mtime))
        .or_else(|| attribute("link", &left.link, &right.link))
        .or_else(|| attribute("extensions", &left.extensions, &right.extensions))
        .or_else(|| super::of_bytes(left.content, right.content, room))
        .map(|difference| format!("`{path}`: {difference}"))
}

fn attribute(name: &str, left: &str, right: &str) -> Option<String> {
    (left != right).then(|| format!("{name} is {left} and {right}"))
}

fn number(field: io::Result<u64>) -> String {
    field.map_or_else(|_| UNREADABLE.to_owned(), |number| number.to_string())
}

/// Lists the entries of a tar; none for what is none, and where more than `most` bytes of attributes would be kept.
fn entries(bytes: &[u8], most: usize) -> Option<Vec<Entry<'_>>> {
    if bytes.get(MAGIC) != Some(b"ustar") {
        return None;
    }
    let mut archive = Archive::new(Cursor::new(bytes));
    let (mut found, mut kept) = (Vec::new(), 0);
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        let mut extensions = Vec::new();
        for extension in entry.pax_extensions().ok()?.into_iter().flatten() {
            let extension = extension.ok()?;
            let (key, value) = (extension.key_bytes(), extension.value_bytes());
            let (key, value) = (String::from_utf8_lossy(key), value.escape_ascii());
            extensions.push(format!("{key}={value}"));
        }
        let start = usize::try_from(entry.raw_file_position()).ok()?;
        let length = usize::try_from(entry.size()).ok()?;
        let content = bytes.get(start..start.checked_add(length)?)?;
        let link = entry.link_name_bytes().unwrap_or_default();
        let header = entry.header();
        let name = |bytes: Option<&[u8]>| bytes.unwrap_or_default().escape_ascii().to_string();
        let (uid, gid) = (number(header.uid()), number(header.gid()));
        let (user, group) = (name(header.username_bytes()), name(header.groupname_bytes()));
        let entry = Entry {
            path: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
            kind: format!("{:?}", header.entry_type()),
            mode: header.mode().map_or_else(|_| UNREADABLE.to_owned(), |mode| format!("{mode:o}")),
            owner: format!("{uid}:{gid} ({user}:{group})"),
            mtime: number(header.mtime()),
            link: String::from_utf8_lossy(&link).into_owned(),
            extensions: extensions.join(" "),
            content,
        };
        kept += entry.kept();
        if kept > most {
            return None;
        }
        found.push(entry);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_without_end_are_not_kept() {
        let mut builder = tar::Builder::new(Vec::new());
        for number in 0..20 {
            let mut header = tar::Header::new_ustar();
            header.set_size(0);
            let path = format!("{number}/{}", "x".repeat(50));
            builder.append_data(&mut header, path, &b""[..]).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        assert_eq!(entries(&bytes, 20_000).unwrap().len(), 20);
        assert!(entries(&bytes, 5000).is_none());
    }
}
