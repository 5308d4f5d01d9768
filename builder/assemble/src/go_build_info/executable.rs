//! Finds and reads the initialised data of a program by address: ELF, Mach-O and PE, 64 bits, little-endian.

use std::io::{Read, Seek, SeekFrom};

use super::BuildInfoError;

/// Bytes searched at a time; a multiple of the alignment, so that nothing sought lies across two chunks.
const CHUNK: u64 = 1 << 20;

/// The longest table of headers that is read.
const LONGEST_TABLE: u64 = 4 << 20;

/// The most zeros that are read at once: two words, a text that is empty.
const LONGEST_ZEROS: u64 = 16;

/// Alignment of what is searched for.
const ALIGNMENT: usize = 16;

trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// A program as bytes by offset.
pub(super) struct Reader<'a>(&'a mut dyn ReadSeek);

impl<'a> Reader<'a> {
    pub(super) fn new(reader: &'a mut (impl Read + Seek)) -> Self {
        Self(reader)
    }

    /// Reads up to `size` bytes, fewer only at the end of the file.
    fn at(&mut self, offset: u64, size: u64) -> Result<Vec<u8>, BuildInfoError> {
        let failed = |source| BuildInfoError::Io { offset, source };
        self.0.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut bytes = Vec::new();
        // The length may be a lie: memory grows with what is really there.
        (&mut *self.0).take(size).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}

/// A piece of the file that has an address.
#[derive(Clone, Copy, Debug)]
struct Segment {
    address: u64,
    offset: u64,
    /// How much of it the file holds.
    size: u64,
    /// How much of it there is when the program runs: what the file does not hold begins as zeros.
    memory: u64,
}

/// Where the data of a program lies.
#[derive(Debug)]
pub(super) struct Executable {
    format: &'static str,
    segments: Vec<Segment>,
    /// Address and size of the piece that holds the build information, if there is one.
    data: Option<(u64, u64)>,
}

impl Executable {
    /// Reads the headers; `None` for a file of no known format.
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Option<Self>, BuildInfoError> {
        let head = reader.at(0, 64)?;
        let (format, parsed) = if head.starts_with(b"\x7fELF\x02\x01") {
            ("ELF", elf(reader, &head)?)
        } else if head.starts_with(b"\xcf\xfa\xed\xfe") {
            ("Mach-O", mach_o(reader, &head)?)
        } else if head.starts_with(b"MZ") {
            ("PE", pe(reader, &head)?)
        } else {
            return Ok(None);
        };
        match parsed {
            Some((segments, data)) => Ok(Some(Self { format, segments, data })),
            None => Err(BuildInfoError::Executable { format, what: "its headers are cut off" }),
        }
    }

    /// Returns the address of `magic` in the data, aligned and with `size` bytes from there on.
    pub(super) fn find(
        &self,
        reader: &mut Reader<'_>,
        magic: &[u8],
        size: usize,
    ) -> Result<Option<u64>, BuildInfoError> {
        let Some((start, length)) = self.data else { return Ok(None) };
        let end = start.saturating_add(length);
        // Headers may name addresses after which there are none.
        let mut next = start.checked_next_multiple_of(ALIGNMENT as u64);
        while let Some(at) = next.filter(|at| *at < end) {
            let chunk = self.read_up_to(reader, at, CHUNK.min(end - at))?;
            if chunk.is_empty() {
                break;
            }
            let mut pieces = chunk.chunks(ALIGNMENT).enumerate();
            if let Some((index, _)) = pieces.find(|(_, piece)| piece.starts_with(magic)) {
                let found = at + (index * ALIGNMENT) as u64;
                return Ok((end - found >= size as u64).then_some(found));
            }
            next = at.checked_add(CHUNK);
        }
        Ok(None)
    }

