//! Whether a file's name changes with its content, as far as the name shows it.

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
}
