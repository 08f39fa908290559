//! Names of what editors and version control put beside files while they work. In a folder
//! that a program depends on as a whole they do not count.
//!
//! What people hide or mark themselves does count: `.env`, `.luacheckrc`, `#notes`.

/// Folders that are theirs as a whole.
const FOLDERS: [&[u8]; 7] = [b".git", b".hg", b".svn", b".bzr", b".jj", b".idea", b"CVS"];

/// Whether a name is one of those.
pub fn is_scratch(name: &[u8]) -> bool {
    let between = |start: &[u8], end: &[u8]| {
        name.len() > start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
    };
    // Backups, of nearly every editor.
    name.ends_with(b"~")
        || FOLDERS.contains(&name)
        // Emacs: what is not saved yet, and its locks.
        || between(b"#", b"#")
        || between(b".#", b"")
        // Vim, Neovim and nano; Kate; LibreOffice; what GLib renames into place, as do
        // gedit and others; JetBrains.
        || is_swap(name)
        || between(b".", b".kate-swp")
        || between(b".~lock.", b"#")
        || between(b".goutputstream-", b"")
        || name.ends_with(b"___jb_tmp___")
        || name.ends_with(b"___jb_old___")
        || is_probe(name)
        // Open files that were removed, on NFS and on FUSE.
        || between(b".nfs", b"")
        || between(b".fuse_hidden", b"")
}

/// `.NAME.swp`, and `.swo`, `.swn`, … down to `.saa` where that is taken.
fn is_swap(name: &[u8]) -> bool {
    matches!(name, [b'.', .., b'.', b's', b'a'..=b'w', b'a'..=b'z'])
}

/// Vim tries whether it may write to a folder with a file of this name, or where that is
/// taken, of a number higher by 123.
fn is_probe(name: &[u8]) -> bool {
    let number = std::str::from_utf8(name).ok().and_then(|name| name.parse::<u32>().ok());
    number.is_some_and(|number| {
        (4913..4913 + 10 * 123).contains(&number) && (number - 4913) % 123 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_make_does_not_count_and_what_people_make_does() {
        let made = "main.lua~ .main.lua.swp .main.lua.swo .main.lua.svz .swp.swp #main.lua# \
                    .#main.lua 4913 5036 .git .hg .idea .goutputstream-X1 .~lock.a.odt# \
                    main.lua___jb_tmp___ .nfs0001 .main.lua.kate-swp";
        for name in made.split_whitespace() {
            assert!(is_scratch(name.as_bytes()), "{name}");
        }
        let others = "main.lua .env .luacheckrc #notes # . .. .sw 4914 swp a.swp .github \
                      .gitignore .config notes# .#";
        for name in others.split_whitespace() {
            assert!(!is_scratch(name.as_bytes()), "{name}");
        }
    }
}
