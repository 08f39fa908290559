//! The loaded objects and their import slots.
//!
//! An object (the interpreter, a library) calls functions of others through slots, which
//! the dynamic loader fills as the object's relocations say. A slot whose function we
//! have a hook for gets the hook. Left alone are our own library, those of libc, and any slot that leads
//! elsewhere than to libc or a library that was put before it (LD_PRELOAD): it is of a
//! function that only has the same name.
//!
//! A slot that is not bound yet leads back into its own object. What it would be bound to is
//! asked for with the version that the object wants. No function of the loader may
//! be called while it lists the objects, as another thread may hold its other lock; so they are gone
//! through twice, first to see what is wanted.
//!
//! Slots that were sealed after binding (RELRO) are unsealed for the moment.

use super::table::{self, Hook};
use crate::sys::slots::found::Found;
use libc::{Elf64_Phdr, Elf64_Sym, dl_phdr_info};
use std::ffi::{CStr, CString, c_int, c_void};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(target_arch = "x86_64")]
mod kinds {
    pub const ABSOLUTE: u32 = 1;
    pub const GLOBAL: u32 = 6;
    pub const JUMP: u32 = 7;
}

#[cfg(target_arch = "aarch64")]
mod kinds {
    pub const ABSOLUTE: u32 = 257;
    pub const GLOBAL: u32 = 1025;
    pub const JUMP: u32 = 1026;
}

/// What `dl_iterate_phdr` tells of an object, and where its tables are. Only lives as long as it is
/// known to be loaded: within the callback.
struct Object {
    base: usize,
    dynamic: usize,
    segments: &'static [Elf64_Phdr],
    symbols: *const Elf64_Sym,
    strings: usize,
    /// A version number for each symbol, and what versions are wanted of others.
    versions: Option<(*const u16, *const Needed)>,
    /// Addresses and bytes of the tables of relocations.
    relocations: [(usize, usize); 2],
    /// So many at the beginning of the second are relative, and have no symbol.
    relative: usize,
    name: Option<usize>,
}

#[repr(C)]
struct Dynamic {
    tag: i64,
    value: u64,
}

#[repr(C)]
struct Relocation {
    offset: u64,
    info: u64,
    addend: i64,
}

#[repr(C)]
struct Needed {
    version: u16,
    count: u16,
    file: u32,
    first: u32,
    next: u32,
}

#[repr(C)]
struct Version {
    hash: u32,
    flags: u16,
    number: u16,
    name: u32,
    next: u32,
}

/// `dladdr1` is to give the symbol, too.
const RTLD_DL_SYMENT: c_int = 1;

const DT_PLTRELSZ: i64 = 2;
const DT_STRTAB: i64 = 5;
const DT_SYMTAB: i64 = 6;
const DT_RELA: i64 = 7;
const DT_RELASZ: i64 = 8;
const DT_SONAME: i64 = 14;
const DT_JMPREL: i64 = 23;
const DT_VERSYM: i64 = 0x6fff_fff0;
const DT_RELACOUNT: i64 = 0x6fff_fff9;
const DT_VERNEED: i64 = 0x6fff_fffe;

/// The parts of glibc, which call each other without slots, or for purposes of their own.
const PARTS_OF_LIBC: [&[u8]; 7] = [
    b"libc.so",
    b"ld-linux",
    b"libpthread.so",
    b"libdl.so",
    b"librt.so",
    b"libresolv.so",
    b"libnss_",
];

/// A slot of a function that there is a hook for.
struct Slot<'a> {
    hook: &'static Hook,
    at: *const AtomicUsize,
    version: Option<&'a CStr>,
    /// It is filled when the function is called for the first time.
    is_lazy: bool,
}