    /// Reads exactly `size` bytes from an address on.
    pub(super) fn read(
        &self,
        reader: &mut Reader<'_>,
        address: u64,
        size: u64,
    ) -> Result<Vec<u8>, BuildInfoError> {
        let bytes = self.read_up_to(reader, address, size)?;
        if bytes.len() as u64 == size {
            return Ok(bytes);
        }
        let what = "its build information points outside the file";
        Err(BuildInfoError::Executable { format: self.format, what })
    }

    /// Reads `size` bytes from an address on, fewer where its segment ends; none outside all segments.
    /// Where the program begins with zeros that the file does not hold, they are read.
    pub(super) fn read_up_to(
        &self,
        reader: &mut Reader<'_>,
        address: u64,
        size: u64,
    ) -> Result<Vec<u8>, BuildInfoError> {
        let holds = |segment: &&Segment| {
            address.checked_sub(segment.address).is_some_and(|offset| offset < segment.memory)
        };
        let Some(segment) = self.segments.iter().find(holds) else { return Ok(Vec::new()) };
        let inside = address - segment.address;
        if let Some(held) = segment.size.checked_sub(inside).filter(|held| *held > 0) {
            return reader.at(segment.offset.saturating_add(inside), size.min(held));
        }
        let zeros = size.min(segment.memory - inside).min(LONGEST_ZEROS);
        Ok(vec![0; usize::try_from(zeros).unwrap_or_default()])
    }
}

type Parsed = Option<(Vec<Segment>, Option<(u64, u64)>)>;

/// Source: ELF-64 Object File Format, version 1.5.
fn elf(reader: &mut Reader<'_>, head: &[u8]) -> Result<Parsed, BuildInfoError> {
    let field = |at| u64_at(head, at);
    let short = |at| u16_at(head, at).map(u64::from);
    let (Some(programs), Some(sections)) = (field(32), field(40)) else { return Ok(None) };
    let (Some(program_size), Some(program_count)) = (short(54), short(56)) else { return Ok(None) };
    let (Some(section_size), Some(section_count)) = (short(58), short(60)) else { return Ok(None) };
    let (Some(names), 56.., true) =
        (short(62), program_size, section_count == 0 || section_size >= 64)
    else {
        return Ok(None);
    };
    let table = reader.at(programs, program_size * program_count)?;
    let mut segments = Vec::new();
    let mut data = None;
    for entry in rows(&table, program_size) {
        let Some((kind, flags)) = u32_at(entry, 0).zip(u32_at(entry, 4)) else { return Ok(None) };
        let Some(segment) = segment(entry, 16, 8, 32, 40) else { return Ok(None) };
        segments.push(segment);
        // PT_LOAD, writable and not executable.
        if kind == 1 && flags & 3 == 2 && data.is_none() {
            data = Some((segment.address, segment.size));
        }
    }
    let table = reader.at(sections, section_size * section_count)?;
    let start = usize::try_from(section_size * names).unwrap_or(usize::MAX);
    let texts = match table.get(start..) {
        Some(entry) if section_count > 0 => {
            let Some((offset, size)) = u64_at(entry, 24).zip(u64_at(entry, 32)) else {
                return Ok(None);
            };
            reader.at(offset, size.min(LONGEST_TABLE))?
        }
        _ => Vec::new(),
    };
    for entry in rows(&table, section_size) {
        let name = u32_at(entry, 0).and_then(|name| texts.get(usize::try_from(name).ok()?..));
        if name.is_some_and(|name| name.starts_with(b".go.buildinfo\0")) {
            data = u64_at(entry, 16).zip(u64_at(entry, 32));
        }
    }
    Ok(Some((segments, data)))
}

/// Source: Apple, `mach-o/loader.h`.
fn mach_o(reader: &mut Reader<'_>, head: &[u8]) -> Result<Parsed, BuildInfoError> {
    const SEGMENT_64: u32 = 0x19;
    let Some((count, size)) = u32_at(head, 16).zip(u32_at(head, 20)) else { return Ok(None) };
    let commands = reader.at(32, u64::from(size).min(LONGEST_TABLE))?;
    let mut rest = commands.as_slice();
    let (mut segments, mut named, mut writable) = (Vec::new(), None, None);
    for _ in 0..count {
        let Some((kind, length)) = u32_at(rest, 0).zip(u32_at(rest, 4)) else { return Ok(None) };
        let split = usize::try_from(length).ok().filter(|length| *length >= 8);
        let Some((command, others)) = split.and_then(|length| rest.split_at_checked(length)) else {
            return Ok(None);
        };
        rest = others;
        if kind != SEGMENT_64 {
            continue;
        }
        let Some(segment) = segment(command, 24, 40, 48, 32) else { return Ok(None) };
        if !command.get(8..).is_some_and(|name| name.starts_with(b"__PAGEZERO\0")) {
            segments.push(segment);
        }
        let (allowed, initial) = (u32_at(command, 56), u32_at(command, 60));
        if (allowed, initial) == (Some(3), Some(3)) && segment.address != 0 && segment.size != 0 {
            writable = writable.or(Some((segment.address, segment.size)));
        }
        let mut sections = rows(command.get(72..).unwrap_or_default(), 80);
        let found = sections.find(|section| section.starts_with(b"__go_buildinfo\0"));
        named = named.or(found.and_then(|section| u64_at(section, 32).zip(u64_at(section, 40))));
    }
    Ok(Some((segments, named.or(writable))))
}

/// Source: Microsoft, "PE Format".
fn pe(reader: &mut Reader<'_>, head: &[u8]) -> Result<Parsed, BuildInfoError> {
    // Initialised data that is read and written, and nothing else; alignment bits do not count.
    const DATA: u32 = 0xc000_0040;
    const ALIGNMENT_BITS: u32 = 0x0060_0000;
    let Some(start) = u32_at(head, 60).map(u64::from) else { return Ok(None) };
    let header = reader.at(start, 64)?;
    if !header.starts_with(b"PE\0\0") || u16_at(&header, 24) != Some(0x20b) {
        // A DOS program, or one for 32 bits.
        return Ok(Some((Vec::new(), None)));
    }
    let sizes = u16_at(&header, 6).zip(u16_at(&header, 20)).zip(u64_at(&header, 48));
    let Some(((count, optional), base)) = sizes else { return Ok(None) };
    let table = reader.at(start + 24 + u64::from(optional), u64::from(count) * 40)?;
    let (mut segments, mut data) = (Vec::new(), None);
    for section in rows(&table, 40) {
        let field = |at| u32_at(section, at).map(u64::from);
        let (Some(virtual_size), Some(address)) = (field(8), field(12)) else { return Ok(None) };
        let (Some(size), Some(offset)) = (field(16), field(20)) else { return Ok(None) };
        let (address, flags) = (base.saturating_add(address), u32_at(section, 36));
        segments.push(Segment { address, offset, size, memory: size.max(virtual_size) });
        if size != 0 && flags.is_some_and(|flags| flags & !ALIGNMENT_BITS == DATA) {
            data = data.or(Some((address, virtual_size)));
        }
    }
    Ok(Some((segments, data)))
}

/// Cuts a table into rows of `size` bytes; what is left over at its end is no row.
fn rows(table: &[u8], size: u64) -> impl Iterator<Item = &[u8]> {
    table.chunks_exact(usize::try_from(size).unwrap_or(usize::MAX).max(1))
}

/// Reads a segment whose address, offset, size in the file and size in memory stand at these places of a header.
fn segment(
    header: &[u8],
    address: usize,
    offset: usize,
    size: usize,
    memory: usize,
) -> Option<Segment> {
    let (address, offset) = (u64_at(header, address)?, u64_at(header, offset)?);
    let size = u64_at(header, size)?;
    Some(Segment { address, offset, size, memory: size.max(u64_at(header, memory)?) })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
