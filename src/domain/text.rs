//! Free text that people write (descriptions, owners, attribute values): bounded, and without characters that
//! deceive a reader or that PostgreSQL cannot store. This file also decides which characters may reach a terminal.

use super::Invalid;

/// Checks a line of text of at most `max_chars` characters.
///
/// # Errors
/// When it is too long, or contains a character that [`is_unshowable`]: control characters (PostgreSQL cannot
/// store NUL) and characters that make one name look like another.
pub fn line(field: &'static str, text: &str, max_chars: usize) -> Result<String, Invalid> {
    if text.chars().count() > max_chars {
        return Err(Invalid::new(
            field,
            format!("is longer than {max_chars} characters"),
        ));
    }
    match text.chars().find(|&c| is_unshowable(c)) {
        Some(c) => Err(Invalid::new(
            field,
            format!(
                "contains the character U+{:04X}, which is not allowed here",
                u32::from(c)
            ),
        )),
        None => Ok(text.to_owned()),
    }
}

/// Like [`line()`], and not blank.
///
/// # Errors
/// As [`line()`], or when only white space is left.
pub fn filled_line(field: &'static str, text: &str, max_chars: usize) -> Result<String, Invalid> {
    let text = line(field, text.trim(), max_chars)?;
    if text.is_empty() {
        Err(Invalid::new(field, "is empty"))
    } else {
        Ok(text)
    }
}

/// True for a character that must not reach a terminal or a reader unescaped (CWE-150): control characters (C0,
/// DEL, C1), and zero-width, bidirectional and line-separating ones (Unicode UAX #9 and UTS #39).
#[must_use]
pub fn is_unshowable(c: char) -> bool {
    c.is_control() || is_deceiving(c)
}

/// `text` with every character that [`is_unshowable`] replaced by a visible escape, `\u{202e}`.
#[must_use]
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unshowable(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

fn is_deceiving(c: char) -> bool {
    matches!(c, '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        // Invisible fillers, interlinear annotations, and the tag characters, which can hide a whole text.
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_hides_text_comes_out_as_an_escape() {
        for (text, shown) in [
            ("a\x1b[2Jb", r"a\u{1b}[2Jb"),
            ("a\nb\tc\rd", r"a\u{a}b\u{9}c\u{d}d"),
            ("a\u{9b}31m", r"a\u{9b}31m"),
            ("a\u{7f}", r"a\u{7f}"),
            ("a\0b", r"a\u{0}b"),
            ("\u{202e}txt", r"\u{202e}txt"),
            ("a\u{200b}b", r"a\u{200b}b"),
            ("a\u{2028}b", r"a\u{2028}b"),
            ("a\u{2066}b\u{2069}", r"a\u{2066}b\u{2069}"),
            (
                "\u{ad}\u{61c}\u{180e}\u{feff}",
                r"\u{ad}\u{61c}\u{180e}\u{feff}",
            ),
            (
                "\u{115f}\u{1160}\u{3164}\u{ffa0}",
                r"\u{115f}\u{1160}\u{3164}\u{ffa0}",
            ),
            ("\u{fff9}\u{fffb}\u{e0041}", r"\u{fff9}\u{fffb}\u{e0041}"),
            ("Zoë 東京 👍", "Zoë 東京 👍"),
        ] {
            assert_eq!(harmless(text), shown);
        }
    }

    #[test]
    fn deceiving_characters_are_refused_and_named() {
        assert_eq!(
            line("owner", "ann\u{202e}bob", 64)
                .expect_err("refused")
                .to_string(),
            "owner: contains the character U+202E, which is not allowed here"
        );
        for bad in [
            "a\0b",
            "a\nb",
            "a\u{200b}b",
            "a\u{feff}",
            "a\u{1b}[31m",
            "a\u{e0041}",
            "\u{3164}",
        ] {
            assert!(line("owner", bad, 64).is_err(), "{bad:?} was accepted");
        }
        assert!(line("owner", &"x".repeat(65), 64).is_err());
        assert!(filled_line("owner", "   ", 64).is_err());
        assert_eq!(
            filled_line("owner", " Équipe A ", 64).expect("good"),
            "Équipe A"
        );
    }
}