impl Object {
    /// # Safety
    /// `info` is of a loaded object, which stays so.
    unsafe fn new(info: &dl_phdr_info) -> Option<Object> {
        let base = info.dlpi_addr as usize;
        // SAFETY: the caller promises; the loader has mapped what these tables say.
        unsafe {
            let segments = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
            let dynamic = segments.iter().find(|segment| segment.p_type == libc::PT_DYNAMIC)?;
            let dynamic = base.wrapping_add(dynamic.p_vaddr as usize);
            let entry = |tag| find(dynamic as *const Dynamic, tag);
            // The loader turns these into addresses, but where it cannot write to them (vDSO).
            let address = |tag| {
                let value = entry(tag)?;
                Some(if value < base { base.wrapping_add(value) } else { value })
            };
            let table = |start, size| Some((address(start)?, entry(size)?));
            let versions = address(DT_VERSYM).zip(address(DT_VERNEED));
            Some(Object {
                base,
                dynamic,
                segments,
                symbols: address(DT_SYMTAB)? as *const Elf64_Sym,
                strings: address(DT_STRTAB)?,
                versions: versions.map(|(one, two)| (one as *const u16, two as *const Needed)),
                relocations: [
                    table(DT_JMPREL, DT_PLTRELSZ).unwrap_or_default(),
                    table(DT_RELA, DT_RELASZ).unwrap_or_default(),
                ],
                relative: entry(DT_RELACOUNT).unwrap_or(0),
                name: entry(DT_SONAME),
            })
        }
    }

    fn string(&self, at: usize) -> &CStr {
        // SAFETY: an offset that the object gives for its own table.
        unsafe { CStr::from_ptr((self.strings + at) as *const _) }
    }

    fn has(&self, address: usize) -> bool {
        self.segments.iter().any(|segment| {
            segment.p_type == libc::PT_LOAD && self.range(segment).contains(&address)
        })
    }

    fn range(&self, segment: &Elf64_Phdr) -> Range<usize> {
        let start = self.base.wrapping_add(segment.p_vaddr as usize);
        start..start + segment.p_memsz as usize
    }

    /// The pages that were sealed after binding.
    fn sealed(&self) -> Option<Range<usize>> {
        let page = crate::sys::process::page_size();
        let down = |address: usize| address & !(page - 1);
        let segment = self.segments.iter().find(|segment| segment.p_type == libc::PT_GNU_RELRO)?;
        let range = self.range(segment);
        Some(down(range.start)..down(range.end))
    }

    fn is_part_of_libc(&self) -> bool {
        let name = self.name.map_or(&[][..], |name| self.string(name).to_bytes());
        PARTS_OF_LIBC.iter().any(|part| name.starts_with(part))
    }

    /// All slots of functions that there are hooks for.
    fn each_slot(&self, mut act: impl FnMut(Slot)) {
        let size = size_of::<Relocation>();
        for (which, (start, length)) in self.relocations.into_iter().enumerate() {
            let skipped = if which == 1 { self.relative.min(length / size) } else { 0 };
            // SAFETY: the object's own table.
            let table = unsafe {
                std::slice::from_raw_parts(
                    if length == 0 { std::ptr::dangling() } else { start as *const Relocation },
                    length / size,
                )
            };
            for relocation in &table[skipped..] {
                let (kind, symbol) = (relocation.info as u32, (relocation.info >> 32) as usize);
                let is_slot = matches!(kind, kinds::JUMP | kinds::GLOBAL)
                    || kind == kinds::ABSOLUTE && relocation.addend == 0;
                if !is_slot || symbol == 0 {
                    continue;
                }
                // SAFETY: a symbol of the object's own table.
                let found = unsafe { &*self.symbols.add(symbol) };
                // It has the function itself.
                if found.st_shndx != 0 {
                    continue;
                }
                let Some(hook) = table::find(self.string(found.st_name as usize)) else { continue };
                act(Slot {
                    hook,
                    at: self.base.wrapping_add(relocation.offset as usize) as *const AtomicUsize,
                    version: self.version(symbol),
                    is_lazy: kind == kinds::JUMP,
                });
            }
        }
    }

    /// The version of a symbol that the object wants of another.
    fn version(&self, symbol: usize) -> Option<&CStr> {
        let (numbers, mut needed) = self.versions?;
        // SAFETY: the object's own tables; a next one that is no further away is the last.
        unsafe {
            let number = *numbers.add(symbol) & 0x7fff;
            loop {
                let mut version = needed.byte_add((*needed).first as usize).cast::<Version>();
                for _ in 0..(*needed).count {
                    if (*version).number == number {
                        return Some(self.string((*version).name as usize));
                    }
                    version = version.byte_add((*version).next as usize);
                }
                match (*needed).next {
                    0 => return None,
                    next => needed = needed.byte_add(next as usize),
                }
            }
        }
    }
}

