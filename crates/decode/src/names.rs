//! The name section: what a module's author called its parts.
//!
//! *Invariant:* a malformed name section is read as far as it is readable and is never an error.
//! *Invariant:* a name is found in the module's bytes, not copied: a map costs 12 bytes a name.
//! *Invariant:* no name is longer than [`MAX_NAME_BYTES`], whatever the section says: it is cut off there.
//! Built by [`Module::names`](crate::Module::names) on first use, and for the name of a function in an error.

use crate::index::{
    DataIdx, ElemIdx, FuncIdx, GlobalIdx, LocalIdx, MemoryIdx, TableIdx, TagIdx, TypeIdx,
};
use bytes::Bytes;
use std::fmt;
use std::ops::Range;
use wasmparser::{BinaryReader, Result};

/// The most bytes of a name; what a longer one has behind them is not part of it here. The longest symbols of real programs
/// are shorter.
pub const MAX_NAME_BYTES: usize = 4096;

/// The names in a module's name section.
#[derive(Clone, Default)]
pub struct Names {
    bytes: Bytes,
    module: Option<Span>,
    /// One map for each subsection id below [`MAPS`]; those of ids that are not plain maps stay empty.
    maps: [NameMap; MAPS],
    /// The subsection of local names, which is searched and not indexed: they are rarely asked for.
    locals: Range<usize>,
}

const MAPS: usize = 12;
const MODULE: usize = 0;
const FUNC: usize = 1;
const LOCAL: usize = 2;
const TYPE: usize = 4;
const TABLE: usize = 5;
const MEMORY: usize = 6;
const GLOBAL: usize = 7;
const ELEM: usize = 8;
const DATA: usize = 9;
/// Fields have names by type and index; nobody asks for them.
const FIELD: usize = 10;
const TAG: usize = 11;

/// Names by index, in ascending order of the index.
type NameMap = Box<[(u32, Span)]>;

/// A name's place in the module's bytes.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    len: u32,
}

impl Names {
    /// Reads the name section that lies at `range` of a module.
    pub(crate) fn new(bytes: Bytes, range: Range<usize>) -> Names {
        let mut names = Names::default();
        let section = bytes.get(range.clone()).unwrap_or_default();
        // An error ends the reading; what is read by then stays.
        let _ = names.read(BinaryReader::new(section, range.start as u64));
        names.bytes = bytes;
        names
    }

    fn read(&mut self, mut section: BinaryReader<'_>) -> Result<()> {
        while !section.eof() {
            let id = usize::from(section.read_u8()?);
            let mut subsection = section.read_reader()?;
            match id {
                MODULE => {
                    let name = subsection.read_unlimited_string()?;
                    self.module = self.module.or(Some(span_before(&subsection, name)));
                }
                LOCAL if self.locals.is_empty() => {
                    let range = subsection.range();
                    self.locals = range.start as usize..range.end as usize;
                }
                LOCAL => {}
                FIELD => {}
                id if id < MAPS && self.maps[id].is_empty() => self.maps[id] = read_map(subsection),
                _ => {}
            }
        }
        Ok(())
    }

    fn text(&self, span: Span) -> Option<&str> {
        let start = span.start as usize;
        let len = span.len as usize;
        let bytes = self.bytes.get(start..start + len.min(MAX_NAME_BYTES))?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Some(text),
            // A character reaches over the end.
            Err(error) if len > bytes.len() && error.error_len().is_none() => {
                std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        }
    }

    fn lookup(&self, map: usize, index: u32) -> Option<&str> {
        let map = &self.maps[map];
        let at = map.binary_search_by_key(&index, |&(index, _)| index).ok()?;
        self.text(map[at].1)
    }

    /// The module's name.
    pub fn module(&self) -> Option<&str> {
        self.text(self.module?)
    }

    /// The name of a function.
    pub fn func(&self, idx: FuncIdx) -> Option<&str> {
        self.lookup(FUNC, idx.0)
    }

