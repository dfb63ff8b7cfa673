//! Whether a file's name changes with its content, as far as the name shows it.

/// No bundler makes shorter ones by itself.
const SHORTEST: usize = 8;
/// Of a name that is nothing but a hash, so much has to be there.
const WHOLE_NAME: usize = 16;

/// Whether a name has a hash in it, such as `static/app.3f2a9c1b.js`, `assets/index-DiwrgTda.css` or `app.WZQ3YXKB.js.map`.
pub(super) fn is_hashed(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    // What stands before the ending; a name without one has none.
    let Some((stem, _ending)) = file.rsplit_once('.') else {
        return is_long_hex(file);
    };
    let mut pieces = stem.split('.');
    let first = pieces.next().unwrap_or_default();
    is_long_hex(first) || ends_in_hash(first) || pieces.any(|piece| is_hash(piece) || ends_in_hash(piece))
}

/// Whether a hash follows a name. Some hashes have `-` and `_` in them.
fn ends_in_hash(piece: &str) -> bool {
    let mut ends = piece.match_indices(['-', '_']).map(|(at, _)| &piece[at + 1..]);
    ends.any(is_hash)
}

/// Letters with digits, or capitals where no word has them. Digits alone are a date, or a number.
fn is_hash(text: &str) -> bool {
    let has = |what: fn(&char) -> bool| text.chars().any(|letter| what(&letter));
    let has_letter = has(char::is_ascii_alphabetic);
    let is_word = !has(char::is_ascii_digit) && text.chars().skip(1).all(|letter| !letter.is_ascii_uppercase());
    let is_made_of = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    text.len() >= SHORTEST && has_letter && !is_word && text.chars().all(is_made_of)
}

fn is_long_hex(text: &str) -> bool {
    text.len() >= WHOLE_NAME && text.chars().all(|letter| letter.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_bundlers_make_them_have_hashes() {
        for name in [
            "static/js/main.3f2a9c1b.js",
            "static/js/main.3f2a9c1b.chunk.js.map",
            "assets/index-DiwrgTda.js",
            "assets/index-B_x-9aQz.css",
            "static/app.WZQZYXKB.js",
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
            "",
        ] {
            assert!(!is_hashed(name), "{name}");
        }
    }
}