unsafe fn find(mut entry: *const Dynamic, tag: i64) -> Option<usize> {
    // SAFETY: the caller has a dynamic section, which ends in a tag of 0.
    unsafe {
        while (*entry).tag != 0 {
            if (*entry).tag == tag {
                return Some((*entry).value as usize);
            }
            entry = entry.add(1);
        }
    }
    None
}

/// A function as an object wants it, and where that is.
struct Wanted {
    hook: &'static Hook,
    version: Option<CString>,
    found: Option<usize>,
}

/// What has been looked at.
#[derive(Default)]
pub struct Objects {
    /// By base and dynamic section.
    known: Vec<(usize, usize)>,
    wanted: Vec<Wanted>,
    /// How many objects were ever unloaded: another may be in the same place then.
    unloaded: u64,
}

impl Objects {
    /// Puts the hooks into the slots of all objects that were not looked at before.
    pub fn look(&mut self) -> Found {
        // Another thread may load and unload between the two, so that what is not resolved
        // then is left for the next look.
        let mut program = None;
        let mut libc = Vec::new();
        each_object(|object, unloaded| {
            if std::mem::replace(&mut self.unloaded, unloaded) != unloaded {
                self.known.clear();
            }
            program.get_or_insert_with(|| ranges(&object));
            if object.is_part_of_libc() {
                libc.extend(ranges(&object));
            } else if !self.knows(&object) {
                object.each_slot(|slot| self.want(&slot));
            }
        });
        let program = program.unwrap_or_default();
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.found.is_none()) {
            wanted.found = resolve(wanted.hook.name, wanted.version.as_deref(), &program, &libc);
        }
        let mut count = Found::default();
        each_object(|object, _| {
            if object.is_part_of_libc() || self.knows(&object) {
                return;
            }
            let mut writer = Writer::new(&object);
            // In our own, only what was led into the program is led straight, lest the
            // program's slots be our own: it may be built without position independence,
            // and then its stubs stand for the functions everywhere.
            let is_own = object.has(adopt as fn(&'static Hook, usize) -> bool as usize);
            let in_program = |address| program.iter().any(|range| range.contains(&address));
            let is_program = program == ranges(&object);
            object.each_slot(|slot| {
                let Some(function) = self.found(&slot) else { return };
                // SAFETY: a slot of a loaded object.
                let now = unsafe { (*slot.at).load(Ordering::Relaxed) };
                if is_own {
                    if !is_program && in_program(now) {
                        writer.write(slot.at, function);
                    }
                    return;
                }
                let is_due = slot.is_lazy && object.has(now);
                if (now == function || is_due) && adopt(slot.hook, function) {
                    writer.write(slot.at, slot.hook.function.0 as usize);
                }
            });
            count.hooked += if is_own { 0 } else { writer.written };
            count.refused += writer.refused;
            drop(writer);
            self.known.push((object.base, object.dynamic));
        });
        count
    }

    /// Has all slots lead where they did.
    pub fn restore(&mut self) {
        each_object(|object, _| {
            let mut writer = Writer::new(&object);
            object.each_slot(|slot| {
                // SAFETY: a slot of a loaded object.
                let now = unsafe { (*slot.at).load(Ordering::Relaxed) };
                if now == slot.hook.function.0 as usize {
                    writer.write(slot.at, slot.hook.original.load(Ordering::Relaxed));
                }
            });
        });
        self.known.clear();
    }

    fn knows(&self, object: &Object) -> bool {
        self.known.contains(&(object.base, object.dynamic))
    }

    fn want(&mut self, slot: &Slot) {
        if self.at(slot).is_none() {
            let version = slot.version.map(CStr::to_owned);
            self.wanted.push(Wanted { hook: slot.hook, version, found: None });
        }
    }

    fn found(&self, slot: &Slot) -> Option<usize> {
        self.at(slot)?.found
    }

    fn at(&self, slot: &Slot) -> Option<&Wanted> {
        self.wanted.iter().find(|wanted| {
            std::ptr::eq(wanted.hook, slot.hook) && wanted.version.as_deref() == slot.version
        })
    }
}

/// Whether calls that would go to `function` may go to the hook: there is one original to each.
pub fn adopt(hook: &'static Hook, function: usize) -> bool {
    let set = hook.original.compare_exchange(0, function, Ordering::Release, Ordering::Relaxed);
    set.is_ok() || set == Err(function)
}

/// Where a function of this name is that a call from any object would lead to.
fn resolve(
    name: &CStr,
    version: Option<&CStr>,
    program: &[Range<usize>],
    libc: &[Range<usize>],
) -> Option<usize> {
    let is_in = |parts: &[Range<usize>], address| parts.iter().any(|part| part.contains(&address));
    let ask = |library: *mut c_void, version: Option<&CStr>| {
        // SAFETY: valid strings and a library that is loaded.
        let found = unsafe {
            match version {
                Some(version) => libc::dlvsym(library, name.as_ptr(), version.as_ptr()),
                None => libc::dlsym(library, name.as_ptr()),
            }
        } as usize;
        (found != 0).then_some(found)
    };
    let found = ask(libc::RTLD_DEFAULT, None)?;
    if !is_in(program, found) {
        // A library that was put before libc has no versions, and is what every call leads to.
        let is_libc = is_in(libc, found);
        return if is_libc { ask(libc::RTLD_DEFAULT, version) } else { Some(found) };
    }
    // A stub of the program (see above), which leads through its slot. If it is a function of the
    // program, that is no function of libc.
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    let mut symbol: *mut c_void = std::ptr::null_mut();
    // SAFETY: two structures to be filled; the symbol is of a loaded object.
    unsafe {
        let known = libc::dladdr1(
            found as *const c_void,
            info.as_mut_ptr(),
            &raw mut symbol,
            RTLD_DL_SYMENT,
        );
        let symbol = symbol.cast::<Elf64_Sym>();
        if known == 0 || symbol.is_null() || (*symbol).st_shndx != 0 {
            return None;
        }
        let library = libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        if library.is_null() {
            return None;
        }
        let found = ask(library, version);
        libc::dlclose(library);
        found
    }
}

fn ranges(object: &Object) -> Vec<Range<usize>> {
    let segments = object.segments.iter();
    let loaded = segments.filter(|segment| segment.p_type == libc::PT_LOAD);
    loaded.map(|segment| object.range(segment)).collect()
}

/// Shows all loaded objects, the program first, with how many were ever unloaded.
fn each_object(mut show: impl FnMut(Object, u64)) {
    unsafe extern "C" fn visit(info: *mut dl_phdr_info, _: usize, show: *mut c_void) -> c_int {
        // SAFETY: the loader gives a valid structure; `show` is the pointer from below.
        unsafe {
            let show = &mut *show.cast::<&mut dyn FnMut(Object, u64)>();
            if let Some(object) = Object::new(&*info) {
                show(object, (*info).dlpi_subs);
            }
        }
        0
    }
    let mut show: &mut dyn FnMut(Object, u64) = &mut show;
    // SAFETY: `show` lives until the call returns.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut show).cast()) };
}

/// Writes to slots of an object, and seals them again in the end.
struct Writer<'a> {
    object: &'a Object,
    sealed: Option<Range<usize>>,
    /// Whether the seal is off; `None` as long as that was not tried.
    open: Option<bool>,
    written: usize,
    refused: usize,
}

