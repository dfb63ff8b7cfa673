//! The archive by itself: whole, or no archive.

#![expect(clippy::disallowed_methods, reason = "tests make files of their own")]

use proptest::prelude::*;

use super::*;

/// The archive of a folder, in clear text.
fn archive() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("key.pem"), "a secret key").expect("a file");
    let gathered = gather::gather(&[folder.path().to_owned()]).expect("files");
    let mut bytes = Vec::new();
    tape::write(
        &mut bytes,
        &gathered,
        &BTreeMap::from([("A".to_owned(), Secret::new("b"))]),
    )
    .expect("an archive");
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_content_that_was_changed_or_cut_is_no_archive(place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let whole = archive();
        tape::read(&mut whole.as_slice(), &mut tape::Nowhere).expect("whole").expect("whole");
        // What stands in the contents, and not in the names of owners or the padding, is covered by the list.
        let at = memchr::memmem::find(&whole, b"a secret key").expect("a file") + place.index(12);
        let mut other = whole.clone();
        other[at] ^= 1 << bit;
        prop_assert!(tape::read(&mut other.as_slice(), &mut tape::Nowhere).is_err());
        let end = memchr::memmem::rfind(&whole, b"jm-index.json").expect("a list");
        let cut = &whole[..place.index(end)];
        prop_assert!(tape::read(&mut &*cut, &mut tape::Nowhere).is_err());
    }
}

/// An archive by somebody else, who has the key: what stands below a link would be written to where that leads.
#[test]
fn what_stands_below_a_link_is_refused() {
    let mut tape = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tape.append_link(&mut header, "files/etc", "/etc").expect("a link");
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    tape.append_data(&mut header, "files/etc/x", std::io::empty())
        .expect("a file");
    let bytes = tape.into_inner().expect("an archive");
    let error = tape::read(&mut bytes.as_slice(), &mut tape::Nowhere)
        .expect_err("refused")
        .to_string();
    assert!(error.contains("stands below a link"), "{error}");
}

/// Named by itself, a link is meant for what it leads to, whichever was named first.
#[test]
fn a_link_that_is_named_and_lies_in_a_folder_that_is_named_reads_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("real")).expect("a folder");
    std::fs::write(at("real/x"), "x").expect("a file");
    std::os::unix::fs::symlink("real", at("current")).expect("a link");
    let both = [at("current"), folder.path().to_owned()];
    for paths in [both.clone(), [both[1].clone(), both[0].clone()]] {
        let gathered = gather::gather(&paths).expect("files");
        let mut bytes = Vec::new();
        tape::write(&mut bytes, &gathered, &BTreeMap::new()).expect("an archive");
        let mut extraction =
            tape::Extraction::new(&at("../back").with_file_name(ulid::Ulid::new().to_string())).expect("a place");
        tape::read(&mut bytes.as_slice(), &mut extraction)
            .expect("whole")
            .expect("written");
    }
}

/// An archive by somebody else, who has the key.
#[test]
fn a_path_that_leads_out_is_refused() {
    for path in ["files/../../x", "/files/x", "other/x"] {
        let mut tape = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o600);
        header.as_gnu_mut().expect("gnu").name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tape.append(&header, std::io::empty()).expect("an entry");
        let bytes = tape.into_inner().expect("an archive");
        let error = tape::read(&mut bytes.as_slice(), &mut tape::Nowhere)
            .expect_err("refused")
            .to_string();
        assert!(error.contains("is no path of a backup"), "{path}: {error}");
    }
}
