//! Whether a file's name changes with its content, as far as the name shows it, or the names beside it do.

use std::collections::{BTreeMap, BTreeSet};

/// No bundler makes shorter ones by itself.
const SHORTEST: usize = 8;
/// Of a name that is nothing but a hash, so much has to be there.
const WHOLE_NAME: usize = 16;

/// Whether a name has a hash in it, such as `static/app.3f2a9c1b.js`, `assets/index-Dk3xQ9fB.css` or `app.4f5b0c1d.js.map`.
/// In doubt it has none: who keeps a file for ever whose name stays is never told of another content, who asks for one that
/// cannot change only asks.
pub(super) fn is_hashed(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    // What stands before the ending; a name without one has none.
    let stem = file.rsplit_once('.').map_or(file, |(stem, _ending)| stem);
    let mut pieces = stem.split(['.', '-', '_']);
    let first = pieces.next().unwrap_or_default();
    (first.len() >= WHOLE_NAME && is_hex(first)) || pieces.any(is_hash)
}

/// Such as no word, date or number is.
fn is_hash(piece: &str) -> bool {
    piece.len() >= SHORTEST && (is_hex(piece) || is_base62(piece))
}

/// A date with a letter at its end has two runs, and so has a word with a number.
fn is_hex(piece: &str) -> bool {
    piece.chars().all(|letter| letter.is_ascii_hexdigit()) && runs(piece) > 2
}

/// Capitals, small letters and digits, and those mixed as in no `iPhone15Pro`.
fn is_base62(piece: &str) -> bool {
    let has = |what: fn(&char) -> bool| piece.chars().any(|letter| what(&letter));
    piece.chars().all(|letter| letter.is_ascii_alphanumeric())
        && has(char::is_ascii_uppercase)
        && has(char::is_ascii_lowercase)
        && has(char::is_ascii_digit)
        && runs(piece) * 2 >= piece.len()
}

/// How many numbers and words it reads as; a capital may begin a word.
fn runs(piece: &str) -> usize {
    let letters = piece.as_bytes();
    let goes_on = |pair: &&[u8]| match (pair[0], pair[1]) {
        (before, after) if before.is_ascii_digit() || after.is_ascii_digit() => {
            before.is_ascii_digit() && after.is_ascii_digit()
        }
        (before, after) => before.is_ascii_uppercase() || after.is_ascii_lowercase(),
    };
    letters.len() - letters.windows(2).filter(goes_on).count()
}

/// A form of hashes that a bundler gives to all of its files, and where in the name it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// `app.3f2a9c1b.js`, of so many digits: webpack, and Parcel.
    Hex(usize),
    /// `chunk-WZQZYXKB.js`: esbuild, and so Angular.
    Base32,
    /// `index-B_x-9aQz.js`: Rollup, and so Vite.
    Base64,
}

/// The hashes that stand at the ends of names like these.
const AT_END: usize = 8;

/// In which folders the files have hashes of which forms in their names: those in which some names have one that is nothing
/// else. There a piece of the same form counts that could be something else, unless it reads as words, numbers or a date.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Forms(BTreeSet<(String, Form)>);

impl Forms {
    /// As all names show it that go over together.
    pub(super) fn of<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        // How many pieces there are, and how many of them are nothing else.
        let mut found: BTreeMap<(String, Form), (usize, usize)> = BTreeMap::new();
        for name in names {
            for (form, piece) in pieces(name) {
                let (all, sure) = found.entry((folder(name).to_owned(), form)).or_default();
                *all += 1;
                *sure += usize::from(form.is_sure(piece));
            }
        }
        let is_proven =
            |((_, form), (all, sure)): &((String, Form), (usize, usize))| *sure >= form.needed() && sure * 5 >= *all;
        let proven = found.into_iter().filter(is_proven);
        Self(proven.map(|(of, _)| of).collect())
    }

    /// Whether a name has a hash in it, by itself or as those beside it have.
    pub(super) fn is_hashed(&self, name: &str) -> bool {
        let is_proven = |(form, _): (Form, &str)| self.0.contains(&(folder(name).to_owned(), form));
        is_hashed(name) || pieces(name).into_iter().any(is_proven)
    }
}

impl Form {
    /// Whether a piece is a hash whatever stands beside it.
    fn is_sure(self, piece: &str) -> bool {
        match self {
            Self::Hex(_) => is_hex(piece),
            Self::Base32 => runs(piece) > 2,
            Self::Base64 => is_hash(piece),
        }
    }

    /// Of so many it has to be sure: `MP3FILES` may stand alone.
    fn needed(self) -> usize {
        match self {
            Self::Base32 => 2,
            Self::Hex(_) | Self::Base64 => 1,
        }
    }
}

fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _file)| folder)
}