impl Writer<'_> {
    fn new(object: &Object) -> Writer<'_> {
        Writer { object, sealed: object.sealed(), open: None, written: 0, refused: 0 }
    }

    fn write(&mut self, slot: *const AtomicUsize, function: usize) {
        let sealed = self.sealed.clone().filter(|range| range.contains(&(slot as usize)));
        let writable = match sealed {
            Some(range) => *self
                .open
                .get_or_insert_with(|| protect(&range, libc::PROT_READ | libc::PROT_WRITE)),
            None => self.object.segments.iter().any(|segment| {
                segment.p_type == libc::PT_LOAD
                    && segment.p_flags & libc::PF_W != 0
                    && self.object.range(segment).contains(&(slot as usize))
            }),
        };
        if writable {
            // SAFETY: a slot of a loaded object, which can be written to now; other threads
            // read the one address or the other.
            unsafe { (*slot).store(function, Ordering::Release) };
            self.written += 1;
        } else {
            self.refused += 1;
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if let (Some(true), Some(range)) = (self.open, &self.sealed) {
            protect(range, libc::PROT_READ);
        }
    }
}

fn protect(range: &Range<usize>, how: c_int) -> bool {
    // SAFETY: whole pages of a loaded object, which are only made writable, or read-only as the
    // loader had left them.
    unsafe { libc::mprotect(range.start as *mut c_void, range.len(), how) == 0 }
}
