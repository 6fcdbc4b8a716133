//! Hard links, symbolic links, renaming.

use super::*;

#[test]
fn hard_links() {
    let mut guest = Guest::new();
    guest.file("f", "abc");
    guest.dir("d");
    guest.link("nowhere", "dangling");
    guest.link("loop", "loop");
    assert_eq!(guest.hard_link("f", "d/g"), Errno::SUCCESS);
    let (one, two) = (
        guest.path_stat(false, "f").unwrap(),
        guest.path_stat(false, "d/g").unwrap(),
    );
    assert_eq!(one, two);
    assert_eq!(one.nlink, 2);
    for new in ["f", "f/", "d", "d/", "d/.", "dangling", "loop"] {
        assert_eq!(guest.hard_link("f", new), Errno::EXIST, "{new}");
    }
    assert_eq!(guest.hard_link("f", "new/"), Errno::NOENT);
    assert_eq!(guest.hard_link("f/", "new"), Errno::NOTDIR);
    assert_eq!(guest.hard_link("none", "new"), Errno::NOENT);
    assert_eq!(guest.hard_link("none", "new/"), Errno::NOENT);
    for dir in ["d", "d/", ".", "d/.."] {
        assert_eq!(guest.hard_link(dir, "new"), Errno::PERM, "{dir}");
    }
    assert_eq!(guest.hard_link("dangling", "a"), Errno::SUCCESS);
    assert_eq!(guest.hard_link("loop", "b"), Errno::SUCCESS);
    assert_eq!(
        guest.path_stat(false, "a").unwrap().filetype,
        7,
        "links are not followed"
    );
    let at = guest.put(b"f");
    let args = [ROOT.into(), 1, at, 1, ROOT.into(), at, 1];
    assert_eq!(
        guest.errno("path_link", &args),
        Errno::INVAL,
        "nor on request"
    );
}

#[test]
fn renaming_files() {
    let mut guest = Guest::new();
    guest.file("f", "f");
    guest.file("g", "g");
    guest.dir("d");
    assert_eq!(guest.rename("f", "d/h"), Errno::SUCCESS);
    assert_eq!(guest.rename("f", "x"), Errno::NOENT);
    assert_eq!(guest.rename("d/h", "g"), Errno::SUCCESS, "replaces");
    assert_eq!(std::fs::read_to_string(guest.inside("g")).unwrap(), "f");
    assert_eq!(guest.rename("g", "d"), Errno::ISDIR);
    assert_eq!(guest.rename("g", "new/"), Errno::NOTDIR);
    assert_eq!(guest.rename("g/", "new"), Errno::NOTDIR);
    assert_eq!(guest.rename("g", "d/"), Errno::NOTDIR);
    assert_eq!(guest.rename("g", "g"), Errno::SUCCESS);
    assert!(!guest.inside("new").exists());
}

#[test]
fn renaming_directories() {
    let mut guest = Guest::new();
    guest.dir("a/x");
    guest.dir("empty");
    guest.dir("full/x");
    guest.file("f", "");
    guest.link("a", "la");
    assert_eq!(guest.rename("empty", "full"), Errno::NOTEMPTY);
    assert_eq!(guest.rename("a", "f"), Errno::NOTDIR);
    assert_eq!(guest.rename("a", "a/x/y"), Errno::INVAL);
    assert_eq!(
        guest.rename("la/", "lb"),
        Errno::NOTDIR,
        "a link is not a directory to rename"
    );
    assert_eq!(guest.rename("a", "empty"), Errno::SUCCESS);
    assert_eq!(guest.rename("empty/", "b/"), Errno::SUCCESS);
    assert_eq!(guest.rename("b/", "c"), Errno::SUCCESS);
    assert!(guest.inside("c/x").is_dir());
    for dots in [".", "c/.", "c/.."] {
        assert_eq!(guest.rename(dots, "new"), Errno::INVAL, "{dots}");
        assert_eq!(guest.rename("c", dots), Errno::INVAL, "{dots}");
    }
    assert_eq!(guest.rename("..", "new"), Errno::NOTCAPABLE);
    assert_eq!(guest.rename("c", "../new"), Errno::NOTCAPABLE);
}

#[test]
fn symbolic_links() {
    let mut guest = Guest::new();
    guest.file("f", "abc");
    guest.dir("d");
    assert_eq!(guest.symlink("f", "l"), Errno::SUCCESS);
    assert!(guest.open("l", PLAIN, RW).is_ok());
    for existing in ["f", "f/", "d", "d/", "d/.", ".", "l"] {
        assert_eq!(guest.symlink("x", existing), Errno::EXIST, "{existing}");
    }
    assert_eq!(guest.symlink("x", "new/"), Errno::NOENT);
    assert_eq!(guest.symlink("", "new"), Errno::NOENT);
    assert_eq!(guest.symlink("a\0b", "new"), Errno::INVAL);
    assert_eq!(guest.symlink("/etc", "new"), Errno::NOTCAPABLE);
    assert_eq!(guest.symlink("x", "none/new"), Errno::NOENT);
    assert_eq!(guest.symlink("x", "../new"), Errno::NOTCAPABLE);
    assert_eq!(
        guest.symlink("../../etc/", "out"),
        Errno::SUCCESS,
        "caught on use"
    );
    assert_eq!(
        guest.open("out/passwd", PLAIN, Rights::FD_READ),
        Err(Errno::NOTCAPABLE)
    );
    assert_eq!(guest.readlink("out", 100), Ok(b"../../etc/".to_vec()));
}

#[test]
fn reading_links() {
    let mut guest = Guest::new();
    guest.file("f", "");
    guest.dir("d");
    guest.link("f", "l");
    guest.link("d", "ld");
    guest.link("target", "d/m");
    guest.link("/etc/passwd", "absolute");
    assert_eq!(guest.readlink("d/m", 100), Ok(b"target".to_vec()));
    assert_eq!(guest.readlink("ld/m", 3), Ok(b"tar".to_vec()));
    assert_eq!(
        guest.memory[0x8003], b'#',
        "the rest of the buffer is left alone"
    );
    assert_eq!(guest.readlink("l", 0), Ok(vec![]));
    assert_eq!(guest.readlink("f", 10), Err(Errno::INVAL));
    assert_eq!(guest.readlink("d", 10), Err(Errno::INVAL));
    assert_eq!(guest.readlink(".", 10), Err(Errno::INVAL));
    assert_eq!(
        guest.readlink("ld/", 10),
        Err(Errno::INVAL),
        "the directory, not the link"
    );
    assert_eq!(guest.readlink("l/", 10), Err(Errno::NOTDIR));
    assert_eq!(guest.readlink("none", 10), Err(Errno::NOENT));
    assert_eq!(
        guest.readlink("absolute", 100),
        Err(Errno::NOTCAPABLE),
        "host paths are not told"
    );
}