/// What of a name may be a hash, by its form. What reads as words or a date is none.
fn pieces(name: &str) -> Vec<(Form, &str)> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let Some((stem, _ending)) = file.rsplit_once('.') else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (number, piece) in stem.split('.').enumerate() {
        let is_hex = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        if number > 0 && piece.len() >= SHORTEST && piece.bytes().all(is_hex) && !is_date(piece) {
            found.push((Form::Hex(piece.len()), piece));
        }
        let Some((start, end)) = piece
            .len()
            .checked_sub(AT_END)
            .and_then(|at| piece.split_at_checked(at))
        else {
            continue;
        };
        if !start.ends_with('-') || start.len() < 2 {
            continue;
        }
        if end
            .bytes()
            .all(|letter| letter.is_ascii_uppercase() || (b'2'..=b'7').contains(&letter))
        {
            found.push((Form::Base32, end));
        }
        let is_base64 = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_');
        if end.bytes().all(is_base64) && !reads_as_text(end) {
            found.push((Form::Base64, end));
        }
    }
    found
}

/// Such as `20261127`.
fn is_date(piece: &str) -> bool {
    let part = |at: std::ops::Range<usize>| piece.get(at).and_then(|digits| digits.parse::<u32>().ok());
    let (year, month, day) = (part(0..4), part(4..6), part(6..8));
    piece.len() == 8
        && year.is_some_and(|year| (1970..2100).contains(&year))
        && month.is_some_and(|month| (1..=12).contains(&month))
        && day.is_some_and(|day| (1..=31).contains(&day))
}

/// Such as `original`, `DarkMode`, `iPhone15`, `my-photo` or `20261127`: of hashes in Base64 about one in a hundred does.
fn reads_as_text(piece: &str) -> bool {
    let mut words = piece.split(['-', '_']);
    if let (Some(only), None) = (words.next(), words.next()) {
        return is_word(only);
    }
    let all: Vec<&str> = piece.split(['-', '_']).collect();
    let is_long = |word: &&str| word.bytes().filter(u8::is_ascii_lowercase).count() >= 4;
    all.iter().all(|word| word.len() > 1 && is_plain(word)) && all.iter().any(is_long)
}

/// Letters of one kind, with a capital before them or not, and a number after them; or a number alone.
fn is_plain(word: &str) -> bool {
    let letters = word.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let rest = letters
        .strip_prefix(|letter: char| letter.is_ascii_uppercase())
        .unwrap_or(letters);
    let is_capitals = letters.bytes().all(|letter| letter.is_ascii_uppercase());
    !word.is_empty() && (is_capitals || rest.bytes().all(|letter| letter.is_ascii_lowercase()))
}