    /// Every named function, in ascending order.
    pub fn funcs(&self) -> impl Iterator<Item = (FuncIdx, &str)> {
        self.maps[FUNC]
            .iter()
            .filter_map(|&(index, span)| Some((FuncIdx(index), self.text(span)?)))
    }

    /// The name of a function's local; searches the section.
    pub fn local(&self, func: FuncIdx, local: LocalIdx) -> Option<&str> {
        let subsection = self.bytes.get(self.locals.clone())?;
        let span = find_local(
            BinaryReader::new(subsection, self.locals.start as u64),
            func,
            local,
        )
        .ok()??;
        self.text(span)
    }

    /// The name of a type.
    pub fn ty(&self, idx: TypeIdx) -> Option<&str> {
        self.lookup(TYPE, idx.0)
    }

    /// The name of a table.
    pub fn table(&self, idx: TableIdx) -> Option<&str> {
        self.lookup(TABLE, idx.0)
    }

    /// The name of a memory.
    pub fn memory(&self, idx: MemoryIdx) -> Option<&str> {
        self.lookup(MEMORY, idx.0)
    }

    /// The name of a global.
    pub fn global(&self, idx: GlobalIdx) -> Option<&str> {
        self.lookup(GLOBAL, idx.0)
    }

    /// The name of a tag.
    pub fn tag(&self, idx: TagIdx) -> Option<&str> {
        self.lookup(TAG, idx.0)
    }

    /// The name of an element segment.
    pub fn elem(&self, idx: ElemIdx) -> Option<&str> {
        self.lookup(ELEM, idx.0)
    }

    /// The name of a data segment.
    pub fn data(&self, idx: DataIdx) -> Option<&str> {
        self.lookup(DATA, idx.0)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names")
            .field("module", &self.module())
            .field("funcs", &self.maps[FUNC].len())
            .finish()
    }
}

/// Finds the contents of the name section in bytes that need not be a valid module.
pub(crate) fn find_section(bytes: &[u8]) -> Option<Range<usize>> {
    let mut reader = BinaryReader::new(bytes, 0);
    reader.read_bytes(8).ok()?;
    while !reader.eof() {
        let id = reader.read_u8().ok()?;
        let mut section = reader.read_reader().ok()?;
        if id == 0 && section.read_string().ok() == Some("name") {
            let range = section.remaining_range();
            return Some(range.start as usize..range.end as usize);
        }
    }
    None
}

/// The place of `name`, which `reader` has just read.
fn span_before(reader: &BinaryReader<'_>, name: &str) -> Span {
    let len = name.len() as u32;
    Span {
        start: (reader.original_position() as u32).saturating_sub(len),
        len,
    }
}

fn read_map(mut subsection: BinaryReader<'_>) -> NameMap {
    let mut map = Vec::new();
    let count = subsection.read_var_u32().unwrap_or(0);
    // Each name takes two bytes at least, which bounds what a hostile count can reserve.
    map.reserve((count as usize).min(subsection.bytes_remaining() / 2));
    for _ in 0..count {
        let (Ok(index), Ok(name)) = (
            subsection.read_var_u32(),
            subsection.read_unlimited_string(),
        ) else {
            break;
        };
        map.push((index, span_before(&subsection, name)));
    }
    map.sort_by_key(|&(index, _)| index);
    map.dedup_by_key(|&mut (index, _)| index);
    map.into()
}

fn find_local(
    mut reader: BinaryReader<'_>,
    func: FuncIdx,
    local: LocalIdx,
) -> Result<Option<Span>> {
    for _ in 0..reader.read_var_u32()? {
        let wanted = reader.read_var_u32()? == func.0;
        for _ in 0..reader.read_var_u32()? {
            let index = reader.read_var_u32()?;
            let name = reader.read_unlimited_string()?;
            if wanted && index == local.0 {
                return Ok(Some(span_before(&reader, name)));
            }
        }
    }
    Ok(None)
}