/// The same, or words that each begin with a capital, of four letters or more; one letter may stand before them.
fn is_word(piece: &str) -> bool {
    let letters = piece.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let is_start = |at: usize| letters.as_bytes().get(at).is_some_and(u8::is_ascii_uppercase);
    let mut starts: Vec<usize> = (1..letters.len()).filter(|at| is_start(*at)).collect();
    starts.push(letters.len());
    let mut from = 0;
    let humps = starts.into_iter().map(|to| (std::mem::replace(&mut from, to), to));
    let is_hump = |(from, to): (usize, usize)| {
        let word = &letters[from..to];
        let is_mark = from == 0 && word.len() == 1 && word.bytes().all(|letter| letter.is_ascii_lowercase());
        is_mark || word.len() >= 4 && is_plain(word)
    };
    is_plain(piece) || letters.is_ascii() && humps.into_iter().all(is_hump)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_bundlers_make_them_have_hashes() {
        for name in [
            "static/js/main.3f2a9c1b.js",
            "static/js/main.3f2a9c1b.chunk.js.map",
            "assets/index-Dk3xQ9fB.js",
            "assets/my-long_name-BsX9a4Tq.css",
            "media/logo_5d5d9eefa31e5e13a6610d9fa7a283bb.svg",
            "static/0a1b2c3d4e5f60718293.js",
        ] {
            assert!(is_hashed(name), "{name}");
        }
    }

    #[test]
    fn words_dates_and_numbers_are_none() {
        for name in [
            "static/sw.js",
            "static/help.html",
            "assets/config.json",
            "assets/logo-horizontal.png",
            "assets/logo-Horizontal.png",
            "assets/report-20261127.pdf",
            "assets/report_2026-11-27.pdf",
            "static/3f2a9c1b/app.js",
            "static/jquery-3.7.1.min.js",
            "static/CHANGELOG",
            "assets/team-photo-2024.jpg",
            "assets/annual-report-2026.pdf",
            "assets/report-20261127b.pdf",
            "assets/icon-home-24px.svg",
            "assets/hero-background2.jpg",
            "assets/hero-Background2.jpg",
            "assets/product-iPhone15Pro.png",
            "assets/1764261049123456.jpg",
            "static/OpenSans-SemiBold.woff2",
            "assets/logo-MacBookPro.svg",
            "",
        ] {
            assert!(!is_hashed(name), "{name}");
        }
    }

    #[test]
    fn what_may_be_a_word_is_taken_for_one() {
        for name in [
            "assets/index-DiwrgTda.js",
            "assets/index-B_x-9aQz.css",
            "static/app.WZQZYXKB.js",
        ] {
            assert!(!is_hashed(name), "{name}");
        }
    }

    /// Names as these tools make them by themselves, of real builds.
    #[test]
    fn what_a_bundler_names_alike_is_known_by_its_fellows() {
        let vite = [
            "assets/index-DiwrgTda.js",
            "assets/index-B_x-9aQz.css",
            "assets/vendor-Dk3xQ9fB.js",
            "assets/react-CHdo91hT.svg",
            "assets/_page-lNFlYrQT.js.map",
        ];
        let esbuild = [
            "main-WZQZYXKB.js",
            "chunk-FK42CYNN.js",
            "polyfills-B6TNHZQ6.js",
            "styles-5INURTSO.css",
            "chunk-KQZVTBOM.js.map",
        ];
        let webpack = [
            "static/js/main.4c1e5a19.js",
            "static/js/787.28cb0dcd.chunk.js",
            "static/js/main.80442831.js.LICENSE.txt",
            "static/js/453.decafbad.chunk.js",
        ];
        for names in [&vite[..], &esbuild, &webpack] {
            let forms = Forms::of(names.iter().copied());
            for name in names {
                assert!(forms.is_hashed(name), "{name}");
            }
        }
    }

    /// What somebody has put beside them by hand has another name each time it is another, or not: nobody knows.
    #[test]
    fn what_reads_as_words_beside_them_has_no_hash() {
        let names = [
            "assets/index-Dk3xQ9fB.js",
            "assets/main-FK42CYNN.js",
            "assets/chunk-B6TNHZQ6.js",
            "assets/app.3f2a9c1b.js",
        ];
        let by_hand = [
            "assets/logo-original.png",
            "assets/logo-Original.png",
            "assets/logo-DarkMode.png",
            "assets/photo-iPhone15.jpg",
            "assets/hero-my-photo.jpg",
            "assets/hero-dark_bg2.jpg",
            "assets/report-20261127.pdf",
            "assets/report.20261127.pdf",
            "assets/config.json",
            "assets/original.png",
            "assets/-DiwrgTda",
            "other/index-DiwrgTda.js",
            "index-DiwrgTda.js",
        ];
        let forms = Forms::of(names.iter().chain(&by_hand).copied());
        for name in by_hand {
            assert!(!forms.is_hashed(name), "{name}");
        }
        assert!(forms.is_hashed("assets/index-DiwrgTda.js"));
    }

    /// One name among words proves nothing, nor does a folder in which hardly any is sure.
    #[test]
    fn one_name_that_looks_like_a_hash_proves_nothing_for_many() {
        let alone = Forms::of(["a/icon-MP3FILES.svg", "a/icon-DOWNLOAD.svg"].into_iter());
        assert!(!alone.is_hashed("a/icon-DOWNLOAD.svg"));
        let few = [
            "a/x-Dk3xQ9fB.js",
            "a/x-NewHouse.js",
            "a/x-OldHouse.js",
            "a/x-BigHouse.js",
            "a/x-RedHouse.js",
            "a/x-SeaHouse.js",
        ];
        let forms = Forms::of(few.into_iter());
        assert!(!forms.is_hashed("a/x-RedHouse.js") && forms.is_hashed(few[0]));
    }

    /// More than 99 of a hundred in folders of thirty files, as the three tools name them.
    #[test]
    fn almost_all_hashes_of_a_build_are_known() {
        const URL_SAFE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let tools: [(&[u8], char); 3] = [
            (URL_SAFE, '-'),
            (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", '-'),
            (b"0123456789abcdef", '.'),
        ];
        for (letters, before) in tools {
            let mut seed = 7_u64;
            let mut hash = || -> String {
                let mut letter = || {
                    seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    let at = usize::try_from((mixed >> 33) % letters.len() as u64).expect("fits");
                    char::from(letters[at])
                };
                (0..8).map(|_| letter()).collect()
            };
            let mut known = 0;
            for _ in 0..2000 {
                let names: Vec<String> = (0..30).map(|_| format!("assets/x{before}{}.js", hash())).collect();
                let forms = Forms::of(names.iter().map(String::as_str));
                known += names.iter().filter(|name| forms.is_hashed(name)).count();
            }
            assert!(known > 59_400, "{before}: {known} of 60000");
        }
    }
}
